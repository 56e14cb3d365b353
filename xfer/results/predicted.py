"""`predictions.csv` of a finished run, row by row."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.multilabel import SEPARATOR, several
from xfer.system.doors import open_lines
from xfer.system.tables import read_rows

MOST_ROWS, MOST_PROBABILITIES = 1_000_000, 60_000_000  # ImageNet's validation has 50,000 and 50,000,000
_ROUNDING = 1e-5  # of a probability in float32, generously
_OF_LABELS = ["file", "labels", "predicted"]
_FIXED = ["file", "label", "predicted", "probability"]


class Rows(NamedTuple):
    """In the file's order. Labels and predictions (n,) count `classes`.

    Of any number of labels each they are (n, C), of 0 and 1, and each probability is for itself.
    """

    files: tuple[str, ...]  # as the run read them
    classes: tuple[str, ...]
    labels: Int64
    predictions: Int64
    probabilities: NDArray[np.float64]  # (n, C)


def chance(labels: Int64) -> float:
    """What knowing nothing would give: the share of the largest class, or the mean average precision of any order."""
    if several(labels):
        shares = labels.mean(axis=0)
        return float(shares[shares > 0].mean()) if labels.any() else 0.0
    return float(np.bincount(labels).max() / len(labels))


def read_predictions(path: Path) -> Rows:
    """Raises OSError, ValueError or csv.Error for a file that is not there, or that no run writes."""
    with open_lines(path, "csv") as lines:
        return _parse(read_rows(lines))


def _parse(rows: Iterator[list[str]]) -> Rows:
    """Row by row: as numbers they take a fraction of what their text does."""
    header = next(rows, [])
    many = header[: len(_OF_LABELS)] == _OF_LABELS
    fixed = _OF_LABELS if many else _FIXED
    columns = header[len(fixed) :]
    if header[: len(fixed)] != fixed or not columns or not all(column.startswith("p_") for column in columns):
        raise ValueError(f"columns {', '.join(header)}, expected {', '.join(_FIXED)}, and p_CLASS for each class")
    classes = {column.removeprefix("p_"): number for number, column in enumerate(columns)}
    files, labels, predictions, probabilities = list[str](), array("q"), array("q"), array("d")
    for row in filter(None, rows):
        if len(row) != len(header):
            raise ValueError("a row has another count of fields than there are columns")
        if many:
            labels.extend(_several(row[0], "labels", row[1], classes))
            predictions.extend(_several(row[0], "predicted", row[2], classes))
            _check_shares(row[0], columns, row[len(fixed) :])
        else:
            _check_row(row, columns, classes)
            labels.append(classes[row[1]])
            predictions.append(classes[row[2]])
        files.append(row[0])
        probabilities.extend(map(float, row[len(fixed) :]))
        if len(files) > MOST_ROWS or len(probabilities) > MOST_PROBABILITIES:
            raise ValueError(f"more than {MOST_ROWS:,} rows, or {MOST_PROBABILITIES:,} probabilities")
    if not files:
        raise ValueError("it holds no row")
    wide = (len(columns),) if many else ()
    return Rows(
        tuple(files),
        tuple(classes),
        np.array(labels, np.int64).reshape(len(files), *wide),
        np.array(predictions, np.int64).reshape(len(files), *wide),
        np.frombuffer(probabilities, np.float64).reshape(len(files), len(columns)),
    )


def _check_row(row: Sequence[str], columns: Sequence[str], classes: Mapping[str, int]) -> None:
    """Raises ValueError, with file and column, for what no run writes."""
    file, label, predicted, probability, *texts = row
    for column, name in (("label", label), ("predicted", predicted)):
        if name not in classes:
            raise ValueError(f"{file}: {column} = {name!r}, expected one of {', '.join(classes)}")
    _check_shares(file, ("probability", *columns), (probability, *texts))
    shares = [float(text) for text in texts]
    if abs(sum(shares) - 1) > _ROUNDING * len(shares):
        raise ValueError(f"{file}: {columns[0]} to {columns[-1]} make {sum(shares):g}, expected 1")
    if shares[classes[predicted]] != max(shares):
        raise ValueError(f"{file}: predicted = {predicted!r} is not its most probable class")
    if float(probability) != max(shares):
        raise ValueError(f"{file}: probability = {probability}, expected {max(shares)}, its largest one")


def _several(file: str, column: str, text: str, classes: Mapping[str, int]) -> list[int]:
    """0 or 1 for each class. Raises ValueError for a name that is none, or that is there twice."""
    names = text.split(SEPARATOR) if text else []
    for name in names:
        if name not in classes or names.count(name) > 1:
            raise ValueError(f"{file}: {column} = {text!r}, expected some of {', '.join(classes)}, each once")
    own = {classes[name] for name in names}
    return [int(place in own) for place in range(len(classes))]


def _check_shares(file: str, columns: Sequence[str], texts: Sequence[str]) -> None:
    for column, text in zip(columns, texts, strict=True):
        if not _is_share(text):
            raise ValueError(f"{file}: {column} = {text!r}, expected a number in [0, 1]")


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1  # NaN is not
    except ValueError:
        return False
