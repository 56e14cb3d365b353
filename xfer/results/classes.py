"""How well each class was told from the others, out of a run's `predictions.csv`, as a table of its report."""

from __future__ import annotations

import csv
from collections import Counter
from html import escape
from pathlib import Path
from typing import NamedTuple

_NONE = "–"
_MOST_OPEN = 30  # classes; a longer table is folded away


class ClassScore(NamedTuple):
    """Of one class: how many pictures are of it, how many were taken for it, and how many were both."""

    name: str
    pictures: int
    predicted: int
    right: int

    @property
    def precision(self) -> float | None:
        """The share of the pictures taken for the class that are of it, in [0, 1]; None where none was."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """The share of the class's pictures that were taken for it, in [0, 1]; None where it has none."""
        return self.right / self.pictures if self.pictures else None


def class_scores(path: Path) -> list[ClassScore]:
    """The scores in the order of the file's columns, which is that of the classes; empty where there is no file."""
    if not path.exists():
        return []
    pictures: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    right: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        rows = csv.DictReader(lines)
        names = [column.removeprefix("p_") for column in rows.fieldnames or () if column.startswith("p_")]
        for row in rows:
            label, guess = row.get("label") or "", row.get("predicted") or ""
            pictures[label] += 1
            predicted[guess] += 1
            right[label] += label == guess
    return [ClassScore(name, pictures[name], predicted[name], right[name]) for name in names]


def class_table(path: Path) -> str:
    """The scores of `predictions.csv` as HTML; empty where there is no such file."""
    scores = class_scores(path)
    if not scores:
        return ""
    head = "".join(f"<th>{word}</th>" for word in ("class", "precision", "recall", "pictures", "right"))
    body = "".join(
        f"<tr><th>{escape(score.name)}</th><td>{_share(score.precision)}</td><td>{_share(score.recall)}</td>"
        f"<td>{score.pictures}</td><td>{score.right}</td></tr>"
        for score in scores
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    wide = f'<div class="wide">{table}</div>'
    if len(scores) > _MOST_OPEN:
        return f"<details><summary>Validation by class ({len(scores)})</summary>{wide}</details>"
    return f"<section><h2>Validation by class</h2>{wide}</section>"


def _share(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"
