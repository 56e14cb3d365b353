"""Splits: files in a fixed order with their labels, taken apart and put together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import DataError
from xfer.system.memory import shortage

T = TypeVar("T", bound=np.generic)


class Files(Sequence[str]):
    """Absolute paths of pictures, kept as short bytes: 100,000 of them take a few megabytes."""

    def __init__(self, root: str, names: NDArray[np.bytes_]) -> None:
        self.root = root
        self.names = names  # relative to the root

    @classmethod
    def below(cls, root: str, names: Iterable[str]) -> Files:
        encoded = [os.fsencode(name) for name in names]
        longest = max(map(len, encoded), default=0)
        if short := shortage(longest * len(encoded)):  # each takes as much as the longest
            raise DataError(f"data {root}: {len(encoded):,} names, the longest of {longest} bytes: {short}. "
                            "Cure: shorter names, or fewer pictures at a time")  # fmt: skip
        return cls(root, np.array(encoded, np.bytes_))

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, index: slice | Int64) -> Files: ...
    def __getitem__(self, index: int | np.integer[Any] | slice | Int64) -> str | Files:
        selected = self.names[index]
        if isinstance(selected, bytes):
            return os.path.join(self.root, os.fsdecode(selected))
        return Files(self.root, selected)


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures in a fixed order. `labels` (n,) int64 count the classes of the data set.

    `digests` (n, 16) uint8 are those of the files' bytes, by `xfer.pixels.content.file_digest`, and `stamps` (n, 2)
    int64 what `xfer.pixels.content.stamp` said of the files then; None where nobody read them.
    """

    files: Sequence[str]
    labels: Int64
    digests: NDArray[np.uint8] | None = None
    stamps: Int64 | None = None

    def known(self, index: int) -> tuple[tuple[int, int], bytes] | None:
        """The stamp and the digest of the file there, where it was read."""
        if self.digests is None or self.stamps is None:
            return None
        size, changed = self.stamps[index].tolist()
        return (size, changed), self.digests[index].tobytes()


def divide(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """A training split and a validation split with `fraction` of each class, but one or more, and not all."""
    held_out = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out.append(np.random.default_rng((seed, label)).permutation(members)[:count])
    val = np.sort(np.concatenate(held_out))
    return take(split, np.setdiff1d(np.arange(len(split.labels)), val)), take(split, val)


def take(split: Split, indices: Int64) -> Split:
    """The pictures at these places of a split."""
    assert isinstance(split.files, Files)
    digests = None if split.digests is None else split.digests[indices]
    stamps = None if split.stamps is None else split.stamps[indices]
    return Split(split.files[indices], split.labels[indices], digests, stamps)


def joined(splits: Sequence[Split]) -> Split:
    """One split after the other."""
    files = [file for part in splits for file in part.files]
    labels = np.concatenate([part.labels for part in splits])
    return Split(files, labels, _known([part.digests for part in splits]), _known([part.stamps for part in splits]))


def _known(parts: Sequence[NDArray[T] | None]) -> NDArray[T] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
