"""Pictures with any number of labels dealt out in shares, each label in the same ones as far as that goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xfer.arrays import Float64, Int64


def iterative(labels: Int64, wanted: Float64, whole: Sequence[bool], seed: int) -> Int64 | None:
    """The part of each picture, (n,) of 0 to parts - 1; None where a label would have to lie in one part alone.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data",
    algorithm 1): the label with the fewest pictures left goes first, and each of its pictures to the part that lacks
    most of that label; of those, to the one that lacks most pictures, and of those to one by the seed. What has no
    label comes last. Beyond that, no part that is not allowed it in `whole` gets all of a label.

    labels  (n, C) of 0 and 1
    wanted  (parts, C + 1): pictures that a part is to have of each label, and of all
    """
    n, classes = labels.shape
    rng = np.random.default_rng((seed, 1))
    parts, lacking, left = np.full(n, -1), wanted.astype(np.float64), labels.sum(axis=0)
    loads, allowed = np.zeros((len(wanted), classes), np.int64), np.asarray(whole)
    shuffled = rng.permutation(n)
    queues = [shuffled[labels[shuffled, label] == 1] for label in range(classes)]
    while left.any():
        label = int(np.where(left > 0, left, n + 1).argmin())
        for picture in queues[label][parts[queues[label]] < 0]:
            own = np.flatnonzero(labels[picture])
            last = own[left[own] == 1]
            full = ~allowed & (loads[:, last] == loads[:, last].sum(axis=0)).any(axis=1)
            if full.all():
                return None
            part = _most(np.where(full, -np.inf, lacking[:, label]), lacking[:, -1], rng)
            parts[picture] = part
            left[own] -= 1
            loads[part, own] += 1
            lacking[part, own] -= 1
            lacking[part, -1] -= 1
    for picture in shuffled[parts[shuffled] < 0]:
        part = _most(lacking[:, -1], lacking[:, -1], rng)
        parts[picture] = part
        lacking[part, -1] -= 1
    return parts


def _most(first: Float64, second: Float64, rng: np.random.Generator) -> int:
    """The place where the first is largest; of equals, where the second is; of equals, one by chance."""
    best = np.flatnonzero(first == first.max())
    best = best[second[best] == second[best].max()]
    return int(best[0] if len(best) == 1 else rng.choice(best))


def held_out(labels: Int64, fraction: float, seed: int) -> Int64:
    """(n,): 1 for pictures that make up about `fraction` of each label, one or more where it has two; else 0.

    All of a label are never 1: it would not be trained.
    """
    counts = np.append(labels.sum(axis=0), len(labels))
    most = np.maximum(counts - 1, 0)
    val = np.clip(counts * fraction, np.minimum(1, most), most)
    parts = iterative(labels, np.stack([counts - val, val]), (True, False), seed)
    assert parts is not None  # all of a label may lie in the first
    return parts


def folds_of(labels: Int64, count: int, seed: int) -> Int64 | None:
    """The fold of each picture, (n,) of 1 to `count`; None where a label would lie in one of them alone."""
    wanted = np.append(labels.sum(axis=0), len(labels)) / count
    parts = iterative(labels, np.tile(wanted, (count, 1)), [False] * count, seed)
    return None if parts is None else 1 + parts
