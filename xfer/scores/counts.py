"""Figures that follow from how often each class was taken for which.

`weights` (rows, n) say how often each of n pictures counts: once for the figure itself, in one row, or as often as
each resample of a bootstrap has drawn it. Every figure is (rows,), NaN where it is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from xfer.arrays import Float64, Int64


class Counts(NamedTuple):
    """Of each class, (rows, C): pictures that are of it, pictures that were taken for it, and those that are both."""

    pictures: Float64
    predicted: Float64
    right: Float64

    @property
    def n(self) -> Float64:
        """Pictures of all classes, (rows,)."""
        every: Float64 = self.pictures.sum(axis=1)
        return every


def counted(weights: Float64, labels: Int64, predictions: Int64, classes: int) -> Counts:
    """Labels and predictions (n,) count the classes."""
    right = weights * (labels == predictions)
    return Counts(
        summed(weights, labels, classes), summed(weights, predictions, classes), summed(right, labels, classes)
    )


def compact(labels: Int64, *predictions: Int64) -> tuple[int, list[Int64]]:
    """How many classes occur in any of them, and the same ones counting these alone, in the same order.

    Of a hundred thousand classes, a thousand resamples would be mostly zeros.
    """
    kinds, places = np.unique(np.concatenate([labels, *predictions]), return_inverse=True)
    return len(kinds), np.split(places.reshape(-1), 1 + len(predictions))


def summed(values: Float64, groups: Int64, count: int) -> Float64:
    """Sums over each of `count` groups, (rows, count), of values (rows, n) whose groups are (n,)."""
    rows = len(values)
    places = groups + count * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), values.ravel(), rows * count).astype(np.float64).reshape(rows, count)


def ratio(above: Float64, below: Float64) -> Float64:
    """NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)


def precision(c: Counts) -> Float64:
    """(rows, C): of the pictures taken for a class, the share that is of it; NaN where none was."""
    return ratio(c.right, c.predicted)


def recall(c: Counts) -> Float64:
    """(rows, C): of the pictures of a class, the share taken for it; NaN where it has none."""
    return ratio(c.right, c.pictures)


def f1(c: Counts) -> Float64:
    """(rows, C): the harmonic mean of precision and recall (van Rijsbergen 1979); NaN where a class has no picture.

    0 for a class that no picture was taken for, though its precision is not defined.
    """
    return np.where(c.pictures > 0, ratio(2 * c.right, c.pictures + c.predicted), np.nan)


def accuracy(c: Counts) -> Float64:
    return ratio(c.right.sum(axis=1), c.n)


def balanced_accuracy(c: Counts) -> Float64:
    """The mean recall of the classes that have pictures (Brodersen et al. 2010)."""
    return _mean(recall(c))


def macro_f1(c: Counts) -> Float64:
    """The mean F1 of the classes that have pictures."""
    return _mean(f1(c))


def weighted_f1(c: Counts) -> Float64:
    """The mean F1 of the classes, each as often as it has pictures."""
    return ratio(np.nansum(f1(c) * c.pictures, axis=1), c.n)


def kappa(c: Counts) -> Float64:
    """Agreement beyond that of chance (Cohen 1960); NaN where all pictures are of one class and taken for it."""
    chance = (c.pictures * c.predicted).sum(axis=1) / c.n**2
    return ratio(accuracy(c) - chance, 1 - chance)


def mcc(c: Counts) -> Float64:
    """Matthews' correlation for any number of classes (Gorodkin 2004); NaN where one class is all labels or guesses."""
    n2 = c.n**2
    spread = [n2 - (counts**2).sum(axis=1) for counts in (c.predicted, c.pictures)]
    covariance = c.right.sum(axis=1) * c.n - (c.pictures * c.predicted).sum(axis=1)
    return ratio(covariance, np.sqrt(spread[0]) * np.sqrt(spread[1]))


FIGURES: Mapping[str, Callable[[Counts], Float64]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "kappa": kappa,
    "mcc": mcc,
}


def most_confused(labels: Int64, predictions: Int64, classes: int, most: int) -> list[tuple[int, int, int]]:
    """Up to `most` of (true class, what it was taken for, pictures), those of most pictures first.

    Of pairs with as many, those come first that are a larger share of their true class.
    """
    wrong = labels != predictions
    pairs, counts = np.unique(labels[wrong] * classes + predictions[wrong], return_counts=True)
    true, taken = np.divmod(pairs, classes)
    order = np.lexsort((np.bincount(labels, minlength=classes)[true], -counts))[:most]
    return [(int(true[i]), int(taken[i]), int(counts[i])) for i in order]


def _mean(values: Float64) -> Float64:
    """Over those that are not NaN, (rows,)."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0).sum(axis=1), there.sum(axis=1).astype(np.float64))
