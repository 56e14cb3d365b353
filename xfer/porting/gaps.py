"""How far two arrays are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Gap:
    """Of an array against that of the reference.

    relative  the largest difference over the largest absolute value of the reference
    squared   the squared length of the difference over that of the reference
    note      why the two cannot be subtracted, where that is so; the differences are then infinite
    """

    max_abs: float = math.inf
    mean_abs: float = math.inf
    relative: float = math.inf
    squared: float = math.inf
    cosine: float = math.nan
    note: str = ""


def gap_of(a: Array | None, b: Array | None) -> Gap:
    if a is None or b is None:
        return Gap(note=f"only in the {'second' if a is None else 'first'}")
    if a.shape != b.shape:
        return Gap(note=f"shapes {a.shape} and {b.shape}")
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):  # inf - inf: the result, no number, fails
        apart = np.abs(x - y)
        largest, squared = float(apart.max()), float(apart @ apart)
        relative = _share(largest, float(np.abs(x).max()))
        return Gap(largest, float(apart.mean()), relative, _share(squared, float(x @ x)), _cosine(x, y))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else (math.inf if part else 0.0)


def _cosine(x: Array, y: Array) -> float:
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms else float(np.array_equal(x, y))
