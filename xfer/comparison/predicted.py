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

    @property
    def ties(self) -> int:
        """Pictures with two most probable classes: logits may have told apart what is one probability in float32."""
        most = self.probabilities == self.probabilities.max(axis=1, keepdims=True)
        return int((most.sum(axis=1) > 1).sum())


def read_predicted(folder: Path) -> Predicted:
    """Read `predictions.csv` of a run folder. Raises CheckpointError where it cannot be read."""
    path = folder / "predictions.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return _parse(rows)
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise CheckpointError(
            f"{path}: expected file, label, predicted and the probabilities of a finished run "
            f"({type(error).__name__}: {error})"
        ) from error


_ROUNDING = 1e-5  # of a probability in float32, generously
_FIXED = ("file", "label", "predicted", "probability")


def _parse(rows: Sequence[Mapping[str, str]]) -> Predicted:
    # Where DictReader puts fields without a column, and columns without a field.
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row has another count of fields than there are columns")
    columns = tuple(rows[0])[len(_FIXED) :]
    if tuple(rows[0])[: len(_FIXED)] != _FIXED or not all(column.startswith("p_") for column in columns):
        raise ValueError(f"columns {', '.join(rows[0])}, expected {', '.join(_FIXED)}, and p_CLASS for each class")
    classes = tuple(column.removeprefix("p_") for column in columns)
    names = relative_names([row["file"] for row in rows])
    if len(set(names)) < len(names):
        raise ValueError("file: a picture has more than one row")
    order = sorted(range(len(rows)), key=names.__getitem__)
    rows = [rows[i] for i in order]
    for row in rows:
        _check_row(row, columns, classes)
    return Predicted(
        tuple(names[i] for i in order),
        tuple(row["file"] for row in rows),
        classes,
        np.array([classes.index(row["label"]) for row in rows], np.int64),
        np.array([classes.index(row["predicted"]) for row in rows], np.int64),
        np.array([[float(row[column]) for column in columns] for row in rows]),
    )


def _check_row(row: Mapping[str, str], columns: Sequence[str], classes: Sequence[str]) -> None:
    """Raises ValueError, with file and column, for what no run writes."""
    for column in ("label", "predicted"):
        if row[column] not in classes:
            raise ValueError(f"{row['file']}: {column} = {row[column]!r}, expected one of {', '.join(classes)}")
    for column in ("probability", *columns):
        if not _is_share(row[column]):
            raise ValueError(f"{row['file']}: {column} = {row[column]!r}, expected a number in [0, 1]")
    shares = [float(row[column]) for column in columns]
    if abs(sum(shares) - 1) > _ROUNDING * len(shares):
        raise ValueError(f"{row['file']}: {columns[0]} to {columns[-1]} make {sum(shares):g}, expected 1")
    if shares[classes.index(row["predicted"])] != max(shares):
        raise ValueError(f"{row['file']}: predicted = {row['predicted']!r} is not its most probable class")
    if float(row["probability"]) != max(shares):
        raise ValueError(f"{row['file']}: probability = {row['probability']}, expected {max(shares)}, its largest one")


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1  # NaN is not
    except ValueError:
        return False


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
