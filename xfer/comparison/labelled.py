"""Figures of runs whose pictures have any number of labels, of one run and between two; as `macro` of classes."""

from __future__ import annotations

import numpy as np

from xfer.arrays import Float64
from xfer.comparison.macro import Difference
from xfer.comparison.predicted import Predicted
from xfer.scores.counts import macro_f1
from xfer.scores.interval import percentiles, resamples
from xfer.scores.labels import MOST_RANKED, counted, mean_precision

RANKED = "mean_average_precision"


def label_figures(predicted: Predicted) -> dict[str, float]:
    """`macro_f1` and `mean_average_precision`, as of `xfer.scores`."""
    figures = _figures(predicted, np.ones((1, len(predicted.names))), ranked=True)
    return {name: float(values[0]) for name, values in figures.items()}


def label_differences(first: Predicted, second: Predicted, seed: int) -> dict[str, Difference]:
    """The second minus the first by name, on the same pictures: each resample draws the same ones for both."""
    n, ranked = len(first.names), first.labels.size <= MOST_RANKED

    def differences(weights: Float64, ranked: bool) -> dict[str, Float64]:
        before, after = (_figures(run, weights, ranked) for run in (first, second))
        return {name: after[name] - before[name] for name in after}

    drawn = [differences(weights, ranked) for weights in resamples(n, len(first.classes), seed)]
    return {
        name: Difference(
            float(values[0]), percentiles(np.concatenate([part[name] for part in drawn])) if name in drawn[0] else None
        )
        for name, values in differences(np.ones((1, n)), True).items()
    }


def _figures(run: Predicted, weights: Float64, ranked: bool) -> dict[str, Float64]:
    figures = {"macro_f1": macro_f1(counted(weights, run.labels, run.predictions))}
    if ranked:
        figures[RANKED] = mean_precision(weights, run.labels, run.probabilities)
    return figures
