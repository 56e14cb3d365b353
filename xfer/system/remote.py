"""Files elsewhere, by their addresses: looked at, copied, listed. http and https by xfer itself, all else by fsspec."""

from __future__ import annotations

import base64
import string
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlunsplit

from xfer.errors import DataError
from xfer.progress import Progress, silent
from xfer.system.addresses import WEB, file_name, protocol_of, public, urlsplit_of, without_secrets
from xfer.system.download import NETWORK_FAULTS, reason_of, receive
from xfer.system.limits import limit, variable_of
from xfer.system.web import is_page, urlopen

Result = TypeVar("Result")

LIMIT = "remote_file"
PAUSES = (0.5, 2.0)
"""Seconds before what broke is tried again."""

WRAPPERS = (
    *("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask", "data", "dir", "filecache"),
    *("generic", "jlab", "jupyter", "libarchive", "pyscript", "reference", "simplecache", "tar", "zip"),
)
"""Of fsspec's protocols those that stand for other ones: what they lead to is no address that can be read in them."""

_AT_ONCE = 2**20  # bytes
_GONE = (404, 410)
_LATER = (408, 425, 429)
_CURE = "Cure: look at the address, and try again when it answers"


class Gone(DataError):  # noqa: N818
    """There is nothing at an address."""


class Found(NamedTuple):
    """What is told of a file: its bytes, or None, and a text that is another for another content, or nothing."""

    size: int | None = None
    mark: str = ""


class _Broken(Exception):  # noqa: N818
    """What may be whole when it is tried again."""


def look(address: str) -> Found:
    """What there is at an address, without its content. Raises Gone, and DataError where nobody can tell."""
    return _repeated(address, lambda: _look(address))


def copy(address: str, target: Path, progress: Progress = silent) -> Found:
    """The content of a file elsewhere, in a new file. What breaks off is begun anew, as often as PAUSES has pauses.

    Raises Gone, DataError in one line for all else that is wrong elsewhere, and OSError for what is wrong here.
    What lies in `target` is then of no use.
    """
    what = f"fetching {file_name(address)}"

    def attempt() -> Found:
        with target.open("wb") as file:
            if protocol_of(address) in WEB:
                return _copy_web(address, file, lambda done, total: progress(what, done, total))
            return _copy_other(address, file, lambda done, total: progress(what, done, total))

    return _repeated(address, attempt)


def listing(address: str) -> dict[str, Found]:
    """All files below a folder elsewhere, by their names in it. Raises Gone and DataError.

    http has no folders: what a server shows of one is a page for people.
    """
    if protocol_of(address) in WEB:
        known = "Expected an archive or a table by its name"
        raise DataError(f"data {public(address)}: {known}; {protocol_of(address)} lists no folders. Cure: an archive, "
                        "or a table with the addresses of the pictures")  # fmt: skip
    return _repeated(address, lambda: _list(address))


def _repeated(address: str, attempt: Callable[[], Result]) -> Result:
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except _Broken as problem:
            if pause is None:
                tries = f"{len(PAUSES) + 1} times" if PAUSES else "once"
                raise DataError(f"{public(address)}: cannot be fetched, tried {tries} ({problem}). {_CURE}") from None
            time.sleep(pause)
    raise AssertionError


def _look(address: str) -> Found:
    if protocol_of(address) in WEB:
        with closing(_answer(address)) as response:
            return _told_by(response)
    files, path = _file_system(address)
    return _found(_asked(address, lambda: files.info(path)))


def _copy_web(address: str, file: BinaryIO, told: Callable[[int, int | None], None]) -> Found:
    with closing(_answer(address)) as response:
        try:
            for done, total in receive(response, file, None, LIMIT):
                told(done, total)
        except ValueError as problem:  # more than is allowed: it would be so again
            raise DataError(f"{public(address)}: {problem}") from None
        except NETWORK_FAULTS as problem:
            raise _Broken(_said(problem, address)) from problem
        _refuse_page(address, file)
        return Found(file.tell(), _told_by(response).mark)


def _refuse_page(address: str, file: BinaryIO) -> None:
    size = file.tell()
    file.flush()
    with open(file.name, "rb") as written:
        if is_page(written.read(1024)):
            raise DataError(f"{public(address)}: sends a web page. Cure: the address of the file itself; it may be "
                            "that the network, or the place, wants you to sign in first")  # fmt: skip
    file.seek(size)


def _answer(address: str) -> HTTPResponse:
    parts = urlsplit_of(address)
    user, at, host = parts.netloc.rpartition("@")
    plain = urlunsplit(parts._replace(netloc=host, fragment=""))
    login = base64.b64encode(unquote(user).encode()).decode("ascii")
    deadline = time.monotonic() + limit("download_seconds")
    try:
        asked = quote(plain, safe=string.punctuation)
        return urlopen(asked, limit("download_stall"), deadline, f"Basic {login}" if at else None)
    except HTTPError as problem:
        problem.close()  # it holds the connection
        reason = f"{problem.code} {problem.reason}"
        if problem.code in _GONE:
            raise Gone(f"{public(address)}: there is nothing ({reason}). Cure: look at the address") from None
        if problem.code in _LATER or problem.code >= 500:
            raise _Broken(reason) from None
        login = " It may be that it wants you to sign in: https://NAME:PASSWORD@..." if problem.code == 401 else ""
        raise DataError(f"{public(address)}: cannot be fetched ({reason}). Cure: look at the address.{login}") from None
    except NETWORK_FAULTS as problem:
        raise _Broken(_said(problem, address)) from problem


