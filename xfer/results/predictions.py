"""What was predicted for pictures, as data, as text, and as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xfer.arrays import Float32, Int64
from xfer.data.lists import Skipped
from xfer.errors import ConfigError
from xfer.multilabel import NO_LABEL, names_of, written
from xfer.results import notebook
from xfer.results.checkpoint import shortened
from xfer.scores.thresholds import taken
from xfer.system.doors import open_regular
from xfer.system.files import write_json, write_text
from xfer.system.tables import csv_text

_BEGINNING = 2**22  # bytes in which the first record of a file of predictions ends
_SHOWN, _WIDTH = 10, 80  # files in what is shown of predictions, and characters of their names


@dataclass(frozen=True)
class Predictions:
    """Class probabilities `(n, C)` of n files, each row summing to 1. `skipped`: what could not be used, and why.

    thresholds  (C,) of any number of labels a picture: each probability is then for itself, and a picture has the
                labels from their thresholds on. None: it has the most probable class
    decided     (n, C) of 0 and 1, where labels were told otherwise than by one threshold each

    Pictures that were given as images or arrays are called `image 0`, `image 1`, ... by their place in what was given.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float32
    skipped: tuple[Skipped, ...] = ()
    thresholds: tuple[float, ...] | None = None
    decided: Int64 | None = None

    def __repr__(self) -> str:
        """The first files with their classes, a line each."""
        lines = [f"<{self._heading}"]
        first = zip(self.shown(1), self.files[:_SHOWN], strict=False)
        lines += [f"  {words}  {_end(file)}" for words, file in first]
        if (more := len(self.files) - _SHOWN) > 0:
            lines.append(f"  and {more} more")
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str | None:
        first = zip(self.files[:_SHOWN], map(_in_columns, self._best(1)), strict=False)
        rows = [(file, names, shares) for file, (names, shares) in first]
        rows += [(file, f"not used: {reason}", "") for file, reason in self.skipped[: _SHOWN - len(rows)]]
        more = len(self.files) + len(self.skipped) - len(rows)
        return notebook.form(lambda: notebook.pictures(self._heading, rows, more))

    @property
    def _heading(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Predictions of {len(self.files)} pictures, {shortened(self.classes)}{skipped}"

    @property
    def several(self) -> bool:
        """Whether a picture has any number of labels."""
        return self.thresholds is not None or self.decided is not None

    def at(self, threshold: float) -> Predictions:
        """The same with this threshold for every label. Raises ConfigError for predictions of classes."""
        if self.thresholds is None:
            raise ConfigError("threshold: the model tells classes apart, and a picture has one. Cure: leave it out")
        return replace(self, thresholds=(threshold,) * len(self.classes))

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each file; of several labels all that it has, with `|` between them."""
        if self.several:
            return tuple(written(row, self.classes) for row in self.taken)
        return tuple(self.classes[i] for i in self.probabilities.argmax(axis=1))

    @property
    def taken(self) -> Int64:
        """(n, C) of 0 and 1: the labels of each file, where it has any number of them."""
        return self.decided if self.decided is not None else taken(self.probabilities, self.thresholds or ())

    def _best(self, k: int) -> list[list[tuple[str, float]]]:
        """Of each file the `k` most probable classes, or the labels that it has, however many."""
        if not self.several:
            return self.top(k)
        every = self.top(len(self.classes))
        return [[pair for pair in pairs if pair[0] in names_of(row, self.classes)]
                for pairs, row in zip(every, self.taken, strict=True)]  # fmt: skip

    def shown(self, k: int) -> list[str]:
        """The same as a line for each file."""
        lines = ("  ".join(f"{name}  {share:.2%}" for name, share in best) for best in self._best(k))
        return [line or NO_LABEL for line in lines]

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each file with their probabilities, the best first; all where k is larger."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        places = zip(order, self.probabilities, strict=True)
        return [[(self.classes[i], float(row[i])) for i in best] for best, row in places]

    def rows(self, truth: Int64 | None = None) -> list[dict[str, Any]]:
        """A plain record for each file, for CSV, JSON or pandas; with the true class where `truth` is known.

        What was skipped comes last, with a `reason` in place of a class; where nothing was, no row has a reason.
        """
        records = []
        for i, (file, label, row) in enumerate(zip(self.files, self.labels, self.probabilities, strict=True)):
            known = {} if truth is None else {self._column: self._text(truth[i])}
            shares = {f"p_{name}": float(p) for name, p in zip(self.classes, row, strict=True)}
            best = {} if self.several else {"probability": float(row.max())}
            records.append({"file": file, **known, "predicted": label, **best, **shares})
        if not self.skipped:
            return records
        blank = dict.fromkeys(records[0])
        unusable = [{**blank, "file": file, "reason": reason} for file, reason in self.skipped]
        return [{**record, "reason": None} for record in records] + unusable

    @property
    def _column(self) -> str:
        return "labels" if self.several else "label"

    def _text(self, label: Any) -> str:
        return written(label, self.classes) if self.several else self.classes[label]


def _in_columns(best: Sequence[tuple[str, float]]) -> tuple[str, str]:
    """The names, and their shares."""
    if not best:
        return NO_LABEL, ""
    return ", ".join(name for name, _ in best), ", ".join(f"{share:.2%}" for _, share in best)


def _end(file: str) -> str:
    return file if len(file) <= _WIDTH else f"...{file[-_WIDTH:]}"


def save(path: Path, predictions: Predictions, truth: Int64 | None = None, raw: bool = False) -> None:
    """A record for each file: JSON where the name ends in .json, else CSV.

    Columns: file, label (where known), predicted, probability, and p_<class> for each class. Names that a spreadsheet
    would run are quoted, see `xfer.system.tables`, unless `raw`.
    """
    rows = predictions.rows(truth)
    if path.suffix == ".json":
        write_json(path, rows)
        return
    write_text(path, csv_text(list(rows[0]), (row.values() for row in rows), raw))


def is_own(path: Path) -> bool:
    """Whether a file holds predictions as `save` writes them where labels are not known."""
    columns = ["file", "predicted", "p"]  # and the rest of `probability`, or of the first class
    try:
        with open_regular(path) as file:
            beginning = file.read(_BEGINNING).decode("utf-8", "replace")
        if path.suffix != ".json":
            return beginning.startswith(",".join(columns))
        before, brace, _ = beginning.partition("{")
        record, _ = json.JSONDecoder().raw_decode(beginning, len(before))
        known, third = list(record)[:2], [key[:1] for key in list(record)[2:3]]
        return before.strip() == "[" and bool(brace) and known + third == columns
    except (OSError, ValueError, RecursionError):
        return False
