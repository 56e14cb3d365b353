"""The figures of a checkpoint on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from xfer.cli.console import say, table
from xfer.results.scores import class_rows, label_rows, rows
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Scores

MOST_CLASSES, MOST_PAIRS = 30, 5  # that are shown; --json and --output have them all


def show(scores: Scores, classes: Sequence[str]) -> None:
    """Figures with their intervals, each class, and which are confused most."""
    table(_figures(scores))
    if len(classes) <= MOST_CLASSES:
        each = Table(title="Classes", title_justify="left")
        for column in ("class", "precision", "recall", "F1", "pictures"):
            each.add_column(column, justify="left" if column == "class" else "right", overflow="fold")
        for name, *shares, pictures in class_rows(scores, classes):
            each.add_row(name, *shares, str(pictures))
        table(each)
    for pair in scores.confused[:MOST_PAIRS]:
        say(f"{pair.label} was taken for {pair.predicted}: {pair.pictures}")


def show_labels(scores: LabelScores, classes: Sequence[str], thresholds: Sequence[float]) -> None:
    """The same of pictures with any number of labels, with the threshold of each."""
    table(_figures(scores))
    if len(classes) <= MOST_CLASSES:
        each = Table(title="Labels", title_justify="left")
        for column in ("label", "average precision", "precision", "recall", "F1", "pictures", "threshold"):
            each.add_column(column, justify="left" if column == "label" else "right", overflow="fold")
        for (name, *shares, pictures), threshold in zip(label_rows(scores, classes), thresholds, strict=True):
            each.add_row(name, *shares, str(pictures), f"{threshold:.3g}")
        table(each)


def _figures(scores: Scores | LabelScores) -> Table:
    figures = Table(title=f"{scores.n} pictures, {scores.resamples} resamples", title_justify="left")
    for column in ("figure", "value", "95 %"):
        figures.add_column(column, justify="right" if column == "value" else "left", overflow="fold")
    for row in rows(scores):
        figures.add_row(*row)
    return figures
