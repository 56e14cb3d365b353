"""Cross-validation: what networks predicted for the pictures of the fold that each was not trained on, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from xfer.comparison.macro import macro_figures
from xfer.comparison.predicted import Predicted, pooled
from xfer.comparison.whole import predicted_by
from xfer.errors import CheckpointError
from xfer.plots import files as plots
from xfer.plots.confused import MOST_COUNTED
from xfer.results.page import picture, write_page
from xfer.results.predictions import Predictions
from xfer.results.predictions import save as save_predictions
from xfer.results.run import Run
from xfer.results.scores import class_rows, interval, scores_table
from xfer.scores.record import Scores
from xfer.scores.score import score
from xfer.system.files import write_json

SUMMARY = "summary.json"
FILES = (SUMMARY, "predictions.csv", "plots/confusion_matrix.png", "report.html")
NOTES = (
    "Every picture was predicted once, by the network that was not trained on its fold. Intervals: bootstrap over "
    "these pictures, with the networks as they are. They do not cover what other training pictures would have made of "
    "the networks, which share most of theirs: no unbiased estimate of that variance exists (Bengio and Grandvalet "
    "2004), and the spread over folds is none.",
    "Of each fold it is the best epoch, chosen on the same pictures, which flatters it; the last epoch is not chosen.",
)


@dataclass(frozen=True)
class FoldResult:
    """The run of a fold. Accuracies are shares of its `n_val` pictures; `folder` is relative to that of all folds."""

    number: int
    folder: str
    n_train: int
    n_val: int
    accuracy: float
    macro_f1: float
    loss: float
    best_epoch: int
    last_accuracy: float
    seconds: float


@dataclass(frozen=True)
class CrossValidation:
    """All folds of a recipe, in `path`.

    metrics  of the out-of-fold predictions of all pictures, with intervals; see NOTES for what these cover
    mean, sd of `accuracy`, `macro_f1` and `last_accuracy` over the folds; sd is the sample's
    """

    path: Path
    classes: tuple[str, ...]
    metrics: Scores
    mean: dict[str, float]
    sd: dict[str, float]
    folds: tuple[FoldResult, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "metrics": self.metrics.as_json(),
            "mean": self.mean,
            "sd": self.sd,
            "folds": [asdict(fold) for fold in self.folds],
        }


def summarise(runs: Sequence[Run], path: Path) -> tuple[CrossValidation, Predicted]:
    """The results of the runs of all folds, in order, and the predictions of all pictures.

    Raises CheckpointError where the files of one contradict each other, or a picture is in two folds.
    """
    parts = [predicted_by(run) for run in runs]
    together = pooled(parts)
    folds = tuple(_fold(number, run, part) for number, (run, part) in enumerate(zip(runs, parts, strict=True), start=1))
    figures = {key: [getattr(fold, key) for fold in folds] for key in ("accuracy", "macro_f1", "last_accuracy")}
    result = CrossValidation(
        path,
        together.classes,
        score(together.labels, together.probabilities, together.classes),
        {key: float(np.mean(values)) for key, values in figures.items()},
        {key: float(np.std(values, ddof=1)) for key, values in figures.items()},
        folds,
    )
    return result, together


def _fold(number: int, run: Run, predicted: Predicted) -> FoldResult:
    r = run.result
    return FoldResult(
        number,
        run.path.name,
        r["n_train"],
        r["n_val"],
        r["val_accuracy"],
        macro_figures(predicted)["macro_f1"],
        r["val_loss"],
        r["best_epoch"],
        run.history[-1]["val_accuracy"],
        r["seconds_total"],
    )


def save(result: CrossValidation, predicted: Predicted) -> None:
    """Write `summary.json`, `predictions.csv` of all pictures, and the report. Raises CheckpointError."""
    folder = result.path
    matrix = folder / "plots" / "confusion_matrix.png"
    try:
        shown = Predictions(predicted.files, predicted.classes, predicted.probabilities.astype(np.float32))
        save_predictions(folder / "predictions.csv", shown, predicted.labels)
        if len(result.classes) <= MOST_COUNTED:
            with plots.attempt(matrix):
                plots.plot_confusion_matrix(matrix, predicted.labels, predicted.predictions, result.classes)
        sections = [
            f'<p class="headline"><strong>{result.metrics.accuracy.value:.1%}</strong> {escape(headline(result))}</p>',
            *(f"<p>{escape(note)}</p>" for note in NOTES),
            _table("Folds", *fold_table(result)),
            scores_table(result.metrics),
            _table("Classes", CLASS_HEAD, [list(map(str, row)) for row in class_rows(result.metrics, result.classes)]),
            picture(matrix, "Each row is a true class, each column what it was taken for"),
        ]
        title = f"{len(result.folds)}-fold cross-validation"
        write_page(folder / "report.html", title, f"{result.metrics.n} pictures", sections)
        write_json(folder / SUMMARY, result.as_json())
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error


CLASS_HEAD = ("class", "precision", "recall", "F1", "pictures")


def headline(result: CrossValidation) -> str:
    """Accuracy and macro-F1 of all pictures with intervals, and their spread over folds, in a line."""
    m, mean, sd = result.metrics, result.mean["accuracy"], result.sd["accuracy"]
    macro = f" ({ends})" if (ends := interval(m.macro_f1)) else ""
    return (
        f"of {m.n} pictures right, each by the network without its fold ({interval(m.accuracy)}); "
        f"macro-F1 {_percent(m.macro_f1.value)}{macro}; "
        f"accuracy over {len(result.folds)} folds {_percent(mean)}, standard deviation {_percent(sd)}"
    )


def fold_table(result: CrossValidation) -> tuple[tuple[str, ...], list[list[str]]]:
    """The heads of the columns, and the cells of each line: the folds, then mean and standard deviation over them."""
    shares = ("accuracy", "macro_f1", "last_accuracy")
    lines = [
        [str(f.number), str(f.n_val), *(_percent(getattr(f, key)) for key in shares), str(f.best_epoch)]
        for f in result.folds
    ]
    lines += [["mean", "", *(_percent(result.mean[key]) for key in shares), ""]]
    lines += [["sd", "", *(_percent(result.sd[key]) for key in shares), ""]]
    return ("fold", "pictures", "accuracy", "macro-F1", "last epoch", "best epoch"), lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section><h2>{title}</h2><div class="wide">{table}</div></section>'
