"""Figures of class probabilities (n, C), for labels (n,) that count the classes; `weights` as in `counts`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float64, Int64
from xfer.scores.counts import ratio

Chances = NDArray[np.floating[Any]]
"""(n, C), each row's sum 1. In float32 as a network gives them: what is summed of them is float64."""

BINS = 15
"""Of the confidence, of equal width, as Guo et al. 2017 have them."""

_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def log_losses(labels: Int64, probabilities: Chances) -> Float64:
    """Of each picture, in nats: at most 103.3, where a probability in float32 is 0."""
    losses: Float64 = -np.log(np.maximum(_of_label(labels, probabilities), _SMALLEST))
    return losses


def squared_errors(labels: Int64, probabilities: Chances) -> Float64:
    """Of each picture, summed over the classes, in [0, 2]: their mean is the score of Brier 1950."""
    squares = np.einsum("ij,ij->i", probabilities, probabilities, dtype=np.float64)
    errors: Float64 = squares - 2 * _of_label(labels, probabilities) + 1
    return errors


def ranks(labels: Int64, probabilities: Chances) -> Int64:
    """The place of the true class among the classes of each picture, from 1; of equals, the earlier class is first.

    So 1 is what `argmax` gives.
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    places: Int64 = 1 + ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    return places


def margins(labels: Int64, probabilities: Chances) -> Float64:
    """The probability of the true class minus the largest of the others, in [-1, 1]: above 0 where it is right."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = 0
    distances: Float64 = _of_label(labels, probabilities) - others.max(axis=1)
    return distances


def calibration_error(labels: Int64, probabilities: Chances, bins: int = BINS) -> float:
    """The expected calibration error of the predicted class (Guo et al. 2017, equation 3), in [0, 1].

    Bins are (i / bins, (i + 1) / bins]. It is biased upwards, the more so the fewer pictures a bin has.
    """
    confidence, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(places, confidence - right, bins)
    return float(np.abs(gaps).sum() / len(labels))


def ranking(weights: Float64, labels: Int64, probabilities: Chances) -> tuple[Float64, Float64]:
    """The area under the ROC curve and the average precision, each (rows,): means over classes, one against the rest.

    Over the classes that have pictures, and others beside them. Pictures of equal probability count half in the area
    (Hanley and McNeil 1982); average precision is a sum of steps and is not interpolated.
    """
    totals, kinds = weights.sum(axis=1), np.unique(labels)
    areas, precisions, there = np.zeros((3, len(weights)))
    for kind in kinds:
        order = np.argsort(-probabilities[:, kind], kind="stable")
        ends = np.flatnonzero(np.diff(probabilities[order, kind], append=np.nan))  # NaN differs from every one
        drawn = weights[:, order]
        above, right = np.cumsum(drawn, axis=1)[:, ends], np.cumsum(drawn * (labels[order] == kind), axis=1)[:, ends]
        wrong, positives = above - right, right[:, -1]
        steps, usable = np.diff(right, axis=1, prepend=0), (positives > 0) & (positives < totals)
        mean = right - steps / 2
        area = (np.diff(wrong, axis=1, prepend=0) * mean).sum(axis=1)
        areas[usable] += (area / np.maximum(positives * (totals - positives), 1))[usable]
        shares = np.divide(right, above, out=np.zeros_like(right), where=above > 0)
        precisions[usable] += ((steps * shares).sum(axis=1) / np.maximum(positives, 1))[usable]
        there[usable] += 1
    return ratio(areas, there), ratio(precisions, there)


def _of_label(labels: Int64, probabilities: Chances) -> Float64:
    own: Float64 = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return own
