"""All figures of a classifier on labelled pictures, with bootstrap intervals over the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xfer.arrays import Float64, Int64
from xfer.scores import counts as of_counts
from xfer.scores.interval import Interval, percentiles, resamples, wilson
from xfer.scores.probabilities import Chances, calibration_error, log_losses, ranking, ranks, squared_errors
from xfer.scores.record import BOUNDS, ByClass, Confused, Figure, Scores, Undefined

TOP = 5
MOST_CONFUSED = 20
MOST_RANKED = 20_000  # pictures x classes that are summed for each resample: half a second
RANKED = ("roc_auc", "average_precision")
_ONE_CLASS = "all pictures are of one class"
_REASONS = {
    "kappa": "all pictures are of one class, and taken for it",
    "mcc": "all pictures are of one class, or taken for one",
    **dict.fromkeys(RANKED, _ONE_CLASS),
}


@dataclass(frozen=True)
class _Judged:
    """Pictures with what was made of them; `means`: what each has, (n,), of figures that are means over pictures.

    `occurring`: how many classes are a label or a prediction, and labels and predictions that count these.
    """

    labels: Int64
    probabilities: Chances
    predictions: Int64
    means: Mapping[str, Float64]
    occurring: tuple[int, list[Int64]]

    def figures(self, weights: Float64, ranked: bool) -> dict[str, Float64]:
        """Name -> values (rows,) for weights (rows, n), see `counts`."""
        classes, (labels, predictions) = self.occurring
        c = of_counts.counted(weights, labels, predictions, classes)
        values = {name: figure(c) for name, figure in of_counts.FIGURES.items()}
        values |= {name: weights @ each / c.n for name, each in self.means.items()}
        if ranked:
            values |= dict(zip(RANKED, ranking(weights, self.labels, self.probabilities), strict=True))
        return values


def score(labels: Int64, probabilities: Chances, classes: Sequence[str], *, top: int = TOP, seed: int = 0) -> Scores:
    """The figures of class probabilities (n, C), for labels (n,) that count the C classes.

    `top` of `top_k`, `seed` of the bootstrap. The order of the pictures has no part in any figure.
    """
    judged, once = _judged(labels, probabilities, top), np.ones((1, len(labels)))
    ranked = judged.probabilities.size <= MOST_RANKED
    parts = [judged.figures(weights, ranked) for weights in resamples(len(labels), judged.occurring[0], seed)]
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    c = of_counts.counted(once, judged.labels, judged.predictions, len(classes))
    own = judged.figures(once, ranked=True)
    intervals = {name: percentiles(values) for name, values in drawn.items()}
    intervals["accuracy"] = wilson(int(c.right.sum()), len(labels))
    own["ece"] = np.array([calibration_error(judged.labels, judged.probabilities)])
    figures = {name: as_figure(name, own.get(name), intervals.get(name)) for name in _names()}
    confused = of_counts.most_confused(judged.labels, judged.predictions, len(classes), MOST_CONFUSED)
    undefined = _REASONS | {"top_k": f"one of {top} is always right where there are {len(classes)} classes"}
    if not ranked:
        why = f"{MOST_RANKED:,} pictures x classes at most are sorted for resamples"
        undefined |= dict.fromkeys((f"{name}.interval" for name in RANKED), why)
    return Scores(
        n=len(labels),
        top=top,
        **figures,
        resamples=len(drawn["accuracy"]),
        by_class=_by_class(c),
        confused=[Confused(label=classes[a], predicted=classes[b], pictures=count) for a, b, count in confused],
        undefined=[Undefined(figure=name, why=why) for name, why in missing(figures, undefined)],
    )


def _judged(labels: Int64, probabilities: Chances, top: int) -> _Judged:
    """In an order that is the same however the pictures come, so that the same ones are drawn."""
    order = np.lexsort((log_losses(labels, probabilities), probabilities.max(axis=1), labels))
    labels, probabilities = labels[order], probabilities[order]
    means = {"log_loss": log_losses(labels, probabilities), "brier": squared_errors(labels, probabilities)}
    if top < probabilities.shape[1]:
        means["top_k"] = (ranks(labels, probabilities) <= top).astype(np.float64)
    predictions = probabilities.argmax(axis=1)
    return _Judged(labels, probabilities, predictions, means, of_counts.compact(labels, predictions))


def _names() -> list[str]:
    return [name for name, field in Scores.model_fields.items() if field.annotation is Figure]


def as_figure(name: str, values: Float64 | None, interval: Interval | None) -> Figure:
    """Inside of its bounds, which a sum may leave by a last bit. `values` (1,), NaN where it is not defined."""
    if values is None or np.isnan(values[0]):
        return Figure(value=None, low=None, high=None)
    low, high = BOUNDS.get(name, (0.0, 1.0))
    value, *ends = (float(min(max(end, low), high)) for end in (values[0], *(interval or ())))
    return Figure(value=value, low=ends[0] if ends else None, high=ends[1] if ends else None)


def _by_class(c: of_counts.Counts) -> ByClass:
    shares = {"precision": of_counts.precision(c), "recall": of_counts.recall(c), "f1": of_counts.f1(c)}
    lists = {name: [None if np.isnan(v) else v for v in values[0].tolist()] for name, values in shares.items()}
    pictures, predicted = (counts[0].astype(np.int64).tolist() for counts in (c.pictures, c.predicted))
    return ByClass(support=pictures, predicted=predicted, **lists)


def missing(figures: Mapping[str, Figure], reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is None among the figures, in their order, and why."""
    known = {"ece.interval": "a bootstrap of it is biased upwards"} | dict(reasons)
    lacking = [(name, figure) for name, figure in figures.items() if figure.low is None]
    names = (name if figure.value is None else f"{name}.interval" for name, figure in lacking)
    return [(name, known.get(name, "the resamples show no spread")) for name in names]
