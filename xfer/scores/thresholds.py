"""From which probability on a picture is said to have a label: chosen for the F1 of each, and judged out of fold."""

from __future__ import annotations

import numpy as np

from xfer.arrays import Float64, Int64
from xfer.data.stratified import iterative
from xfer.multilabel import EVEN
from xfer.scores.probabilities import Chances

FOLDS = 5
_SEED = 0


def fitted(labels: Int64, probabilities: Chances) -> tuple[float, ...]:
    """Of each label the threshold in (0, 1) with the highest F1 of the pictures with `probability >= threshold`.

    It lies half way between two probabilities that occur, or between the least and 0; of those with the same F1 the
    one nearest to a half is taken, and a half for a label that no picture has, or of which no threshold finds any.

    labels  (n, C) of 0 and 1
    """
    return tuple(_best(labels[:, i], probabilities[:, i].astype(np.float64)) for i in range(labels.shape[1]))


def _best(labels: Int64, shares: Float64) -> float:
    if not labels.any():
        return EVEN
    order = np.argsort(-shares, kind="stable")
    ranked = shares[order]
    ends = np.flatnonzero(np.diff(ranked, append=-1.0))  # of those that are taken together
    right = np.cumsum(labels[order])[ends]
    f1 = 2 * right / (labels.sum() + ends + 1)
    cuts = (ranked[ends] + np.append(ranked[ends[1:]], 0.0)) / 2
    best = cuts[(f1 == f1.max()) & (cuts > 0)]
    return float(best[np.abs(best - EVEN).argmin()]) if len(best) else EVEN


def taken(probabilities: Chances, thresholds: tuple[float, ...] | Float64) -> Int64:
    """(n, C) of 0 and 1: the labels that pictures are said to have."""
    return (probabilities.astype(np.float64) >= np.asarray(thresholds)).astype(np.int64)


def cross_fitted(labels: Int64, probabilities: Chances) -> Int64:
    """What `taken` gives where no picture is judged by a threshold that was chosen with it.

    The pictures are dealt out to FOLDS parts with each label in equal shares, and the thresholds of a part are those
    that are best for all others. Of a single picture they are a half.
    """
    n = len(labels)
    count = min(FOLDS, n)
    wanted = np.tile(np.append(labels.sum(axis=0), n) / count, (count, 1))
    parts = iterative(labels, wanted, [True] * count, _SEED)
    assert parts is not None  # any part may have all of a label
    found = np.empty(labels.shape, np.int64)
    for part in range(count):
        own = parts == part
        others = fitted(labels[~own], probabilities[~own]) if not own.all() else (EVEN,) * labels.shape[1]
        found[own] = taken(probabilities[own], others)
    return found
