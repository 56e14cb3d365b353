"""Paths of many files in little memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import DataError
from xfer.system.memory import shortage

AT_ONCE = 4096
"""Files that are taken from arrays together: one by one, NumPy's own time would be most of it."""


class Files(Sequence[str]):
    """Absolute paths: names relative to `root` in one buffer of bytes, and 12 bytes more for each.

    starts   (n,) int64, where each name begins in the buffer, and `lengths` (n,) int32

    A selection shares the buffer of what it is taken from.
    """

    def __init__(self, root: str, buffer: bytes, starts: Int64, lengths: NDArray[np.int32]) -> None:
        self.root, self.buffer, self.starts, self.lengths = root, buffer, starts, lengths

    @classmethod
    def below(cls, root: str, names: Iterable[str]) -> Files:
        """Raises DataError where as much memory as they take is not left for what will be known of the files."""
        buffer, lengths = BytesIO(), array("i")
        for name in names:
            lengths.append(buffer.write(os.fsencode(name)))
            if not len(lengths) % 2**16:
                _refuse_memory(root, buffer.tell(), lengths)
        _refuse_memory(root, buffer.tell(), lengths)
        sizes = np.array(lengths, np.int32)
        starts = np.zeros(len(sizes), np.int64)
        np.cumsum(sizes[:-1], out=starts[1:])
        return cls(root, buffer.getvalue(), starts, sizes)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, index: slice | Int64) -> Files: ...
    def __getitem__(self, index: int | np.integer[Any] | slice | Int64) -> str | Files:
        start, length = self.starts[index], self.lengths[index]
        if isinstance(start, np.ndarray):
            return Files(self.root, self.buffer, start, length)
        return os.path.join(self.root, os.fsdecode(self.buffer[start : start + length]))

    def __iter__(self) -> Iterator[str]:
        before = os.path.join(self.root, "")
        return (before + os.fsdecode(name) for name in self.names())

    def names(self) -> Iterator[bytes]:
        """Relative to the root."""
        for begin in range(0, len(self), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            for start, length in zip(self.starts[part].tolist(), self.lengths[part].tolist(), strict=True):
                yield self.buffer[start : start + length]


def chained(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    """The files of one part after those of the other."""
    known = [part for part in parts if isinstance(part, Files)]
    if len(known) < len(parts) or not parts:
        return [file for part in parts for file in part]
    if all(part.buffer is known[0].buffer and part.root == known[0].root for part in known):  # taken from one list
        starts, lengths = (np.concatenate([getattr(part, name) for part in known]) for name in ("starts", "lengths"))
        return Files(known[0].root, known[0].buffer, starts, lengths)
    root = os.path.commonpath([part.root for part in known])
    before = len(os.path.join(root, ""))
    return Files.below(root, (file[before:] for part in known for file in part))


def _refuse_memory(root: str, size: int, lengths: Sequence[int]) -> None:
    """Where what the names take is not free once more: what will be known of the files takes about as much."""
    if short := shortage(size):
        raise DataError(f"data {root}: {len(lengths):,} names, the longest of {max(lengths)} bytes: {short}. "
                        "Cure: shorter names, or fewer pictures at a time")  # fmt: skip
