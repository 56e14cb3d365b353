"""Figures in which every class counts the same, however many pictures it has, of one run and between two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfer.arrays import Float64
from xfer.comparison.predicted import Predicted
from xfer.scores.counts import balanced_accuracy, counted, macro_f1
from xfer.scores.interval import Interval, percentiles, resamples

_FIGURES = {"macro_f1": macro_f1, "balanced_accuracy": balanced_accuracy}


@dataclass(frozen=True)
class Difference:
    """A figure of one run minus that of another, with its 95 % interval; None where no picture tells them apart."""

    value: float
    interval: Interval | None


def macro_figures(predicted: Predicted) -> dict[str, float]:
    """`macro_f1` and `balanced_accuracy`, as of `xfer.scores`."""
    return {name: float(values[0]) for name, values in _figures(predicted, _once(predicted)).items()}


def macro_differences(first: Predicted, second: Predicted, seed: int) -> dict[str, Difference]:
    """The second minus the first by name, on the same pictures: each resample draws the same ones for both."""
    own, parts = _once(first), resamples(len(first.names), len(first.classes), seed)
    drawn = [_differences(first, second, weights) for weights in parts]
    values = _differences(first, second, own)
    return {
        name: Difference(float(values[name][0]), percentiles(np.concatenate([part[name] for part in drawn])))
        for name in _FIGURES
    }


def _differences(first: Predicted, second: Predicted, weights: Float64) -> dict[str, Float64]:
    before, after = _figures(first, weights), _figures(second, weights)
    return {name: after[name] - before[name] for name in _FIGURES}


def _figures(predicted: Predicted, weights: Float64) -> dict[str, Float64]:
    c = counted(weights, predicted.labels, predicted.predictions, len(predicted.classes))
    return {name: figure(c) for name, figure in _FIGURES.items()}


def _once(predicted: Predicted) -> Float64:
    return np.ones((1, len(predicted.names)))
