"""The bytes of a picture's file: read whole, and told from what may stand there later."""

from __future__ import annotations

import errno
import hashlib
import io
import os

from xfer.pixels.bounds import picture_limits


def read_content(path: str | os.PathLike[str]) -> tuple[bytes, tuple[int, int]]:
    """All of a file, and its stamp of before it was read: what is written meanwhile shows as a change.

    Raises OSError, also for a file that is empty or beyond the limit `picture_file`: nobody has to find out how much of
    a larger one fits into memory.
    """
    if (size := os.path.getsize(path)) == 0:  # before it is opened: a pipe would wait for somebody to write
        raise OSError(errno.EINVAL, "empty file")
    if size > (most := picture_limits().file):
        raise OSError(errno.EFBIG, f"more than {most >> 20} MiB")
    with open(path, "rb", buffering=0) as file:
        came = stamp(file.fileno())
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
    with open(path, "rb") as file:
        return content_digest(file.read())


def content_digest(content: bytes) -> bytes:
    """What `file_digest` gives for a file of these bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()
