"""Splits: files in a fixed order with their labels, taken apart and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float64, Int64
from xfer.data import stratified
from xfer.data.files import Files, chained
from xfer.data.grouped import deal, fill
from xfer.errors import DataError
from xfer.multilabel import class_counts, several

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures in a fixed order. `labels` (n,) int64 count the classes of the data set; of several, (n, C) of 0 and 1.

    `digests` (n, 16) uint8 are those of the files' bytes, by `xfer.pixels.content.file_digest`, and `stamps` (n, 2)
    int64 what `xfer.pixels.content.stamp` said of the files then; None where nobody read them. `groups` (n,) int64:
    pictures of one number never lie on both sides of a split that is made here; None: each is its own. `weights` (n,)
    float64, at least 0: what the loss of a picture counts in training; None: 1 each.
    """

    files: Sequence[str]
    labels: Int64
    digests: NDArray[np.uint8] | None = None
    stamps: Int64 | None = None
    groups: Int64 | None = None
    weights: Float64 | None = None

    def known(self, index: int) -> tuple[tuple[int, int], bytes] | None:
        """The stamp and the digest of the file there, where it was read."""
        if self.digests is None or self.stamps is None:
            return None
        size, changed = self.stamps[index].tolist()
        return (size, changed), self.digests[index].tobytes()


class Fold(NamedTuple):
    """One of `of` parts of a data set: the part that this training validates with. It counts from 1."""

    number: int
    of: int


@dataclass(frozen=True, eq=False)
class Folded:
    """What a fold and the rest of a set were taken from: their places in it, (n,) each, in order."""

    whole: Split
    train: Int64
    val: Int64


def divide(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """A training split and a validation split with `fraction` of each class, but one or more, and not all.

    Of groups whole ones, which is as near to that as they allow; a class of a single group is trained alone.
    """
    if split.groups is not None:
        in_val = _groups_held_out(split.labels, split.groups, fraction, seed)
        return take(split, np.flatnonzero(~in_val)), take(split, np.flatnonzero(in_val))
    if several(split.labels):
        parts = stratified.held_out(split.labels, fraction, seed)
        return take(split, np.flatnonzero(parts == 0)), take(split, np.flatnonzero(parts == 1))
    held_out = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out.append(np.random.default_rng((seed, label)).permutation(members)[:count])
    in_val = np.zeros(len(split.labels), bool)
    in_val[np.concatenate(held_out)] = True
    return take(split, np.flatnonzero(~in_val)), take(split, np.flatnonzero(in_val))


def _groups_held_out(labels: Int64, groups: Int64, fraction: float, seed: int) -> NDArray[np.bool_]:
    parts = deal(labels, groups, (1 - fraction, fraction), (True, False), seed)
    assert parts is not None  # all of a class may lie in the first
    return fill(labels, groups, parts == 1)


def folds_of(labels: Int64, count: int, seed: int) -> Int64:
    """The fold of each picture, (n,) of 1 to `count`: stratified, so that no class and no fold varies by over one.

    Each class is shuffled and dealt out to the folds in turn, and the next one goes on where it ended.
    """
    folds, dealt = np.empty(len(labels), np.int64), 0
    for label in np.unique(labels):
        members = np.random.default_rng((seed, label)).permutation(np.flatnonzero(labels == label))
        folds[members] = 1 + (dealt + np.arange(len(members))) % count
        dealt += len(members)
    return folds


def fold_off(whole: Split, fold: Fold, seed: int, classes: Sequence[str], root: Path) -> Folded:
    """Raises DataError where a fold would be empty, or where one would train without a class.

    `classes` and `root` are for the message.
    """
    n, counts = len(whole.labels), class_counts(whole.labels, len(classes))
    if fold.of > n:
        raise DataError(f"data {root}: {n} pictures, expected {fold.of} or more for as many folds. Cure: fewer folds")
    if (lone := np.flatnonzero(counts == 1)).size:
        folder = root / classes[lone[0]]
        raise DataError(f"data {folder}: 1 picture, expected 2 or more for folds. Cure: add some, or remove the folder")
    if whole.groups is not None:
        folds = _whole_folds(whole, fold.of, seed, root)
    elif several(whole.labels):
        folds = _stratified(whole, fold.of, seed, root)
    else:
        folds = folds_of(whole.labels, fold.of, seed)
    return Folded(whole, np.flatnonzero(folds != fold.number), np.flatnonzero(folds == fold.number))


def _stratified(whole: Split, count: int, seed: int, root: Path) -> Int64:
    folds = stratified.folds_of(whole.labels, count, seed)
    if folds is None:
        raise DataError(f"data {root}: a label would lie in one of {count} folds alone, and not be trained without it. "
                        "Cure: pictures with more of it, or another data.split_seed")  # fmt: skip
    return folds


def _whole_folds(whole: Split, count: int, seed: int, root: Path) -> Int64:
    """As `folds_of`, of whole groups. Raises DataError where there are too few of them."""
    assert whole.groups is not None
    n = len(np.unique(whole.groups))
    if count > n:
        raise DataError(f"data {root}: {n} groups, expected {count} or more for as many folds. Cure: fewer folds")
    folds = deal(whole.labels, whole.groups, [1 / count] * count, [False] * count, seed)
    if folds is None:
        raise DataError(f"data {root}: a class would lie in one of {count} folds of whole groups alone, and not be "
                        "trained without it. Cure: pictures of more groups, or another data.split_seed")  # fmt: skip
    return 1 + folds


def take(split: Split, indices: Int64) -> Split:
    """The pictures at these places of a split; the split itself where these are all of them, in order."""
    if np.array_equal(indices, np.arange(len(split.labels))):
        return split
    assert isinstance(split.files, Files)
    digests = None if split.digests is None else split.digests[indices]
    stamps = None if split.stamps is None else split.stamps[indices]
    groups = None if split.groups is None else split.groups[indices]
    weights = None if split.weights is None else split.weights[indices]
    return Split(split.files[indices], split.labels[indices], digests, stamps, groups, weights)


def joined(splits: Sequence[Split]) -> Split:
    """One split after the other."""
    files = chained([part.files for part in splits])
    labels = np.concatenate([part.labels for part in splits])
    return Split(files, labels, _known([part.digests for part in splits]), _known([part.stamps for part in splits]))


def _known(parts: Sequence[NDArray[T] | None]) -> NDArray[T] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
