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


@dataclass(frozen=True)
class Lengths:
    """Of the difference of two arrays, and of the first of them: the largest absolute value, and the squared length."""

    apart: float
    apart_squared: float
    largest: float
    squared: float

    @property
    def relative(self) -> float:
        return _share(self.apart, self.largest)

    @property
    def relative_squared(self) -> float:
        return _share(self.apart_squared, self.squared)


def gap_of(a: Array | None, b: Array | None) -> Gap:
    if a is None or b is None:
        return Gap(note=f"only in the {'second' if a is None else 'first'}")
    if a.shape != b.shape:
        return Gap(note=f"shapes {a.shape} and {b.shape}")
    x, y = _flat(a), _flat(b)
    with np.errstate(invalid="ignore"):  # inf - inf: the result, no number, fails
        lengths = _lengths(x, y)
        mean = float(np.abs(x - y).mean())
        return Gap(lengths.apart, mean, lengths.relative, lengths.relative_squared, _cosine(x, y))


def lengths_of(a: Array, b: Array) -> Lengths:
    """Of two arrays of one shape."""
    with np.errstate(invalid="ignore"):
        return _lengths(_flat(a), _flat(b))


def _flat(a: Array) -> NDArray[np.float64]:
    return a.astype(np.float64, copy=False).ravel()


def _lengths(x: NDArray[np.float64], y: NDArray[np.float64]) -> Lengths:
    apart = x - y
    return Lengths(_largest(apart), float(apart @ apart), _largest(x), float(x @ x))


def _largest(x: NDArray[np.float64]) -> float:
    """The largest absolute value, without an array of them all. What is no number stays none."""
    return float(max(abs(x.max()), abs(x.min()))) if not np.isnan(x.max()) else math.nan


def _share(part: float, whole: float) -> float:
    return part / whole if whole else (math.inf if part else 0.0)


def _cosine(x: Array, y: Array) -> float:
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms else float(np.array_equal(x, y))
