"""An evaluation with all of its figures, and what it leaves in a folder: these as JSON, and a row for each picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xfer.arrays import Int64
from xfer.data.split import Split
from xfer.errors import CheckpointError
from xfer.metrics import Evaluation, LabelEvaluation
from xfer.multilabel import written
from xfer.scores.label_record import LabelScores
from xfer.scores.labels import score_labels
from xfer.scores.probabilities import margins, ranks
from xfer.scores.record import Scores
from xfer.scores.score import score
from xfer.scores.thresholds import cross_fitted, taken
from xfer.system.files import write_json, write_text
from xfer.system.outputs import read_record, refuse_foreign
from xfer.system.tables import csv_text

RECORD, PICTURES = "metrics.json", "pictures.csv"


@dataclass(frozen=True)
class Evaluated(Evaluation):
    """`classes`: what the labels count, and the columns of the logits are of."""

    classes: tuple[str, ...]

    @cached_property
    def metrics(self) -> Scores:
        """F1, ROC-AUC, calibration and more, with intervals, as `xfer evaluate` has them: `metrics.macro_f1.value`.

        They are made when they are first asked for.
        """
        return score(self.labels, self.probabilities, self.classes)


@dataclass(frozen=True)
class EvaluatedLabels(LabelEvaluation):
    """The same of any number of labels, by `thresholds`; None: each picture by those that are chosen without it."""

    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None

    @cached_property
    def decided(self) -> Int64:
        """(n, C) of 0 and 1: the labels that each picture is said to have."""
        if self.thresholds is None:
            return cross_fitted(self.labels, self.probabilities)
        return taken(self.probabilities, self.thresholds)

    @cached_property
    def metrics(self) -> LabelScores:
        """Average precision, F1 and more, with intervals: `metrics.micro_f1.value`. Made when they are asked for."""
        return score_labels(self.labels, self.probabilities, self.decided, self.classes)


def evaluated(
    result: Evaluation, classes: tuple[str, ...], thresholds: tuple[float, ...] | None
) -> Evaluated | EvaluatedLabels:
    """An evaluation with its figures; `thresholds` as of `EvaluatedLabels`."""
    own = (result.logits, result.labels, result.loss, result.accuracy)
    if isinstance(result, LabelEvaluation):
        return EvaluatedLabels(*own, result.mean_average_precision, classes, thresholds)
    return Evaluated(*own, classes)


def refuse_others(folder: Path, overwrite: bool) -> None:
    """Raises CheckpointError for a folder that holds what is of no evaluation, see `refuse_foreign`."""
    known = read_record(folder / RECORD).keys()
    own = {"backend", "n", "right", "left_out"} <= known and bool(known & {"metrics", "label_metrics"})
    refuse_foreign(folder, "evaluation", (RECORD, PICTURES), own, overwrite)


def save(
    folder: Path,
    record: Mapping[str, Any],
    split: Split,
    result: Evaluation,
    classes: Sequence[str],
    decided: Int64 | None = None,
) -> list[Path]:
    """Write `metrics.json` and `pictures.csv`; gives the files. Raises CheckpointError where that cannot be done.

    `decided`: as of `xfer.results.judged.Judged`; the columns are then file, labels, predicted, loss, and p_<class>.

    Columns of a picture: file, label, predicted, probability (of what was predicted), loss (cross-entropy), rank (of
    the true class, from 1), margin (the true class's probability minus the largest other), and p_<class> for each.
    """
    if decided is not None:
        return _write(folder, record, *_of_labels(split, result, classes, decided))
    columns = ["file", "label", "predicted", "probability", "loss", "rank", "margin", *(f"p_{c}" for c in classes)]
    chances = result.probabilities
    figures = zip(
        result.predictions.tolist(),
        chances.max(axis=1).tolist(),
        result.losses.tolist(),
        ranks(result.labels, chances).tolist(),
        margins(result.labels, chances).tolist(),
        strict=True,
    )
    rows = (
        [str(file), classes[label], classes[predicted], *rest, *row.tolist()]
        for file, label, (predicted, *rest), row in zip(split.files, result.labels, figures, chances, strict=True)
    )
    return _write(folder, record, columns, rows)


def _of_labels(
    split: Split, result: Evaluation, classes: Sequence[str], decided: Int64
) -> tuple[list[str], Iterator[list[Any]]]:
    """Columns and rows of pictures with any number of labels."""
    chances = result.probabilities
    each = zip(split.files, result.labels, decided, result.losses.tolist(), chances, strict=True)
    rows = (
        [str(file), written(labels, classes), written(own, classes), loss, *row.tolist()]
        for file, labels, own, loss, row in each
    )
    return ["file", "labels", "predicted", "loss", *(f"p_{c}" for c in classes)], rows


def _write(
    folder: Path, record: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / PICTURES, csv_text(columns, rows))
        write_json(folder / RECORD, record)
        return [folder / RECORD, folder / PICTURES]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
