"""Files that come in: regular ones alone, and no more bytes than a limit of `xfer.system.limits`.

A pipe waits for ever for somebody to write, and a device never ends; a link may lead to either. All that xfer reads and
did not just write itself is read through here.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from xfer.system.limits import limit, variable_of

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading, unbuffered: what was looked at is what is read, whatever takes its place.

    Raises OSError, for a pipe, a socket, a device or a folder with a `strerror` that says which, without waiting.
    """
    # Without O_NONBLOCK a pipe waits for its writer in `open` already. Regular files do not know it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")
            raise OSError(errno.EINVAL, f"{kind}, expected a regular file", os.fspath(path))
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], name: str) -> bytes:
    """All of a regular file. Raises OSError as `open_regular`, and for more bytes than the limit `name` allows."""
    most = limit(name)
    with open_regular(path) as file:
        content = file.read(most + 1) or b""
        while len(content) <= most and (more := file.read(most + 1 - len(content))):
            content += more
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes. Cure: {variable_of(name)}", os.fspath(path))
    return content


def read_text(path: Path, name: str, encoding: str = "utf-8") -> str:
    """As `read_regular`. Raises UnicodeDecodeError, a ValueError, besides."""
    return read_regular(path, name).decode(encoding)
