"""An evaluation as it is told: with the labels of each picture decided, and the figures of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xfer.arrays import Int64
from xfer.metrics import Evaluation
from xfer.multilabel import several
from xfer.scores.labels import score_labels
from xfer.scores.score import score
from xfer.scores.thresholds import cross_fitted, fitted, taken


@dataclass(frozen=True)
class Judged:
    """`record`: figures as a result has them. `decided` (n, C) of 0 and 1: the labels that pictures are said to have.

    Of classes: None, a picture has the most probable one.
    """

    record: Mapping[str, Any]
    decided: Int64 | None = None


def thresholds_of(result: Evaluation) -> tuple[float, ...] | None:
    """Those that are best for all pictures of an evaluation, of any number of labels each; None of classes."""
    return fitted(result.labels, result.probabilities) if several(result.labels) else None


def judge_with(result: Evaluation, classes: Sequence[str], thresholds: tuple[float, ...]) -> Judged:
    """Of other pictures than those that these thresholds were chosen with."""
    decided = taken(result.probabilities, thresholds)
    scores = score_labels(result.labels, result.probabilities, decided, classes)
    return Judged({"label_metrics": scores.as_json(), "thresholds": list(thresholds)}, decided)


def judge(result: Evaluation, classes: Sequence[str]) -> Judged:
    """Of the pictures that thresholds are chosen with: each is judged by those that were chosen without it."""
    if not several(result.labels):
        return Judged({"metrics": score(result.labels, result.probabilities, classes).as_json()})
    decided = cross_fitted(result.labels, result.probabilities)
    scores = score_labels(result.labels, result.probabilities, decided, classes)
    return Judged({"label_metrics": scores.as_json(), "thresholds": list(thresholds_of(result) or ())}, decided)
