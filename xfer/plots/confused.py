"""Which class was taken for which, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MOST_COUNTED = 5_000
"""Classes up to which a matrix of them is made: of more it takes gigabytes, and no picture has room for it."""

Labels = Sequence[int] | NDArray[np.int64]


def confusion_counts(labels: Labels, predictions: Labels, classes: int) -> Counts:
    """How often class i (row) was taken for class j (column): (classes, classes)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)), 1)
    return counts


def most_confused(counts: Counts, most: int) -> list[tuple[int, int]]:
    """Up to `most` pairs (true class, what it was taken for) of different classes, those with the most images first.

    Of pairs with as many images, those come first that are a larger share of their true class.
    """
    wrong = counts - np.diag(np.diag(counts))
    true, taken = np.nonzero(wrong)
    found, totals = wrong[true, taken], counts.sum(axis=1)[true]
    order = np.lexsort((totals, -found))[:most]
    return [(int(true[place]), int(taken[place])) for place in order]
