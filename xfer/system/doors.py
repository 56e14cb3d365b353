"""Files that come in: regular ones alone, and no more bytes than a limit of `xfer.system.limits`.

A pipe waits for ever for somebody to write, and a device never ends; a link may lead to either. All that xfer reads and
did not just write itself is read through here.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

from xfer.system.limits import limit, variable_of

MOST_OBJECTS = 500_000  # a weights file of 100,000 tensors has 300,000
LONGEST_LINE = 2**22  # characters of a table's row: 100,000 classes have them

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """A regular file, open for reading, unbuffered: what was looked at is what is read, whatever takes its place.

    Raises OSError, for a pipe, a socket, a device or a folder with a `strerror` that says which, without waiting.
    """
    _refuse_others(os.stat(path), path)  # before it is opened: that alone sets some devices going
    # And if a pipe takes its place now, it waits for no writer. Regular files do not know O_NONBLOCK.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_others(os.fstat(descriptor), path)
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def _refuse_others(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no regular file")
        raise OSError(errno.EINVAL, f"{kind}, expected a regular file", os.fspath(path))


def to_append(path: str, flags: int) -> int:
    """An `opener` for `open`, of a file that is appended to. Raises OSError for what is no regular file."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file", path)


def read_regular(path: str | os.PathLike[str], name: str) -> bytes:
    """All of a regular file. Raises OSError as `open_regular`, and for more bytes than the limit `name` allows."""
    most = limit(name)
    with open_regular(path) as file:
        content = file.read(most + 1) or b""
        while len(content) <= most and (more := file.read(most + 1 - len(content))):
            content += more
    if len(content) > most:
        raise _too_much(path, name, most)
    return content


def read_text(path: Path, name: str, encoding: str = "utf-8", errors: str = "strict") -> str:
    """As `read_regular`. Raises UnicodeDecodeError, a ValueError, besides."""
    return read_regular(path, name).decode(encoding, errors)


def read_json(path: Path, name: str = "json") -> Any:
    """What a JSON file says. Raises OSError as `read_regular`, and ValueError, also for what is nested too deeply."""
    return parse_json(read_regular(path, name))


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, but raises nothing but ValueError: also as `refuse_objects`."""
    refuse_objects(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def refuse_objects(written: bytes) -> None:
    """Raises ValueError for JSON of more than MOST_OBJECTS lists and objects, which take the most room."""
    if written.count(b"[") + written.count(b"{") > MOST_OBJECTS:
        raise ValueError(f"more than {MOST_OBJECTS:,} lists and objects in it")


@contextmanager
def open_lines(path: Path, name: str, errors: str = "strict") -> Iterator[Iterator[str]]:
    """The lines of a UTF-8 file one by one, with their ends, as `csv` wants them.

    Raises OSError as `read_regular`, and ValueError for a line of more than LONGEST_LINE characters.
    """
    most = limit(name)
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise _too_much(path, name, most)
        with TextIOWrapper(BufferedReader(file), encoding="utf-8", errors=errors, newline="") as text:
            yield _lines(text)


def _lines(text: TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE:,} characters")
        yield line


def _too_much(path: str | os.PathLike[str], name: str, most: int) -> OSError:
    return OSError(errno.EFBIG, f"more than {most:,} bytes. Cure: {variable_of(name)}", os.fspath(path))
