"""What runs predicted for their validation images, brought into one order so that they can be compared."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.errors import CheckpointError
from xfer.multilabel import differ, several
from xfer.results.predicted import Rows, read_predictions


@dataclass(frozen=True)
class Predicted:
    """The predictions of one run, sorted by name; labels, predictions and probabilities as of `Rows`.

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
        return ~differ(self.labels, self.predictions)

    @property
    def ties(self) -> int:
        """Pictures with two most probable classes: logits may have told apart what is one probability in float32."""
        if several(self.labels):
            return 0
        most = self.probabilities == self.probabilities.max(axis=1, keepdims=True)
        return int((most.sum(axis=1) > 1).sum())


def read_predicted(folder: Path) -> Predicted:
    """Read `predictions.csv` of a run folder. Raises CheckpointError where it cannot be read."""
    path = folder / "predictions.csv"
    try:
        return _in_order(read_predictions(path))
    except (OSError, ValueError, LookupError, csv.Error) as error:
        raise CheckpointError(
            f"{path}: expected file, label, predicted and the probabilities of a finished run "
            f"({type(error).__name__}: {error})"
        ) from error


def _in_order(rows: Rows) -> Predicted:
    names = relative_names(rows.files)
    if len(set(names)) < len(names):
        raise ValueError("file: a picture has more than one row")
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    return Predicted(
        tuple(names[i] for i in order),
        tuple(rows.files[i] for i in order),
        rows.classes,
        rows.labels[order],
        rows.predictions[order],
        rows.probabilities[order],
    )


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
    if several(a.labels) != several(b.labels):
        return "one has a class for each image, the other any number of labels"
    if others := int(differ(a.labels, b.labels).sum()):
        return f"{others} of {len(a.names)} images have another class"
    return None
