"""The figures of a run, and how figures are called and written for people."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from xfer.errors import CheckpointError
from xfer.results.figures import NONE
from xfer.results.predicted import read_predictions
from xfer.results.records import CURE, Result, check_as
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Figure, Scores
from xfer.scores.score import score


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


NAMES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("Accuracy", _share),
    "balanced_accuracy": ("Balanced accuracy", _share),
    "macro_f1": ("Macro-F1", _share),
    "weighted_f1": ("Weighted F1", _share),
    "top_k": ("Top-{top} accuracy", _share),
    "roc_auc": ("ROC-AUC, one against the rest, macro", "{:.4f}".format),
    "average_precision": ("Average precision, macro", "{:.4f}".format),
    "log_loss": ("Log loss", "{:.4f}".format),
    "brier": ("Brier score", "{:.4f}".format),
    "ece": ("Expected calibration error, 15 bins", "{:.4f}".format),
    "kappa": ("Cohen's kappa", "{:.4f}".format),
    "mcc": ("Matthews' correlation", "{:.4f}".format),
    "mean_average_precision": ("Mean average precision", "{:.4f}".format),
    "micro_f1": ("Micro-F1", _share),
    "exact_match": ("Exact match", _share),
    "hamming_loss": ("Hamming loss", "{:.4f}".format),
}


def read_scores(folder: Path, result: Mapping[str, object]) -> Scores | LabelScores:
    """Those of a run with that result; of one of before they were written down, out of its `predictions.csv`.

    Raises CheckpointError.
    """
    whole = check_as(Result, dict(result), f"{folder}/result.json")
    known = whole.metrics if whole.label_metrics is None else whole.label_metrics
    return _of_predictions(folder / "predictions.csv") if known is None else known


def _of_predictions(path: Path) -> Scores:
    try:
        rows = read_predictions(path)
        return score(rows.labels, rows.probabilities.astype(np.float32), rows.classes)
    except (OSError, ValueError, LookupError, csv.Error) as error:
        raise CheckpointError(f"{path}: holds no predictions ({type(error).__name__}: {error}). {CURE}") from error


def rows(scores: Scores | LabelScores) -> list[tuple[str, str, str]]:
    """(name, value, interval or why there is none) of each figure, as text."""
    why = {reason.figure: reason.why for reason in scores.undefined}
    lines = []
    for key, figure in scores.figures():
        name, write = NAMES[key]
        value = NONE if figure.value is None else write(figure.value)
        reason = why.get(key) or why.get(f"{key}.interval", "")
        top = scores.top if isinstance(scores, Scores) else 0
        lines.append((name.format(top=top), value, interval(figure, write) or reason))
    return lines


def interval(figure: Figure, write: Callable[[float], str] = _share) -> str:
    """The ends as text; empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{write(figure.low)} to {write(figure.high)}"


def class_rows(scores: Scores, classes: Sequence[str]) -> list[tuple[str, str, str, str, int]]:
    """(class, precision, recall, F1, pictures) of each class, as text."""
    each = scores.by_class
    shares = [[NONE if v is None else _share(v) for v in values] for values in (each.precision, each.recall, each.f1)]
    return list(zip(classes, *shares, each.support, strict=True))


def label_rows(scores: LabelScores, classes: Sequence[str]) -> list[tuple[str, str, str, str, str, int]]:
    """(label, average precision, precision, recall, F1, pictures) of each label, as text."""
    each = scores.by_label
    lists = (each.average_precision, each.precision, each.recall, each.f1)
    shares = [[NONE if v is None else _share(v) for v in values] for values in lists]
    return list(zip(classes, *shares, each.support, strict=True))


def label_table(scores: LabelScores, classes: Sequence[str]) -> str:
    """As HTML for a report."""
    head = "".join(f"<th>{word}</th>" for word in ("average precision", "precision", "recall", "F1", "pictures"))
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for name, *values in label_rows(scores, classes)
    )
    table = f'<table><thead><tr><th class="name">label</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<section><h2>Validation by label</h2><div class="wide">{table}</div></section>'


def scores_table(scores: Scores | LabelScores | None) -> str:
    """As HTML for a report; empty where there are none."""
    if scores is None:
        return ""
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td><td class='name'>{escape(words)}</td></tr>"
        for name, value, words in rows(scores)
    )
    head = '<th class="name">figure</th><th>value</th><th class="name">95 % interval</th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    note = f"Intervals: bootstrap over the {scores.n} pictures, {scores.resamples} resamples"
    if isinstance(scores, Scores):
        note += "; of the accuracy Wilson's."
    else:
        note += ". No picture is judged by a threshold that was chosen with it."
    return f'<section><h2>Metrics</h2><div class="wide">{table}</div><p>{note}</p></section>'
