"""Intervals and tests for shares of images. Shares lie in [0, 1], confidence is 95 % throughout.

scipy is imported where it is used: it takes longer to load than everything else here takes to run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xfer.scores.interval import CONFIDENCE as CONFIDENCE
from xfer.scores.interval import Interval as Interval
from xfer.scores.interval import wilson as wilson

RESAMPLES = 10_000
_CHUNK = 4_000_000  # values that are resampled at once: 32 MB of indices


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test, from how many images only one of two classifiers gets right.

    If neither were better, each of these images would fall to either with probability 1/2 (McNemar 1947).
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def upper_bound(successes: int, n: int) -> float:
    """The one-sided exact bound on a share (Clopper and Pearson 1934). For none of n it is close to 3 / n."""
    from scipy.stats import binomtest

    return float(binomtest(successes, n, alternative="less").proportion_ci(CONFIDENCE, method="exact").high)


def paired_bootstrap(
    differences: NDArray[np.int64], seed: int | tuple[int, ...], resamples: int = RESAMPLES
) -> Interval:
    """The percentile interval (Efron 1979) of the mean of `differences` (n,), one value for each image.

    Swapping the sign of all differences swaps and negates the ends: the same images are drawn.
    """
    n, generator = len(differences), np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    sums = [
        differences[generator.integers(n, size=(min(rows, resamples - done), n))].sum(axis=1)
        for done in range(0, resamples, rows)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(sums) / n, [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_difference(differences: NDArray[np.int64], seed: int | tuple[int, ...] = 0) -> Interval:
    """The interval of a difference in accuracy; `differences` (n,): 1, 0 or -1 for each image.

    It is bootstrapped, unless no image differs. Resampling zeros would give [0, 0] and claim a certainty that n
    images cannot give, so the interval is then as wide as the share of images that may differ after all.
    """
    if differences.any():
        return paired_bootstrap(differences, seed)
    bound = upper_bound(0, len(differences))
    return Interval(-bound, bound)
