"""Opening web addresses: http and https alone, and no server keeps anyone waiting for longer than was said."""

from __future__ import annotations

import io
import re
import socket
import string
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

_SCHEMES = ("https://", "http://")
_MOVED = (301, 302, 303, 307, 308)
_REDIRECTS = 10
_PAGE = re.compile(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|!--|\?xml)")


def is_page(begin: bytes) -> bool:
    """Whether a file begins as a web page does: what the portal of a network sends in place of a file."""
    return _PAGE.match(begin) is not None


def urlopen(url: str, patience: float, deadline: float, authorization: str | None = None) -> HTTPResponse:
    """The answer to a request for a URL, by way of the proxies of the environment. Certificates are checked.

    patience       seconds until the answer begins, and without a byte of its body
    deadline       of all of it, in seconds of `time.monotonic`
    authorization  the header of that name, which no other host is told that the URL leads to

    Raises TimeoutError for what takes longer, ValueError for a URL, or one that it leads to, that is neither http nor
    https, or no longer https; URLError, HTTPException and OSError as urllib does.
    """
    if not url.startswith(_SCHEMES):
        raise ValueError("not an http or https address")
    for _ in range(_REDIRECTS):
        clock = _Clock(patience, min(deadline, time.monotonic() + patience))
        try:
            response = cast(HTTPResponse, _opener(clock).open(_request(url, authorization), timeout=patience))
        except HTTPError as error:
            target = error.headers.get("Location") if error.code in _MOVED else None
            if target is None:
                raise
            error.close()  # its body may have no end
            before, url = url, _next(url, target)
            authorization = authorization if urlsplit(before).netloc == urlsplit(url).netloc else None
        else:
            clock.deadline = deadline
            return response
    raise ValueError(f"it leads on more than {_REDIRECTS} times")


def _request(url: str, authorization: str | None) -> Request:
    return Request(url, headers={"User-Agent": "xfer"} | ({"Authorization": authorization} if authorization else {}))


def _next(url: str, target: str) -> str:
    target = urljoin(url, quote(target, encoding="iso-8859-1", safe=string.punctuation))
    if not target.startswith(_SCHEMES):
        raise ValueError(f"it leads to {target[:80]!r}, which is neither http nor https")
    if url.startswith("https://") and not target.startswith("https://"):
        raise ValueError("it leads to an address without encryption")
    return target


@dataclass
class _Clock:
    patience: float
    deadline: float

    def seconds(self) -> float:
        """How long to wait for a byte. Raises TimeoutError when there is no time left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(self.patience, left)


def _opener(clock: _Clock) -> OpenerDirector:
    """As urllib's own, but for redirects and ftp, and with responses that keep to the clock."""

    class Response(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = io.BufferedReader(_InTime(sock, clock))

    class Connection(HTTPConnection):
        response_class = Response

    class SecureConnection(HTTPSConnection):
        response_class = Response

    class Handler(HTTPHandler):
        def http_open(self, req: Request) -> HTTPResponse:
            return self.do_open(Connection, req)

    class SecureHandler(HTTPSHandler):
        def https_open(self, req: Request) -> HTTPResponse:
            return self.do_open(SecureConnection, req)

    opener = OpenerDirector()
    for handler in (ProxyHandler, Handler, SecureHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


class _InTime(io.RawIOBase):
    """What a socket receives, until the clock has run out."""

    def __init__(self, sock: socket.socket, clock: _Clock) -> None:
        self._socket, self._clock = sock, clock
        self._file = sock.makefile("rb", buffering=0)  # as long as it is open, so is the socket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._socket.settimeout(self._clock.seconds())
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
