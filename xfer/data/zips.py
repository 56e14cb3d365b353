"""Zip archives of strangers: the directory entry by entry, and each file as it says it is, or an error.

Python's zipfile makes an object of a kilobyte of each entry before anyone can count them, and reads entries that lie
over each other. The format is PKWARE's APPNOTE, of which this takes what pictures come in: no encryption, one part.
"""

from __future__ import annotations

import bz2
import io
import stat
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from xfer.data.streams import Allowance, Decompressed, Decompressor, Deflate, Section, lzma1
from xfer.errors import DataError

STARTS = (b"PK\3\4", b"PK\5\6")  # of a file, and of an archive of none

_END = struct.Struct("<4s4x2H2LH")  # signature; entries here and in all; bytes and place of the directory; comment
_END64 = struct.Struct("<4s28x3Q")  # signature; entries in all; bytes and place of the directory
_LOCATOR64 = struct.Struct("<4s16x")
_ENTRY = struct.Struct("<4s4x2H4x3L3H4x2L")
_LOCAL = struct.Struct("<4s22x2H")  # signature; lengths of the name and of the extra field
_COMMENT = 2**16
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14
_ENCRYPTED, _UTF8 = 1, 0x800
_LARGE = 0xFFFFFFFF  # stands for a number in the extra field for 64 bits


class BrokenZipError(Exception):
    """What is wrong with it, in a few words."""


