"""Which images two rows of a study were validated on, seed by seed, and where they differ on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.comparison.predicted import Predicted, mismatch


class Validated(NamedTuple):
    """A run's predictions, and the seed that its validation images were split off with."""

    predicted: Predicted
    split_seed: int


def unlike(first: Sequence[Validated], second: Sequence[Validated]) -> str | None:
    """Why two rows cannot be compared, in one line, or None where they can; a run of each for each seed, in order.

    Runs of one seed have to have the same validation images, and so do all runs that were split with the same seed.
    """
    split: dict[int, Predicted] = {}
    for x, y in zip(first, second, strict=True):
        for run in (x, y):
            if run.predicted.classes != first[0].predicted.classes:
                return "not the same classes"
            if reason := mismatch(split.setdefault(run.split_seed, run.predicted), run.predicted):
                return f"not the same validation images: {reason}"
        if reason := mismatch(x.predicted, y.predicted):
            seeds = f"data.split_seed {x.split_seed} and {y.split_seed}"
            return f"not the same validation images: {reason}, with {seeds}; cure: the same for both"
    return None


def differences_of(first: Sequence[Predicted], second: Sequence[Predicted]) -> tuple[Int64, NDArray[np.bool_]]:
    """(seeds, images): 1 where the second alone is right, -1 where the first alone is, else 0; and what was validated.

    The images are those of all splits, each once, by name. A run of each row for each seed, on the same images.
    """
    names = sorted({name for run in first for name in run.names})
    places = {name: place for place, name in enumerate(names)}
    differences = np.zeros((len(first), len(names)), np.int64)
    validated = np.zeros(differences.shape, bool)
    for row, (x, y) in enumerate(zip(first, second, strict=True)):
        columns = [places[name] for name in x.names]
        differences[row, columns] = y.right.astype(np.int64) - x.right
        validated[row, columns] = True
    return differences, validated
