"""All figures of pictures with any number of labels, with bootstrap intervals over the pictures.

Labels and predictions are (n, C) of 0 and 1. `weights` (rows, n) as in `counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xfer.arrays import Float64, Int64
from xfer.multilabel import average_precisions
from xfer.scores.counts import Counts, f1, macro_f1, precision, ratio, recall
from xfer.scores.interval import percentiles, resamples
from xfer.scores.label_record import ByLabel, LabelScores
from xfer.scores.probabilities import Chances
from xfer.scores.record import Figure, Undefined
from xfer.scores.score import as_figure, missing

MOST_RANKED = 100_000  # pictures x labels that are ranked for each resample: four seconds
RANKED = "mean_average_precision"
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def micro_f1(c: Counts) -> Float64:
    """F1 of all labels of all pictures in one heap; NaN where there is none, and none was taken for one."""
    return ratio(2 * c.right.sum(axis=1), c.pictures.sum(axis=1) + c.predicted.sum(axis=1))


FIGURES: Mapping[str, Callable[[Counts], Float64]] = {"micro_f1": micro_f1, "macro_f1": macro_f1}
_REASONS = {
    "micro_f1": "no picture has a label, and none is said to have one",
    **dict.fromkeys(("macro_f1", RANKED), "no picture has a label"),
}


def counted(weights: Float64, labels: Int64, predictions: Int64) -> Counts:
    """How often a label was there, was said to be, and both; (rows, C) each."""
    kinds = labels, predictions, labels * predictions
    pictures, predicted, right = (weights @ kind.astype(np.float64) for kind in kinds)
    return Counts(pictures, predicted, right)


def mean_precision(weights: Float64, labels: Int64, probabilities: Chances) -> Float64:
    """(rows,): the mean over the labels that have a picture of their average precisions."""
    each = average_precisions(weights, labels, probabilities)
    there = ~np.isnan(each)
    return ratio(np.where(there, each, 0).sum(axis=1), there.sum(axis=1).astype(np.float64))


def log_losses(labels: Int64, probabilities: Chances) -> Float64:
    """(n,): binary cross-entropy of each picture in nats, the mean over its labels; at most 103.3."""
    p = probabilities.astype(np.float64)
    own = np.where(labels == 1, p, 1 - p)
    losses: Float64 = -np.log(np.maximum(own, _SMALLEST)).mean(axis=1)
    return losses


@dataclass(frozen=True)
class _Judged:
    labels: Int64
    probabilities: Chances
    predictions: Int64
    means: Mapping[str, Float64]  # what each picture has, (n,), of figures that are means over pictures

    def figures(self, weights: Float64, ranked: bool) -> dict[str, Float64]:
        c = counted(weights, self.labels, self.predictions)
        n = weights.sum(axis=1)
        values = {name: figure(c) for name, figure in FIGURES.items()}
        values |= {name: weights @ each / n for name, each in self.means.items()}
        if ranked:
            values[RANKED] = mean_precision(weights, self.labels, self.probabilities)
        return values


def score_labels(
    labels: Int64, probabilities: Chances, predictions: Int64, classes: Sequence[str], *, seed: int = 0
) -> LabelScores:
    """The figures of probabilities (n, C), each in [0, 1], and of what was said by them.

    The order of the pictures has no part in any figure.
    """
    judged, once = _judged(labels, probabilities, predictions), np.ones((1, len(labels)))
    ranked = labels.size <= MOST_RANKED
    parts = [judged.figures(weights, ranked) for weights in resamples(len(labels), len(classes), seed)]
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    own = judged.figures(once, ranked=True)
    names = [name for name, field in LabelScores.model_fields.items() if field.annotation is Figure]
    figures = {name: as_figure(name, own[name], percentiles(drawn[name]) if name in drawn else None) for name in names}
    reasons = dict(_REASONS)
    if not ranked:
        reasons[f"{RANKED}.interval"] = f"{MOST_RANKED:,} pictures x labels at most are ranked for resamples"
    return LabelScores(
        n=len(labels),
        **figures,
        resamples=len(drawn["micro_f1"]),
        by_label=_by_label(judged, once),
        undefined=[Undefined(figure=name, why=why) for name, why in missing(figures, reasons)],
    )


def _judged(labels: Int64, probabilities: Chances, predictions: Int64) -> _Judged:
    """In an order that is the same however the pictures come, so that the same ones are drawn."""
    order = np.lexsort((*probabilities.T, *labels.T))
    labels, probabilities, predictions = labels[order], probabilities[order], predictions[order]
    wrong = labels != predictions
    means = {
        "exact_match": (~wrong.any(axis=1)).astype(np.float64),
        "hamming_loss": wrong.mean(axis=1),
        "log_loss": log_losses(labels, probabilities),
    }
    return _Judged(labels, probabilities, predictions, means)


def _by_label(judged: _Judged, once: Float64) -> ByLabel:
    c = counted(once, judged.labels, judged.predictions)
    each = average_precisions(once, judged.labels, judged.probabilities)
    shares = {"precision": precision(c), "recall": recall(c), "f1": f1(c), "average_precision": each}
    lists = {name: [None if np.isnan(v) else min(float(v), 1.0) for v in values[0]] for name, values in shares.items()}
    pictures, predicted = (counts[0].astype(np.int64).tolist() for counts in (c.pictures, c.predicted))
    return ByLabel(support=pictures, predicted=predicted, **lists)
