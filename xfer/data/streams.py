"""Compressed streams of strangers: read piece by piece, with what comes out counted and the memory bounded."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from xfer.errors import DataError
from xfer.system.limits import limit, variable_of

FREE_BYTES = 2**30  # of content, before it is held against the archive's size: pictures hardly shrink at all
FREE_FILES = 10_000  # likewise
BYTES_PER_FILE = 64  # of an archive at least, its headers included: the smallest picture has 67

_CHUNK = 2**18
_UNPACK = "Cure: unpack it yourself and give the folder"


@dataclass
class Allowance:
    """What may still come out of an archive. What its headers say of sizes is not believed: all is counted."""

    archive: Path
    bytes: int
    files: int

    def take_bytes(self, count: int) -> None:
        """Raises DataError when more came out than may."""
        self.bytes -= count
        if self.bytes < 0:
            raise DataError(
                f"archive {self.archive}: its content is over {limit('archive_ratio')} times its size, or over "
                f"{limit('archive') >> 30} GiB, which is refused. {_UNPACK}, or {variable_of('archive_ratio')}"
            )

    def take_file(self) -> None:
        """For each header and each stream, as time goes by with those that hold nothing too. Raises DataError."""
        self.files -= 1
        if self.files < 0:
            raise DataError(
                f"archive {self.archive}: more than {limit('archive_files'):,} files in it, or more than one in "
                f"{BYTES_PER_FILE} bytes, which is refused. {_UNPACK}, or {variable_of('archive_files')}"
            )


def allowance(archive: Path, size: int) -> Allowance:
    """For an archive of so many bytes."""
    most = min(limit("archive"), max(FREE_BYTES, limit("archive_ratio") * size))
    return Allowance(archive, most, min(limit("archive_files"), max(FREE_FILES, size // BYTES_PER_FILE)))


class Decompressor(Protocol):
    """As bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Deflate:
    """zlib's, with the interface of the others. `wbits` 31: gzip; -15: without a header."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def xz() -> Decompressor:
    """Of .xz and .lzma, whose header says how much memory it takes: up to 4 GiB."""
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=limit("archive_memory"))


def lzma1(properties: bytes) -> Decompressor:
    """LZMA without a header, as in zips; 5 bytes of properties. Raises LZMAError."""
    packed, dictionary = properties[0], int.from_bytes(properties[1:], "little")
    if packed >= 225 or dictionary > limit("archive_memory"):
        raise lzma.LZMAError("Memory usage limit exceeded" if packed < 225 else "Invalid options")
    options = {"lc": packed % 9, "lp": packed // 9 % 5, "pb": packed // 45}
    return lzma.LZMADecompressor(
        lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, **options}]
    )


def compression(begin: bytes) -> Callable[[], Decompressor] | None:
    """What a stream that begins like this is compressed with; None for none that is known."""
    if begin.startswith(b"\x1f\x8b"):
        return lambda: Deflate(31)
    if begin.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    return xz if begin.startswith((b"\xfd7zXZ\0", b"]\0\0")) else None


class Decompressed(io.RawIOBase):
    """What comes out of a file of one or more streams. Raises EOFError where it is cut short."""

    def __init__(self, source: BinaryIO, new: Callable[[], Decompressor], allowed: Allowance) -> None:
        self._source, self._new, self._allowed = source, new, allowed
        self._inner, self._ahead = new(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            if self._inner.eof and not self._next_stream():
                return 0
            if content := self._piece(len(buffer)):
                self._allowed.take_bytes(len(content))
                buffer[: len(content)] = content
                return len(content)

    def _piece(self, most: int) -> bytes:
        data, hungry = b"", self._inner.needs_input
        if hungry:
            data, self._ahead = self._ahead or self._source.read(_CHUNK), b""
        content = self._inner.decompress(data, most)
        if hungry and not (data or content or self._inner.eof):
            raise EOFError("a compressed stream without its end")
        return content

    def _next_stream(self) -> bool:
        """Zeros between streams, or behind the last one, are padding."""
        behind = self._inner.unused_data
        while not (behind := behind.lstrip(b"\0")):
            if not (behind := self._source.read(_CHUNK)):
                return False
        self._allowed.take_file()
        self._inner, self._ahead = self._new(), behind
        return True


class Section(io.RawIOBase):
    """The next `size` bytes of a stream, and no more. Raises EOFError where there are fewer."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = self._stream.read(min(len(buffer), self.left))
        if not content and len(buffer) and self.left:
            raise EOFError("a file without its end")
        self.left -= len(content)
        buffer[: len(content)] = content
        return len(content)
