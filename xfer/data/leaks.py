"""Pictures that stand in a data set more than once, found by the digests of their files' bytes.

A copy with other bytes (saved again, resized, cropped) is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import DataError
from xfer.multilabel import several

OnLeak = Literal["warn", "error", "drop"]
KINDS = ("in two classes", "in train and val", "twice in one class")
"""Worst first. The first two make a result wrong; the last gives a picture more weight than the others."""

FILE = "leaks.csv"
_TWO_CLASSES, _SPLITS = 0, 1
ACROSS = KINDS[_SPLITS]


class Leak(NamedTuple):
    path: str
    copy: str
    kind: str


@dataclass(frozen=True, eq=False)
class Leaks:
    """Positions count the training files, and go on with the validation files. Kinds are places in KINDS.

    `pairs` (m, 2) int64 and `kinds` (m,): positions of the same bytes, worst kind first. A copy stands in a pair with
    the first of its kind, so that n copies make n - 1 pairs.
    `drops` (k, 2) int64 and `reasons` (k,) kinds: positions that `on_leak = "drop"` leaves out, with a copy of each.
    """

    train: Sequence[str]
    val: Sequence[str]
    pairs: Int64
    kinds: Int64
    drops: Int64
    reasons: Int64

    def path(self, position: int) -> str:
        first = len(self.train)
        return self.train[position] if position < first else self.val[position - first]

    def rows(self) -> Iterator[Leak]:
        for (first, copy), kind in zip(self.pairs, self.kinds, strict=True):
            yield Leak(self.path(first), self.path(copy), KINDS[kind])

    def dropped(self) -> Iterator[tuple[str, str]]:
        """Path and reason of each file that is left out by `drop`."""
        for (position, copy), kind in zip(self.drops, self.reasons, strict=True):
            yield self.path(position), f"{KINDS[kind]}: the same bytes as {self.path(copy)}"

    def counts(self) -> dict[str, int]:
        """Pairs of each kind, those of none left out."""
        return {kind: n for place, kind in enumerate(KINDS) if (n := int((self.kinds == place).sum()))}

    def summary(self) -> str:
        """Counts and the first pair; nothing where there is none."""
        if not len(self.pairs):
            return ""
        first = next(self.rows())
        counts = ", ".join(f"{n} {kind}" for kind, n in self.counts().items())
        return f"pictures with a copy: {counts}; the first: {first.path} = {first.copy} ({first.kind})"

    def warning(self, on_leak: OnLeak) -> str:
        """What is to be said at the start of a training; nothing where there are no copies."""
        if not len(self.pairs):
            return ""
        done = f"; {len(self.drops)} left out" if on_leak == "drop" else ""
        cure = ". Cure: --on-leak drop" if len(self.drops) and not done else ""
        return f"warning: {self.summary()}{done}; all in {FILE}{cure}"

    def refuse(self) -> None:
        """Raises DataError where a picture stands in both splits or in two classes."""
        if len(self.drops):
            raise DataError(f"data: {self.summary()}. Cure: remove the copies, or data.on_leak = 'drop' or 'warn'")


def find_leaks(
    files: tuple[Sequence[str], Sequence[str]],
    labels: tuple[Int64, Int64],
    digests: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> Leaks:
    """Copies among the files of train and val, from their labels (n,) and digests (n, 16) uint8.

    Of pictures with several labels, those of the same bytes and other labels are in two classes.
    Of a picture in both splits the training copy is to be dropped, so that validation stays comparable; of one in two
    classes every copy, since nobody knows which label is right.
    """
    place = _repeated(digests)  # the others are alone; of a million pictures they would take 200 MB in what follows
    before = len(labels[0])
    in_train = place < before
    label = np.concatenate(labels)[place]
    if several(label):
        label = np.unique(label, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    same = _groups(np.concatenate([digests[0][place[in_train]], digests[1][place[~in_train] - before]]).view("S16"))
    at = np.arange(len(place))
    first = _first(same, at)
    contrary = _first(same, at[label != label[first]])  # the first whose label is not that of the first
    train, val = _first(same, at[in_train]), _first(same, at[~in_train])
    again = _first(_groups((same * (label.max(initial=0) + 1) + label) * 2 + in_train), at)
    kinds = (
        (first, label != label[first]),
        (train, ~in_train & (train >= 0)),
        (again, again != at),
    )
    torn = contrary >= 0
    leaking = in_train & (val >= 0) & ~torn
    copy = np.where(torn, np.where(label == label[first], contrary, first), val)
    gone = np.flatnonzero(torn | leaking)
    return Leaks(
        *files,
        place[np.concatenate([np.stack([origin[where], at[where]], axis=1) for origin, where in kinds])],
        np.repeat(np.arange(3), [int(where.sum()) for _, where in kinds]),
        place[np.stack([gone, copy[gone]], axis=1)],
        np.where(torn[gone], _TWO_CLASSES, _SPLITS),
    )


def _repeated(digests: Sequence[NDArray[np.uint8]]) -> Int64:
    """Positions of all that may have a copy, in order: their digests begin with the same 8 bytes."""
    begins = np.concatenate([np.ascontiguousarray(part).view(np.uint64)[:, 0] for part in digests])
    order = np.argsort(begins)
    begins = begins[order]
    equal = begins[1:] == begins[:-1]
    return np.union1d(order[1:][equal], order[:-1][equal])


def _groups(values: NDArray[np.generic]) -> Int64:
    """For each value the number of its equals."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _first(group: Int64, members: Int64) -> Int64:
    """For each position the first of `members` that is in its group, or -1."""
    first = np.full(int(group.max(initial=-1)) + 1, -1)
    first[group[members[::-1]]] = members[::-1]  # of several, the last to be written is the first of them
    return first[group]