def _told_by(response: HTTPResponse) -> Found:
    length = response.headers.get("Content-Length", "")
    marks = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
    return Found(int(length) if length.isdecimal() else None, next((mark[:500] for mark in marks if mark), ""))


def _copy_other(address: str, file: BinaryIO, told: Callable[[int, int | None], None]) -> Found:
    files, path = _file_system(address)
    info = _asked(address, lambda: files.info(path))
    if isinstance(info, Mapping) and info.get("type") == "directory":
        raise DataError(f"{public(address)}: is a folder, expected a file")
    found, done = _found(info), 0
    _refuse_large(address, found.size or 0)
    with closing(_chunks(address, files, path)) as chunks:
        for chunk in chunks:
            done += len(chunk)
            _refuse_large(address, done)
            file.write(chunk)
            told(done, found.size)
    if found.size is not None and done != found.size:
        raise _Broken(f"{done} of {found.size} bytes")
    return Found(done, found.mark)


def _chunks(address: str, files: Any, path: str) -> Generator[bytes, None, None]:
    """Written elsewhere, so that what is wrong here and what is wrong there are told apart."""
    with _asked(address, lambda: files.open(path, "rb")) as source:
        while chunk := _asked(address, lambda: source.read(_AT_ONCE)):
            yield chunk


def _refuse_large(address: str, size: int) -> None:
    if size > limit(LIMIT):
        raise DataError(f"{public(address)}: {size} bytes, more than {variable_of(LIMIT)} allows")


def _found(info: Mapping[str, Any]) -> Found:
    """Of what a file system tells: sizes and marks have many names."""
    size = info.get("size")
    names = ("ETag", "etag", "md5Hash", "content_md5", "md5", "mtime", "LastModified", "last_modified", "updated",
             "modified", "created")  # fmt: skip
    mark = next((str(info[name])[:500] for name in names if info.get(name)), "")
    return Found(size if isinstance(size, int) else None, mark)


def _list(address: str) -> dict[str, Found]:
    files, path = _file_system(address)
    if _asked(address, lambda: files.info(path)).get("type") != "directory":
        raise DataError(f"data {public(address)}: is a file. Expected a folder, an archive or a table by its name")
    most, before = limit("remote_files"), path.rstrip("/") + "/"
    listed = _asked(address, lambda: files.find(path, detail=True))
    if len(listed) > most:
        raise DataError(f"data {public(address)}: {len(listed):,} files. Cure: {variable_of('remote_files')}")
    return {str(name).removeprefix(before): _found(info) for name, info in listed.items()}


def _asked(address: str, ask: Callable[[], Any]) -> Any:
    """What a driver answers. Raises Gone, DataError and _Broken for the exceptions of all drivers."""
    try:
        return ask()
    except FileNotFoundError:
        raise Gone(f"{public(address)}: there is nothing. Cure: look at the address") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as problem:
        raise DataError(f"{public(address)}: cannot be read ({_said(problem, address)}). {_CURE}") from None
    except ImportError as problem:
        raise _without_driver(address, problem) from None
    except Exception as problem:  # each driver raises its own library's
        raise _Broken(_said(problem, address)) from problem


def _said(problem: Exception, address: str) -> str:
    text = without_secrets(reason_of(problem), address)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _file_system(address: str) -> tuple[Any, str]:
    """A file system of fsspec's, and the path in it. Raises DataError where there is none for the protocol."""
    urlsplit_of(address)
    protocol = protocol_of(address)
    if "::" in address or protocol in WRAPPERS:
        raise DataError(
            f"{public(address)}: leads to one address through another. Cure: the address of the file itself"
        )
    try:
        import fsspec
    except Exception as problem:  # one whose libraries do not fit raises whatever it likes
        why = "Cure: pip install 'xfer-vision[remote]'; http and https need nothing"
        raise DataError(f"{public(address)}: fsspec cannot be imported ({reason_of(problem)}). {why}") from None
    known = sorted({*fsspec.available_protocols(), *fsspec.registry, *WEB}.difference(WRAPPERS))
    if protocol not in known:
        raise DataError(f"{public(address)}: unknown protocol {protocol!r}. Expected one of {', '.join(known)}")
    try:
        files, path = fsspec.core.url_to_fs(address)
        return files, str(path)
    except ImportError as problem:
        raise _without_driver(address, problem) from None
    except Exception as problem:
        raise DataError(f"{public(address)}: cannot be opened ({_said(problem, address)}). {_CURE}") from None


def _without_driver(address: str, problem: ImportError) -> DataError:
    known = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "adl": "adlfs"}
    name = known.get(protocol_of(address))
    cure = f"Cure: pip install {name}" if name else "Cure: install it with pip"
    return DataError(
        f"{public(address)}: the driver of {protocol_of(address)} is missing ({reason_of(problem)}). {cure}"
    )
