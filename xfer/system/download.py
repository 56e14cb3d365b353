"""Fetching one file: checked, atomic, and with the cure when the network is not there."""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError

from xfer.errors import ConfigError, XferError
from xfer.system import kept
from xfer.system.doors import open_regular
from xfer.system.files import expanded, replacing
from xfer.system.kept import Kept
from xfer.system.limits import limit, variable_of
from xfer.system.web import is_page, urlopen

FOLDERS = ("downloads", "weights")
"""Of the cache, where downloads are kept."""

SLOWEST = 1000  # bytes a second: fewer are a server that keeps its visitors busy
_CHUNK = 2**18  # bytes
_BEGIN = 1024
NETWORK_FAULTS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError, ValueError)


def cache_dir() -> Path:
    """Where downloads are kept: $XFER_CACHE, else $XDG_CACHE_HOME/xfer, else ~/.cache/xfer.

    Of a user without a home folder, who has a number alone in many a container: a folder of his own for what is
    temporary. Raises ConfigError where there is none that can be trusted.
    """
    if own := os.environ.get("XFER_CACHE"):
        if (path := expanded(own)).parts[0].startswith("~"):
            raise ConfigError(f"XFER_CACHE = {own!r}: there is no such home folder. Cure: the path of a folder")
        return path
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "xfer"
    home = expanded("~")
    return home / ".cache" / "xfer" if home.is_absolute() else _of_no_home()


def _of_no_home() -> Path:
    cure = "Cure: XFER_CACHE=FOLDER"
    try:
        path = Path(tempfile.gettempdir()) / f"xfer-{os.getuid()}"
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        owner = path.lstat().st_uid  # whoever else made it could put there what he likes
    except OSError as error:
        raise ConfigError(f"this user has no home folder to keep anything in ({error.strerror}). {cure}") from error
    if owner != os.getuid():
        raise ConfigError(f"{path}: belongs to another user, and this one has no home folder. {cure}")
    return path


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
    target appears complete and checked, or not at all; a web page is no file. Of several processes one fetches it.
    Every fault raises `error`, in one line that names the URL, the file that would do instead, and where to put it;
    `alternative` is a further cure ("or ..."). Bytes and seconds are bounded by the limits `download...`.
    """
    if _fault(target, sha256, sha1, size) is None:
        kept.touch(target)
        return
    cure = f"Cure: download it by hand{_described(sha256, sha1)} and put it at {target}{alternative}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        kept.sweep(target.parent)
        with ExitStack() as held:
            while not kept.taken(held, target):
                yield 0, None  # another process fetches it
                time.sleep(kept.POLL)
            fault = _fault(target, sha256, sha1, size)
            if fault is None:  # another was faster
                return
            with replacing(target) as part:
                with part.open("wb") as file:
                    yield from _fetch(url, file, size)
                if (wrong := _fault(part, sha256, sha1, size)) is not None:
                    raise error(f"{what}: what {url} sent {wrong}. {cure}")
    except NETWORK_FAULTS as problem:
        if isinstance(problem, HTTPError):
            problem.close()  # it holds the connection
        present = f"; the file that is there {fault}" if target.exists() else ""
        raise error(f"{what}: cannot download {url} ({reason_of(problem)}){present}. {cure}") from problem
    except OSError as problem:
        raise error(
            f"{what}: cannot write {target} ({problem.strerror or problem}). "
            "Cure: make room or grant access there, or set XFER_CACHE to another folder"
        ) from problem


def downloads(cache: Path) -> list[Kept]:
    """All that lies in a cache folder's FOLDERS, put there by hand or not."""
    files = [cache / folder / name for folder in FOLDERS for name in kept.names(cache / folder)]
    states = [(file, file.lstat()) for file in files if file.is_file()]
    return [
        Kept(file, state.st_size, state.st_mtime, "downloaded", partial(kept.remove, file)) for file, state in states
    ]


def reason_of(problem: Exception) -> str:
    if isinstance(problem, URLError) and not isinstance(problem, HTTPError):
        problem = problem.reason if isinstance(problem.reason, Exception) else problem
    return " ".join(str(problem).split()) or type(problem).__name__


def _described(sha256: str | None, sha1: str | None) -> str:
    hashes = [f"{kind} {value}" for kind, value in (("sha256", sha256), ("sha1", sha1)) if value]
    return f" ({', '.join(hashes)})" if hashes else ""


def _fetch(url: str, file: BinaryIO, size: int | None) -> Iterator[tuple[int, int | None]]:
    patience, seconds = limit("download_stall"), limit("download_seconds")
    with closing(urlopen(url, patience, time.monotonic() + seconds)) as response:
        yield from receive(response, file, size, "download")


def receive(response: HTTPResponse, file: BinaryIO, size: int | None, most_of: str) -> Iterator[tuple[int, int | None]]:
    """Write the body of an answer into a file, yielding (bytes so far, bytes in all or None) on the way.

    `size`: bytes in all where the answer does not say. Raises ConnectionError for a body that ends too early,
    TimeoutError for one that comes too slowly, ValueError for more bytes than the limit `most_of` allows.
    """
    patience, most = limit("download_stall"), limit(most_of)
    since = time.monotonic()
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else size
    if total is not None and total > most:
        raise ValueError(f"{total} bytes, more than {variable_of(most_of)} allows")
    done = before = 0
    yield done, total
    while chunk := response.read1(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if done > (most if total is None else total):
            raise ValueError(f"more than the {most if total is None else total} bytes expected")
        now = time.monotonic()
        if now - since > patience:
            if done - before < SLOWEST * patience:
                raise TimeoutError(f"{done - before} bytes in {now - since:.0f} s, which is too slow")
            since, before = now, done
        yield done, total
    if total is not None and done < total:
        raise ConnectionError(f"cut off after {done} of {total} bytes")


def _fault(path: Path, sha256: str | None, sha1: str | None, size: int | None) -> str | None:
    """What is wrong with a file, as the rest of a sentence, or None."""
    if not path.is_file():
        return "is no file"
    try:
        with open_regular(path) as file:
            begin = file.read(_BEGIN)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if is_page(begin):
        return "is a web page: the network may want you to sign in first"
    if size is not None and path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes, expected {size}"
    for kind, expected in (("sha256", sha256), ("sha1", sha1)):
        if expected and not (actual := file_hash(path, kind)).startswith(expected.lower()):
            return f"has the {kind} {actual}, expected {expected}"
    return None


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal digest of a file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, kind).hexdigest()
