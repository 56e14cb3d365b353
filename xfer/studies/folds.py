"""Cross-validation: what networks predicted for the pictures of the fold that each was not trained on, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from xfer.comparison.labelled import label_figures
from xfer.comparison.macro import macro_figures
from xfer.comparison.predicted import Predicted, pooled
from xfer.comparison.whole import predicted_by
from xfer.errors import CheckpointError
from xfer.multilabel import several
from xfer.plots import files as plots
from xfer.plots.confused import MOST_COUNTED
from xfer.results.page import picture, write_page
from xfer.results.predictions import Predictions
from xfer.results.predictions import save as save_predictions
from xfer.results.run import Run
from xfer.results.scores import class_rows, interval, label_table, scores_table
from xfer.scores.label_record import LabelScores
from xfer.scores.labels import score_labels
from xfer.scores.record import Scores
from xfer.scores.score import score
from xfer.system.files import write_json

SUMMARY = "summary.json"
MATRIX, LABELS = "plots/confusion_matrix.png", "plots/labels.png"
FILES = (SUMMARY, "predictions.csv", MATRIX, LABELS, "report.html")
NOTES = (
    "Every picture was predicted once, by the network that was not trained on its fold. Intervals: bootstrap over "
    "these pictures, with the networks as they are. They do not cover what other training pictures would have made of "
    "the networks, which share most of theirs: no unbiased estimate of that variance exists (Bengio and Grandvalet "
    "2004), and the spread over folds is none.",
    "Of each fold it is the best epoch, chosen on the same pictures, which flatters it; the last epoch is not chosen.",
)


OF_CLASSES = ("accuracy", "macro_f1", "last_accuracy")
OF_LABELS = ("mean_average_precision", "macro_f1", "last_mean_average_precision")
"""The figures of a fold, of the one task and of the other."""


@dataclass(frozen=True)
class FoldResult:
    """The run of a fold. Accuracies are shares of its `n_val` pictures; `folder` is relative to that of all folds.

    Of any number of labels there are mean average precisions in their place.
    """

    number: int
    folder: str
    n_train: int
    n_val: int
    accuracy: float | None
    macro_f1: float
    loss: float
    best_epoch: int
    last_accuracy: float | None
    seconds: float
    mean_average_precision: float | None = None
    last_mean_average_precision: float | None = None


@dataclass(frozen=True)
class CrossValidation:
    """All folds of a recipe, in `path`.

    metrics  of the out-of-fold predictions of all pictures, with intervals; see NOTES for what these cover
    mean, sd of the figures of OF_CLASSES or OF_LABELS over the folds; sd is the sample's
    """

    path: Path
    classes: tuple[str, ...]
    metrics: Scores | LabelScores
    mean: dict[str, float]
    sd: dict[str, float]
    folds: tuple[FoldResult, ...]

    @property
    def several(self) -> bool:
        """Whether pictures have any number of labels."""
        return isinstance(self.metrics, LabelScores)

    @property
    def figures(self) -> tuple[str, ...]:
        return OF_LABELS if self.several else OF_CLASSES

    def as_json(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "label_metrics" if self.several else "metrics": self.metrics.as_json(),
            "mean": self.mean,
            "sd": self.sd,
            "folds": [{k: v for k, v in asdict(fold).items() if v is not None} for fold in self.folds],
        }


def summarise(runs: Sequence[Run], path: Path) -> tuple[CrossValidation, Predicted]:
    """The results of the runs of all folds, in order, and the predictions of all pictures.

    Raises CheckpointError where the files of one contradict each other, or a picture is in two folds.
    """
    parts = [predicted_by(run) for run in runs]
    together = pooled(parts)
    folds = tuple(_fold(number, run, part) for number, (run, part) in enumerate(zip(runs, parts, strict=True), start=1))
    many = several(together.labels)
    scores: Scores | LabelScores
    if many:
        shares = together.probabilities.astype(np.float32)
        scores = score_labels(together.labels, shares, together.predictions, together.classes)
    else:
        scores = score(together.labels, together.probabilities, together.classes)
    figures = {key: [getattr(fold, key) for fold in folds] for key in (OF_LABELS if many else OF_CLASSES)}
    result = CrossValidation(
        path,
        together.classes,
        scores,
        {key: float(np.mean(values)) for key, values in figures.items()},
        {key: float(np.std(values, ddof=1)) for key, values in figures.items()},
        folds,
    )
    return result, together


def _fold(number: int, run: Run, predicted: Predicted) -> FoldResult:
    r = run.result
    figures = label_figures(predicted) if several(predicted.labels) else macro_figures(predicted)
    return FoldResult(
        number,
        run.path.name,
        r["n_train"],
        r["n_val"],
        r.get("val_accuracy"),
        figures["macro_f1"],
        r["val_loss"],
        r["best_epoch"],
        run.history[-1].get("val_accuracy"),
        r["seconds_total"],
        r.get("val_map"),
        run.history[-1].get("val_map"),
    )


def save(result: CrossValidation, predicted: Predicted) -> None:
    """Write `summary.json`, `predictions.csv` of all pictures, and the report. Raises CheckpointError."""
    folder = result.path
    m, classes = result.metrics, result.classes
    matrix, shares = folder / (LABELS if result.several else MATRIX), predicted.probabilities.astype(np.float32)
    decided = predicted.predictions if result.several else None
    try:
        shown = Predictions(predicted.files, predicted.classes, shares, decided=decided)
        save_predictions(folder / "predictions.csv", shown, predicted.labels)
        if isinstance(m, LabelScores):
            caption, tables = "Average precision and F1 of each label", [label_table(m, classes)]
            with plots.attempt(matrix):
                of = m.by_label
                plots.plot_labels(matrix, classes, of.average_precision, of.f1, of.support)
        else:
            caption = "Each row is a true class, each column what it was taken for"
            tables = [_table("Classes", CLASS_HEAD, [list(map(str, row)) for row in class_rows(m, classes)])]
            if len(classes) <= MOST_COUNTED:
                with plots.attempt(matrix):
                    plots.plot_confusion_matrix(matrix, predicted.labels, predicted.predictions, classes)
        sections = [
            f'<p class="headline"><strong>{first_figure(result)}</strong> {escape(headline(result))}</p>',
            *(f"<p>{escape(note)}</p>" for note in NOTES),
            _table("Folds", *fold_table(result)),
            scores_table(m),
            *tables,
            picture(matrix, caption),
        ]
        title = f"{len(result.folds)}-fold cross-validation"
        write_page(folder / "report.html", title, f"{result.metrics.n} pictures", sections)
        write_json(folder / SUMMARY, result.as_json())
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error


CLASS_HEAD = ("class", "precision", "recall", "F1", "pictures")


def first_figure(result: CrossValidation, digits: int = 1) -> str:
    """The figure that stands before `headline`."""
    m = result.metrics
    if isinstance(m, LabelScores):
        return f"{m.mean_average_precision.value or 0.0:.4f}"
    return f"{m.accuracy.value or 0.0:.{digits}%}"


def headline(result: CrossValidation) -> str:
    """Accuracy and macro-F1 of all pictures with intervals, and their spread over folds, in a line."""
    m, first = result.metrics, result.figures[0]
    mean, sd = result.mean[first], result.sd[first]
    macro = f" ({ends})" if (ends := interval(m.macro_f1)) else ""
    if isinstance(m, LabelScores):
        ends = interval(m.mean_average_precision, "{:.4f}".format)
        return (
            f"mean average precision of {m.n} pictures, each by the network without its fold ({ends}); "
            f"macro-F1 {_percent(m.macro_f1.value)}{macro}; "
            f"over {len(result.folds)} folds {mean:.4f}, standard deviation {sd:.4f}"
        )
    return (
        f"of {m.n} pictures right, each by the network without its fold ({interval(m.accuracy)}); "
        f"macro-F1 {_percent(m.macro_f1.value)}{macro}; "
        f"accuracy over {len(result.folds)} folds {_percent(mean)}, standard deviation {_percent(sd)}"
    )


def fold_table(result: CrossValidation) -> tuple[tuple[str, ...], list[list[str]]]:
    """The heads of the columns, and the cells of each line: the folds, then mean and standard deviation over them."""
    shares = result.figures
    lines = [
        [str(f.number), str(f.n_val), *(_percent(getattr(f, key)) for key in shares), str(f.best_epoch)]
        for f in result.folds
    ]
    lines += [["mean", "", *(_percent(result.mean[key]) for key in shares), ""]]
    lines += [["sd", "", *(_percent(result.sd[key]) for key in shares), ""]]
    first = "mAP" if result.several else "accuracy"
    return ("fold", "pictures", first, "macro-F1", "last epoch", "best epoch"), lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section><h2>{title}</h2><div class="wide">{table}</div></section>'
