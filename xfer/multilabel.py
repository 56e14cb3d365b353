"""Pictures with any number of labels, also none: labels (n, C) of 0 and 1, where others have (n,), a class for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32, Float64, Int64

EVEN = 0.5
"""The threshold of a label that nothing better is known for."""

NO_LABEL = "no label"

SEPARATOR, SEPARATORS = "|", "|;"
"""Between the labels of a picture, where they are written as one text; and what is read as one."""


def several(labels: Int64) -> bool:
    """Whether these are of pictures with any number of labels."""
    return labels.ndim == 2


def class_counts(labels: Int64, classes: int) -> Int64:
    """(C,): how many pictures have each class, whether each has one or any number."""
    counts: Int64 = labels.sum(axis=0) if several(labels) else np.bincount(labels, minlength=classes)
    return counts


def members(labels: Int64, label: int) -> NDArray[np.bool_]:
    """(n,): whether each picture has this class."""
    having: NDArray[np.bool_] = labels[:, label] == 1 if several(labels) else labels == label
    return having


def placed(labels: Int64, places: Sequence[int] | Int64, classes: int) -> Int64:
    """Labels that count `classes`, of those that count the classes at these `places` of them."""
    at = np.asarray(places, np.int64)
    if not several(labels):
        counted: Int64 = at[labels] if len(labels) else labels
        return counted
    wide = np.zeros((len(labels), classes), np.int64)
    wide[:, at] = labels
    return wide


def differ(a: Int64, b: Int64) -> NDArray[np.bool_]:
    """(n,): whether two have other labels for a picture, be it one label or any number."""
    other: NDArray[np.bool_] = (a != b).any(axis=1) if several(a) else a != b
    return other


def names_of(row: NDArray[Any], classes: Sequence[str]) -> tuple[str, ...]:
    """The classes whose place in a row (C,) is not 0."""
    return tuple(classes[i] for i in np.flatnonzero(row))


def written(row: NDArray[Any], classes: Sequence[str]) -> str:
    """The same as one text; that of no label is empty."""
    return SEPARATOR.join(names_of(row, classes))


def as_words(every: Sequence[Int64], classes: Sequence[str]) -> tuple[list[Int64], Sequence[str]]:
    """Labels for pages of pictures: of any number a picture, all of its own as one name, and the names that occur."""
    if not several(every[0]):
        return list(every), classes
    texts = [[", ".join(names_of(row, classes)) or NO_LABEL for row in labels] for labels in every]
    words = sorted({text for part in texts for text in part})
    return [np.array([words.index(text) for text in part], np.int64) for part in texts], words


def occurring(labels: Int64) -> set[int]:
    """The classes that some picture has."""
    return set((np.flatnonzero(labels.any(axis=0)) if several(labels) else labels).tolist())


def in_words(*splits: Int64) -> str:
    """How many labels the pictures of splits have."""
    counts = np.concatenate([labels.sum(axis=1) for labels in splits])
    none = int((counts == 0).sum())
    return f"{counts.mean():.2f} labels a picture, {int(counts.max())} at most; {none:,} of {len(counts):,} have none"


def sigmoid(logits: Float32) -> Float32:
    """In float64 and without overflow; NaN stays."""
    z = logits.astype(np.float64)
    small = np.exp(-np.abs(z))
    shares: Float64 = np.where(z >= 0, 1, small) / (1 + small)
    return shares.astype(np.float32)


def logistic_losses(logits: Float32, targets: NDArray[Any]) -> Float64:
    """(n, C): binary cross-entropy of logits (n, C), in float64, for targets in [0, 1]: log(1 + exp(z)) - t z."""
    z = logits.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        losses: Float64 = np.logaddexp(0, z) - targets * z
    return losses


def average_precisions(weights: Float64, labels: Int64, scores: NDArray[np.floating[Any]]) -> Float64:
    """(rows, C): of each label, the sum over its ranking of (recall gained) * (precision there); NaN without a picture.

    Not interpolated; pictures of equal score enter the ranking together (as scikit-learn's average_precision_score).

    weights  (rows, n): how often each of n pictures counts
    labels   (n, C) of 0 and 1, `scores` (n, C): more is likelier
    """
    found = np.full((len(weights), labels.shape[1]), np.nan)
    for label in np.flatnonzero(labels.any(axis=0)):
        order = np.argsort(-scores[:, label], kind="stable")
        ends = np.flatnonzero(np.diff(scores[order, label], append=np.nan))  # NaN differs from every one
        drawn = weights[:, order]
        above, right = (np.cumsum(each, axis=1)[:, ends] for each in (drawn, drawn * labels[order, label]))
        shares = np.divide(right, above, out=np.zeros_like(right), where=above > 0)
        area, positives = (np.diff(right, axis=1, prepend=0) * shares).sum(axis=1), right[:, -1]
        np.divide(area, positives, out=found[:, label], where=positives > 0)
    return found


def mean_average_precision(labels: Int64, scores: NDArray[np.floating[Any]]) -> float:
    """Over the labels that a picture has, in [0, 1]; NaN where there is none."""
    each = average_precisions(np.ones((1, len(labels))), labels, scores)[0]
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else float("nan")
