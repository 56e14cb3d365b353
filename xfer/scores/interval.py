"""Intervals and what they are drawn from. Confidence is 95 % throughout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from xfer.arrays import Float64

CONFIDENCE = 0.95
RESAMPLES = 1_000
_FEWEST, _DRAWS = 100, 2 * 10**7  # resamples at least, and pictures drawn in all of them together at most
_CHUNK = 4_000_000  # values at once: 32 MB


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """The score interval of a share (Wilson 1927): it stays inside [0, 1], and has a width at 0 and 1 too."""
    z2, share = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2, successes / n
    centre, half = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n)
    low, high = ((centre + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    return Interval(0.0 if successes == 0 else low, 1.0 if successes == n else high)


def percentiles(values: Float64) -> Interval | None:
    """The percentile interval of resampled values (Efron 1979); those that are NaN are left out.

    None where the values show no spread: that is not to say that there is none.
    """
    values = values[~np.isnan(values)]
    if not len(values) or values.min() == values.max():
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def resamples(n: int, width: int, seed: int = 0) -> Iterator[Float64]:
    """How often each of n pictures is drawn, (rows, n), in parts: RESAMPLES rows in all, fewer above 20,000 pictures.

    Pictures are drawn with replacement whatever their class, so that its share varies as it would in other pictures.

    width   values that whoever asks makes of a row
    """
    count, rows = max(_FEWEST, min(RESAMPLES, _DRAWS // n)), max(1, _CHUNK // max(n, width))
    generator = np.random.default_rng(seed)
    for done in range(0, count, rows):
        drawn = generator.integers(n, size=(min(rows, count - done), n))
        drawn += n * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
