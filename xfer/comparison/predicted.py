"""What runs predicted for their validation images, brought into one order so that they can be compared."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import CheckpointError
from xfer.system.tables import read_csv


@dataclass(frozen=True)
class Predicted:
    """The predictions of one run, sorted by name; labels and predictions (n,) count `classes`.

    A name is the path below the folder that holds all of the run's validation images, such as `ants/1.jpg`: it is the
    same on every machine, wherever the data lies.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]  # as the run read them
    classes: tuple[str, ...]
    labels: Int64
    predictions: Int64
    probabilities: NDArray[np.float64]  # (n, C)

    @property
    def right(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = self.labels == self.predictions
        return right


def read_predicted(folder: Path) -> Predicted:
    """Read `predictions.csv` of a run folder. Raises CheckpointError where it cannot be read."""
    path = folder / "predictions.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _, rows = read_csv(file)
        return _parse(rows)
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise CheckpointError(
            f"{path}: expected file, label, predicted and the probabilities of a finished run "
            f"({type(error).__name__}: {error})"
        ) from error


def _parse(rows: Sequence[Mapping[str, str]]) -> Predicted:
    if any(None in row for row in rows):  # where DictReader puts what has no column
        raise ValueError("a row has more fields than there are columns")
    columns = [column for column in rows[0] if column.startswith("p_")]
    classes = tuple(column.removeprefix("p_") for column in columns)
    names = relative_names([row["file"] for row in rows])
    order = sorted(range(len(rows)), key=names.__getitem__)
    rows = [rows[i] for i in order]
    return Predicted(
        tuple(names[i] for i in order),
        tuple(row["file"] for row in rows),
        classes,
        np.array([classes.index(row["label"]) for row in rows], np.int64),
        np.array([classes.index(row["predicted"]) for row in rows], np.int64),
        np.array([[float(row[column]) for column in columns] for row in rows]),
    )


def relative_names(files: Sequence[str]) -> list[str]:
    """Each file below the deepest folder that holds them all, with `/` between the parts on every system."""
    paths = [file.replace("\\", "/").split("/") for file in files]
    levels = zip(*(path[:-1] for path in paths), strict=False)
    shared = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, levels))
    return ["/".join(path[shared:]) for path in paths]


def mismatch(a: Predicted, b: Predicted) -> str | None:
    """Why two runs were not validated on the same images, in one line, or None where they were.

    Images are the same when names and classes are: their pixels are not looked at.
    """
    if a.names != b.names:
        shared = len(set(a.names) & set(b.names))
        return f"{len(a.names)} and {len(b.names)} images, {shared} of them in both"
    if differ := int((a.labels != b.labels).sum()):
        return f"{differ} of {len(a.names)} images have another class"
    return None
