"""How well each class was told from the others, out of a run's `predictions.csv`, as tables of its report."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import NamedTuple

from xfer.plots.confused import MOST_COUNTED, confusion_counts, most_confused
from xfer.system.tables import read_csv

_NONE = "–"
_MOST_OPEN = 30  # classes; a longer table is folded away
_FEW = 8  # classes up to which the matrix tells at a glance which are confused
_MOST_PAIRS = 20


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

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall, in [0, 1]; None where the class has no picture."""
        return 2 * self.right / (self.pictures + self.predicted) if self.pictures else None


def class_scores(path: Path) -> list[ClassScore]:
    """The scores in the order of the file's columns, which is that of the classes; empty where there is no file."""
    names, labels, guesses = _read(path)
    pictures, predicted = Counter(labels), Counter(guesses)
    right = Counter(label for label, guess in zip(labels, guesses, strict=True) if label == guess)
    return [ClassScore(name, pictures[name], predicted[name], right[name]) for name in names]


def _read(path: Path) -> tuple[list[str], list[str], list[str]]:
    """The classes in the order of the file's columns, and of each picture its class and the one it was taken for."""
    if not path.exists():
        return [], [], []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        columns, rows = read_csv(lines)
        names = [column.removeprefix("p_") for column in columns if column.startswith("p_")]
        judged = [(row.get("label") or "", row.get("predicted") or "") for row in rows]
    return names, [label for label, _ in judged], [guess for _, guess in judged]


def class_table(path: Path) -> str:
    """The scores of `predictions.csv` as HTML; empty where there is no such file."""
    scores = class_scores(path)
    if not scores:
        return ""
    many = len(scores) > _MOST_OPEN
    if many:
        scores.sort(key=lambda score: 2.0 if score.recall is None else score.recall)
    head = "".join(f"<th>{word}</th>" for word in ("precision", "recall", "F1", "pictures", "right"))
    body = "".join(
        f"<tr><th>{escape(score.name)}</th><td>{_share(score.precision)}</td><td>{_share(score.recall)}</td>"
        f"<td>{_share(score.f1)}</td><td>{score.pictures}</td><td>{score.right}</td></tr>"
        for score in scores
    )
    head = f'<th class="name">class</th>{head}'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    wide = f'<div class="wide">{table}</div>'
    if many:
        return f"<details><summary>Validation by class ({len(scores)}), lowest recall first</summary>{wide}</details>"
    return f"<section><h2>Validation by class</h2>{wide}</section>"


def confused_table(path: Path) -> str:
    """The pairs of classes in `predictions.csv` confused most, as HTML; empty for none, few classes and too many."""
    names, labels, guesses = _read(path)
    if not _FEW < len(names) <= MOST_COUNTED:
        return ""
    places = {name: place for place, name in enumerate(names)}
    known = [(places[a], places[b]) for a, b in zip(labels, guesses, strict=True) if a in places and b in places]
    counts = confusion_counts([a for a, _ in known], [b for _, b in known], len(names))
    pairs = most_confused(counts, _MOST_PAIRS)
    if not pairs:
        return ""
    body = "".join(
        f"<tr><th>{escape(names[true])}</th><td class='name'>{escape(names[taken])}</td><td>{counts[true, taken]}</td>"
        f"<td>{_share(counts[true, taken] / counts[true].sum())}</td></tr>"
        for true, taken in pairs
    )
    head = '<th class="name">true class</th><th class="name">was taken for</th><th>pictures</th><th>of its class</th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<section><h2>Most confused</h2><div class="wide">{table}</div></section>'


def _share(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"
