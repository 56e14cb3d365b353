"""Fetching one file: checked, atomic, and with the cure when the network is not there."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from xfer.errors import XferError
from xfer.system.parts import half_written

TIMEOUT = 20.0  # seconds without a byte
_CHUNK = 2**18  # bytes
_NETWORK_FAULTS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError, ValueError)


def cache_dir() -> Path:
    """Where downloads are kept: $XFER_CACHE, else $XDG_CACHE_HOME/xfer, else ~/.cache/xfer."""
    if own := os.environ.get("XFER_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xfer"


def download(
    url: str,
    target: Path,
    *,
    what: str,
    error: type[XferError],
    sha256: str | None = None,
    sha1: str | None = None,
    size: int | None = None,
    alternative: str = "",
) -> Iterator[tuple[int, int | None]]:
    """Fetch a URL (http or https) into a file, yielding (bytes so far, bytes in all or None) on the way.

    A target that has the hash and size already is kept, and nothing is yielded. A prefix of a hash will do. The
    target appears complete and checked, or not at all. Every fault raises `error`, in one line that names the URL,
    the file that would do instead, and where to put it; `alternative` is a further cure ("or ...").
    """
    fault = _fault(target, sha256, sha1, size)
    if fault is None:
        return
    cure = f"Cure: download it by hand{_described(sha256, sha1)} and put it at {target}{alternative}"
    try:
        with half_written(target) as folder:
            part = folder / target.name
            with part.open("wb") as file:
                yield from _fetch(url, file, size)
            fault = _fault(part, sha256, sha1, size)
            if fault is not None:
                raise error(f"{what}: what {url} sent {fault}. {cure}")
            os.replace(part, target)
    except _NETWORK_FAULTS as problem:
        if isinstance(problem, HTTPError):
            problem.close()  # it holds the connection
        present = f"; the file that is there {fault}" if target.exists() else ""
        raise error(f"{what}: cannot download {url} ({_reason(problem)}){present}. {cure}") from problem
    except OSError as problem:
        raise error(
            f"{what}: cannot write {target} ({problem.strerror or problem}). "
            "Cure: make room or grant access there, or set XFER_CACHE to another folder"
        ) from problem


def _reason(problem: Exception) -> str:
    if isinstance(problem, URLError) and not isinstance(problem, HTTPError):
        problem = problem.reason if isinstance(problem.reason, Exception) else problem
    return " ".join(str(problem).split()) or type(problem).__name__


def _described(sha256: str | None, sha1: str | None) -> str:
    hashes = [f"{kind} {value}" for kind, value in (("sha256", sha256), ("sha1", sha1)) if value]
    return f" ({', '.join(hashes)})" if hashes else ""


def _fetch(url: str, file: BinaryIO, size: int | None) -> Iterator[tuple[int, int | None]]:
    if not url.startswith(("https://", "http://")):
        raise ValueError("not an http or https address")
    # Certificates are checked by urlopen's default context.
    request = Request(url, headers={"User-Agent": "xfer"})
    with closing(cast(HTTPResponse, urlopen(request, timeout=TIMEOUT))) as response:
        if url.startswith("https://") and not response.geturl().startswith("https://"):
            raise ValueError("it leads to an address without encryption")
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else size
        done = 0
        yield done, total
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if total is not None and done > total:
                raise ValueError(f"more than the {total} bytes expected")
            yield done, total
        if total is not None and done < total:
            raise ValueError(f"cut off after {done} of {total} bytes")


def _fault(path: Path, sha256: str | None, sha1: str | None, size: int | None) -> str | None:
    """What is wrong with a file, as the rest of a sentence, or None."""
    if not path.is_file():
        return "is no file"
    if size is not None and path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes, expected {size}"
    for kind, expected in (("sha256", sha256), ("sha1", sha1)):
        if expected and not (actual := file_hash(path, kind)).startswith(expected.lower()):
            return f"has the {kind} {actual}, expected {expected}"
    return None


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
