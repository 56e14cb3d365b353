"""Figures in which every class counts the same, however many pictures it has, of one run and between two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfer.arrays import Float64, Int64
from xfer.comparison.predicted import Predicted
from xfer.scores.counts import balanced_accuracy, compact, counted, macro_f1
from xfer.scores.interval import Interval, percentiles, resamples

_FIGURES = {"macro_f1": macro_f1, "balanced_accuracy": balanced_accuracy}


@dataclass(frozen=True)
class Difference:
    """A figure of one run minus that of another, with its 95 % interval; None where no picture tells them apart."""

    value: float
    interval: Interval | None


def macro_figures(predicted: Predicted) -> dict[str, float]:
    """`macro_f1` and `balanced_accuracy`, as of `xfer.scores`."""
    classes, (labels, guesses) = compact(predicted.labels, predicted.predictions)
    figures = _figures(np.ones((1, len(labels))), labels, guesses, classes)
    return {name: float(values[0]) for name, values in figures.items()}


def macro_differences(first: Predicted, second: Predicted, seed: int) -> dict[str, Difference]:
    """The second minus the first by name, on the same pictures: each resample draws the same ones for both."""
    classes, (labels, before, after) = compact(first.labels, first.predictions, second.predictions)

    def differences(weights: Float64) -> dict[str, Float64]:
        pair = [_figures(weights, labels, predictions, classes) for predictions in (before, after)]
        return {name: pair[1][name] - pair[0][name] for name in _FIGURES}

    drawn = [differences(weights) for weights in resamples(len(labels), classes, seed)]
    values = differences(np.ones((1, len(labels))))
    return {
        name: Difference(float(values[name][0]), percentiles(np.concatenate([part[name] for part in drawn])))
        for name in _FIGURES
    }


def _figures(weights: Float64, labels: Int64, predictions: Int64, classes: int) -> dict[str, Float64]:
    c = counted(weights, labels, predictions, classes)
    return {name: figure(c) for name, figure in _FIGURES.items()}
