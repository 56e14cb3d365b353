"""The bytes of a picture's file: read whole, and told from what may stand there later."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from functools import partial

from xfer.pixels.bounds import picture_limits
from xfer.system.doors import open_regular

LARGE = 2**26  # bytes: files above it are looked into before they are read
EMPTY = "empty file"
_BEGIN = 64  # bytes; pictures of no kind begin with so many zeros


def read_content(path: str | os.PathLike[str]) -> tuple[bytes, tuple[int, int]]:
    """All of a file, and its stamp of before it was read: what is written meanwhile shows as a change.

    Raises OSError, also for a file that is empty or beyond the limit `picture_file`: nobody has to find out how much of
    a larger one fits into memory. As `xfer.system.doors` for what is no regular file.
    """
    with open_regular(path) as file:
        came = stamp(file.fileno())
        if came[0] == 0:
            raise OSError(errno.EINVAL, EMPTY)
        if came[0] > (most := picture_limits().file):
            raise OSError(errno.EFBIG, f"more than {most >> 20} MiB")
        if came[0] > LARGE:
            if not any(file.read(_BEGIN)):  # a file of holes: gigabytes of them are made in no time
                raise OSError(errno.EINVAL, "not an image")
            file.seek(0)
        return _read(file, came[0]), came


def _read(file: io.FileIO, size: int) -> bytes:
    """The next `size` bytes, in one call of the system: `readall` makes four, and after each one waits for its turn."""
    content = file.read(size)
    return content if len(content) == size else content + file.readall()


def stamp(file: str | os.PathLike[str] | int) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change. Raises OSError."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns % 2**63  # of files, times beyond the year 2262 can be said too


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """16 bytes of BLAKE2b over the bytes of a file. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, _hash).digest()


def content_digest(content: bytes) -> bytes:
    """What `file_digest` gives for a file of these bytes."""
    return _hash(content).digest()


def has_changed(path: str | os.PathLike[str], came: tuple[int, int], digest: bytes) -> bool:
    """Whether the file holds other bytes than those of that stamp and digest. One that is gone has not changed."""
    try:
        return stamp(path) != came and file_digest(path) != digest
    except OSError:
        return False


_hash = partial(hashlib.blake2b, digest_size=16)
