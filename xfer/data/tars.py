"""Tar archives of strangers, read forwards: ustar, and the long names and sizes of GNU and pax.

Python's tarfile reads headers of any length at once, takes for ever over some, and takes a damaged one for the end.
What a header may hold is bounded here before it is read. The formats are those of POSIX.1-2001 (pax) and GNU tar.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import BinaryIO

from xfer.data.streams import Allowance, Decompressed, Section, compression
from xfer.errors import DataError
from xfer.system.limits import limit, variable_of

BLOCK = 512
_BUFFER = 2**20
_FILES, _FOLDER, _LINKS = b"\x007", b"5", b"12346"  # types; old archives have a NUL for a file
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL = b"L", b"K", b"xX", b"g"
_GNU = b"ustar  \0"  # what has a prefix of the name elsewhere are times there


class BrokenTarError(Exception):
    """What is wrong with it, in a few words."""


@dataclass(frozen=True)
class Member:
    """A file, or a folder (no content)."""

    name: str
    content: io.RawIOBase | None


def tar_members(file: BinaryIO, allowed: Allowance) -> Generator[Member, None, None]:
    """Every file and folder, in order; the content of one may be read until the next is asked for.

    Raises DataError for links, devices and what is out of bounds, BrokenTarError, EOFError and the errors of
    decompressors for what is damaged or cut short.
    """
    stream = _opened(file, allowed)
    own: dict[str, str] = {}  # what is said of the next member
    of_all: dict[str, str] = {}
    while (header := _header(stream)) is not None:
        allowed.take_file()
        kind, size = header[156:157], _number(header[124:136])
        if kind in _LONG_NAME + _LONG_LINK + _PAX + _GLOBAL:
            content = _metadata(stream, size, allowed)
            if kind == _LONG_NAME:
                own["path"] = _text(content)
            elif kind in _PAX:
                own |= _records(content, allowed)
            elif kind == _GLOBAL:
                of_all |= _records(content, allowed)
            continue
        known, own = of_all | own, {}
        name = known.get("path") or _name(header)
        if kind == _FOLDER or (kind == b"\0" and name.endswith("/")):
            yield Member(name, None)
            continue
        if kind not in _FILES + b"0":
            what = "is a link or device" if kind in _LINKS else f"is of the unknown kind {kind!r}"
            raise DataError(f"archive {allowed.archive}: {name!r} {what}, which is refused")
        size = _decimal(known["size"].encode()) if "size" in known else size
        content_of = Section(stream, size)
        yield Member(name, content_of)
        _skip(stream, content_of.left)
        _skip(stream, -size % BLOCK)
    _check_end(stream)


def _opened(file: BinaryIO, allowed: Allowance) -> BinaryIO:
    begin = file.read(BLOCK)
    file.seek(0)
    new = None if _is_header(begin) else compression(begin)
    if new is None:
        return file
    return io.BufferedReader(Decompressed(file, new, allowed), _BUFFER)


def _header(stream: BinaryIO) -> bytes | None:
    """The next block; None for the zeros that mark the end."""
    block = stream.read(BLOCK)
    if len(block) < BLOCK:
        raise BrokenTarError("it has no end mark")
    if not any(block):
        return None
    if not _is_header(block):
        raise BrokenTarError("a damaged header")
    return block


def _is_header(block: bytes) -> bool:
    """By its checksum, of bytes with a sign in some old archives."""
    if len(block) < BLOCK or not any(block):
        return False
    try:
        expected = _number(block[148:156])
    except BrokenTarError:
        return False
    summed = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(summed)
    return expected in (unsigned, unsigned - 256 * sum(byte > 127 for byte in summed))


def _number(field: bytes) -> int:
    """Octal digits, or, of what is too large for them, 0x80 and the bytes of the number."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise BrokenTarError("a damaged number in a header")
    return int(digits or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise BrokenTarError("a damaged number in a header")
    return int(digits)


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _name(header: bytes) -> str:
    prefix = b"" if header[257:265] == _GNU else header[345:500]
    return "/".join(part for part in (_text(prefix), _text(header[:100])) if part)


def _metadata(stream: BinaryIO, size: int, allowed: Allowance) -> bytes:
    """What stands in place of a file and says more of the next one."""
    most = limit("archive_header")
    if size > most:
        raise DataError(
            f"archive {allowed.archive}: a header of {size:,} bytes, expected at most {most:,}, which is refused. "
            f"Cure: {variable_of('archive_header')}"
        )
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("a header without its end")
    _skip(stream, -size % BLOCK)
    return content


def _records(content: bytes, allowed: Allowance) -> dict[str, str]:
    """`path` and `size` of pax's records: "LENGTH KEY=VALUE\n", where the length counts all of it."""
    known = {}
    position = 0
    while position < len(content) and content[position]:
        space = content.find(b" ", position, position + 21)
        if space < 0:
            raise BrokenTarError("a damaged record in a header")
        end = position + _decimal(content[position:space])
        key, separator, value = content[space + 1 : end].partition(b"=")
        if not space < end <= len(content) or not separator or not value.endswith(b"\n"):
            raise BrokenTarError("a damaged record in a header")
        if key.startswith(b"GNU.sparse"):
            raise DataError(f"archive {allowed.archive}: holds a sparse file, which is refused")
        if key in (b"path", b"size"):
            known[key.decode()] = _text(value[:-1])
        position = end
    return known


def _skip(stream: BinaryIO, count: int) -> None:
    while count:
        skipped = len(stream.read(min(count, _BUFFER)))
        if not skipped:
            raise EOFError("a file without its end")
        count -= skipped


def _check_end(stream: BinaryIO) -> None:
    """Behind the mark there are only zeros. Reading to the last byte lets decompressors compare their checksums."""
    while chunk := stream.read(_BUFFER):
        if chunk.strip(b"\0"):
            raise BrokenTarError("a damaged header")
