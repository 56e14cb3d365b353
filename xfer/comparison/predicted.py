"""What runs predicted for their validation images, brought into one order so that they can be compared."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import CheckpointError
from xfer.system.doors import open_lines
from xfer.system.tables import read_rows

MOST_ROWS, MOST_PROBABILITIES = 1_000_000, 60_000_000  # ImageNet's validation has 50,000 and 50,000,000


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
        with open_lines(path, "csv") as lines:
            return _parse(read_rows(lines))
    except (OSError, ValueError, LookupError, csv.Error) as error:
        raise CheckpointError(
            f"{path}: expected file, label, predicted and the probabilities of a finished run "
            f"({type(error).__name__}: {error})"
        ) from error


_ROUNDING = 1e-5  # of a probability in float32, generously
_FIXED = ["file", "label", "predicted", "probability"]


def _parse(rows: Iterator[list[str]]) -> Predicted:
    """Row by row: as numbers they take a fraction of what their text does."""
    header = next(rows, [])
    columns = header[len(_FIXED) :]
    if header[: len(_FIXED)] != _FIXED or not all(column.startswith("p_") for column in columns):
        raise ValueError(f"columns {', '.join(header)}, expected {', '.join(_FIXED)}, and p_CLASS for each class")
    classes = {column.removeprefix("p_"): number for number, column in enumerate(columns)}
    files, labels, predictions, probabilities = list[str](), array("q"), array("q"), array("d")
    for row in filter(None, rows):
        if len(row) != len(header):
            raise ValueError("a row has another count of fields than there are columns")
        _check_row(row, columns, classes)
        files.append(row[0])
        labels.append(classes[row[1]])
        predictions.append(classes[row[2]])
        probabilities.extend(map(float, row[len(_FIXED) :]))
        if len(files) > MOST_ROWS or len(probabilities) > MOST_PROBABILITIES:
            raise ValueError(f"more than {MOST_ROWS:,} rows, or {MOST_PROBABILITIES:,} probabilities")
    if not files:
        raise ValueError("it holds no row")
    names = relative_names(files)
    if len(set(names)) < len(names):
        raise ValueError("file: a picture has more than one row")
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    return Predicted(
        tuple(names[i] for i in order),
        tuple(files[i] for i in order),
        tuple(classes),
        np.array(labels, np.int64)[order],
        np.array(predictions, np.int64)[order],
        np.frombuffer(probabilities, np.float64).reshape(len(files), len(columns))[order],
    )


def _check_row(row: Sequence[str], columns: Sequence[str], classes: Mapping[str, int]) -> None:
    """Raises ValueError, with file and column, for what no run writes."""
    file, label, predicted, probability, *texts = row
    for column, name in (("label", label), ("predicted", predicted)):
        if name not in classes:
            raise ValueError(f"{file}: {column} = {name!r}, expected one of {', '.join(classes)}")
    for column, text in zip(("probability", *columns), (probability, *texts), strict=True):
        if not _is_share(text):
            raise ValueError(f"{file}: {column} = {text!r}, expected a number in [0, 1]")
    shares = [float(text) for text in texts]
    if abs(sum(shares) - 1) > _ROUNDING * len(shares):
        raise ValueError(f"{file}: {columns[0]} to {columns[-1]} make {sum(shares):g}, expected 1")
    if shares[classes[predicted]] != max(shares):
        raise ValueError(f"{file}: predicted = {predicted!r} is not its most probable class")
    if float(probability) != max(shares):
        raise ValueError(f"{file}: probability = {probability}, expected {max(shares)}, its largest one")


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


def pooled(parts: Sequence[Predicted]) -> Predicted:
    """Those of several runs of the same classes as one. Raises CheckpointError where they share a picture."""
    files = [file for part in parts for file in part.files]
    names = relative_names(files)
    if len(set(names)) < len(names) or len({part.classes for part in parts}) > 1:
        raise CheckpointError("the folds share pictures: the data changed between them. Cure: --overwrite")
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    return Predicted(
        tuple(names[i] for i in order),
        tuple(files[i] for i in order),
        parts[0].classes,
        np.concatenate([part.labels for part in parts])[order],
        np.concatenate([part.predictions for part in parts])[order],
        np.concatenate([part.probabilities for part in parts])[order],
    )


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