@dataclass(frozen=True)
class Entry:
    """Of the directory. `size` bytes of content, `packed` bytes in the archive; `start` of its own header there."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    kind: int  # of file, as in `stat`; 0 where the archiver does not say
    start: int

    @property
    def name(self) -> str:
        """macOS writes UTF-8 without saying so, where the format has code page 437. Raises UnicodeDecodeError."""
        raw = self.raw_name.split(b"\0")[0]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            if self.flags & _UTF8:
                raise
            return raw.decode("cp437")

    @property
    def is_folder(self) -> bool:
        return self.name.endswith(("/", "\\"))


@dataclass(frozen=True)
class Directory:
    """Where it lies in the file; `before` bytes stand before the archive, as in those that unpack themselves."""

    start: int
    size: int
    before: int


def zip_entries(file: BinaryIO, allowed: Allowance) -> tuple[int, Iterator[Entry]]:
    """Bytes of content as the directory says, and every file and folder, in its order.

    The file may be read elsewhere in between. Raises DataError for links, devices, what is encrypted and what is out of
    bounds; BrokenZipError, ValueError.
    """
    directory = _directory(file)
    return _surveyed(file, directory, allowed), (_accepted(e, allowed) for e in _entries(file, directory))


def _accepted(entry: Entry, allowed: Allowance) -> Entry:
    if entry.kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"archive {allowed.archive}: {entry.name!r} is a link or device, which is refused")
    if entry.flags & _ENCRYPTED:
        raise DataError(f"archive {allowed.archive}: encrypted. Cure: unpack it yourself and give the folder")
    return entry


def open_entry(file: BinaryIO, entry: Entry, allowed: Allowance) -> io.RawIOBase:
    """Its content, checked at its end. Raises BrokenZipError, EOFError and the errors of decompressors in reading."""
    file.seek(entry.start)
    signature, name, extra = _unpacked(_LOCAL, file.read(_LOCAL.size))
    if signature != STARTS[0] or file.read(name) != entry.raw_name:
        raise BrokenZipError("a file is not where the directory says")
    file.seek(extra, io.SEEK_CUR)
    packed = Section(file, entry.packed)
    if entry.method == _STORED:
        return _Content(packed, entry)
    return _Content(Decompressed(packed, _decompressor(packed, entry), allowed), entry)  # type: ignore[arg-type]


def _decompressor(packed: Section, entry: Entry) -> Callable[[], Decompressor]:
    if entry.method == _DEFLATED:
        return lambda: Deflate(-15)
    if entry.method == _BZIP2:
        return bz2.BZ2Decompressor
    if entry.method == _LZMA:
        properties = packed.read(9) or b""  # version, length, and what the stream has no header for
        if properties[2:4] != b"\5\0" or len(properties) < 9:
            raise BrokenZipError("damaged properties of LZMA")
        return lambda: lzma1(properties[4:])
    raise BrokenZipError(f"compressed in a way that is not known, number {entry.method}")


class _Content(io.RawIOBase):
    """As many bytes as the directory says, with its checksum."""

    def __init__(self, inner: io.RawIOBase, entry: Entry) -> None:
        self._inner, self._entry, self._left, self._crc = inner, entry, entry.size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        # One byte more than there should be is asked for; a stream of LZMA need not have an end that it knows.
        spare = 0 if self._entry.method == _LZMA else 1
        content = self._inner.read(min(len(buffer), self._left + spare)) or b""
        self._left -= len(content)
        self._crc = zlib.crc32(content, self._crc)
        if self._left < 0 or (not content and self._left):
            raise BrokenZipError("a file of another size than the directory says")
        if not content and self._crc != self._entry.crc:
            raise BrokenZipError("a file whose checksum is wrong")
        buffer[: len(content)] = content
        return len(content)


def _directory(file: BinaryIO) -> Directory:
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END.size - _COMMENT))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise BrokenZipError("File is not a zip file")
    _, _, _, length, offset, _ = _END.unpack_from(tail, place)
    end = size - len(tail) + place
    wide = _wide(file, end)
    if wide is not None:
        end, length, offset = wide
    start = end - length
    if start < 0 or start < offset:
        raise BrokenZipError("its directory is not where it says")
    return Directory(start, length, start - offset)


def _wide(file: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """Of an archive that is too large for 32 bits: where its end begins, bytes and place of the directory."""
    begin = end - _LOCATOR64.size - 56
    if begin < 0:
        return None
    file.seek(begin)
    record = file.read(56)
    if file.read(4) != b"PK\6\7":
        return None
    signature, _, length, offset = _unpacked(_END64, record)
    if signature != b"PK\6\6":
        raise BrokenZipError("its directory is not where it says")
    return begin, length, offset


def _unpacked(layout: struct.Struct, content: bytes) -> tuple[Any, ...]:
    if len(content) < layout.size:
        raise BrokenZipError("cut off")
    return layout.unpack(content)


def _entries(file: BinaryIO, directory: Directory) -> Iterator[Entry]:
    position, end = directory.start, directory.start + directory.size
    while position < end:
        file.seek(position)
        header = file.read(min(_ENTRY.size, end - position))
        signature, flags, method, crc, packed, size, name, extra, comment, attributes, start = _unpacked(_ENTRY, header)
        position += _ENTRY.size + name + extra + comment
        if signature != b"PK\1\2" or position > end:
            raise BrokenZipError("a damaged directory")
        raw_name = file.read(name)
        size, packed, start = _widened(file.read(extra), (size, packed, start))
        kind = stat.S_IFMT(attributes >> 16)
        yield Entry(raw_name, flags, method, crc, packed, size, kind, start + directory.before)


def _widened(extra: bytes, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    """Numbers that are too large for 32 bits stand in an extra field, in this order."""
    if _LARGE not in numbers:
        return numbers
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            try:
                size, packed, start = (next(wide) if number == _LARGE else number for number in numbers)
            except (RuntimeError, StopIteration) as error:
                raise BrokenZipError("a damaged directory") from error
            return size, packed, start
        extra = extra[4 + length :]
    return numbers


def _surveyed(file: BinaryIO, directory: Directory, allowed: Allowance) -> int:
    """The bytes of content that the directory speaks of. Raises DataError for too many files, BrokenZipError for such
    that share bytes of the archive, as those of a bomb do. Takes 16 bytes of memory for each."""
    total, places = 0, array("Q")
    for entry in _entries(file, directory):
        allowed.take_file()
        end = entry.start + _LOCAL.size + len(entry.raw_name) + entry.packed
        if end > directory.start:
            raise BrokenZipError("a file that reaches into the directory, or is cut off")
        places.extend((entry.start, end))
        total += entry.size
    starts, ends = np.frombuffer(places, np.uint64).reshape(-1, 2).T
    order = np.argsort(starts, kind="stable")
    if (ends[order][:-1] > starts[order][1:]).any():
        raise BrokenZipError("files that lie over each other")
    return total
