"""Statistics over seeds and images. Shares lie in [0, 1], confidence is 95 % throughout.

Two things vary when a mode of training is judged: the seed it was trained with, and the images it was validated on.
`seed_interval` covers another seed on the same images; `difference_interval` and `ranked_interval` cover another seed
and other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfer.comparison.statistics import CONFIDENCE, RESAMPLES, Interval, upper_bound

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
MOST_FLIPPED = 16  # seeds
_CHUNK = 4_000_000  # values that are resampled at once
_ROUNDING = 1e-12  # of sums in another order


class Difference(NamedTuple):
    """Of one row of a study to another, on `n` images with the same seeds, with its interval and what a test says."""

    n: int
    value: float
    interval: Interval
    p: float


def mean_band(values: NDArray[np.float64]) -> tuple[Float64, Float64, Float64]:
    """Mean and ends of its 95 % interval over seeds (Student 1908), kept inside [0, 1].

    values  (seeds, ...) shares; each result has the shape of one seed. Where there is one seed, the ends are NaN.
    """
    from scipy.stats import t

    seeds, mean = len(values), values.mean(axis=0)
    if seeds < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * values.std(axis=0, ddof=1) / np.sqrt(seeds)
    return mean, np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1)


def seed_interval(values: Sequence[float]) -> Interval | None:
    """Where the mean over all seeds lies, by Student's t. None where nothing of their spread was seen.

    That is so for one seed, and for seeds that all gave the same: they do not show that every other seed will.
    """
    if len(set(values)) < 2:
        return None
    _, low, high = mean_band(np.array(values, np.float64))
    return Interval(float(low), float(high))


def sign_flip(differences: Int64) -> float:
    """The exact two-sided p of the sign-flip test of a sum (Fisher 1935); `differences` (n,), one for each image.

    If neither of two classifiers were better, each image would favour either by as much with probability 1/2. For
    differences of 1, 0 and -1 this is McNemar's exact test. All 2 ** n flips count, by convolution; none is drawn.
    """
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    # chance[k]: of the flips in which the images that point up add up to k; all of them together, to `whole`.
    chance, whole = np.ones(1), int((sizes * counts).sum())
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        longer = np.zeros(len(chance) + size * count)
        for up, share in enumerate(binom.pmf(np.arange(count + 1), count, 0.5).tolist()):
            longer[size * up : size * up + len(chance)] += share * chance
        chance = longer
    extreme = np.abs(2 * np.arange(whole + 1) - whole) >= abs(int(differences.sum()))
    return min(1.0, float(chance[extreme].sum()))


def seed_flip(differences: Sequence[float]) -> float:
    """The two-sided p of the sign-flip test of a sum over seeds (Fisher 1935); `differences` (S,), one for each.

    Up to MOST_FLIPPED seeds all 2 ** S flips count, and p is 2 ** (1 - S) at least. Of more seeds 2 ** MOST_FLIPPED
    flips do: the one that was seen, and others that are drawn.
    """
    values = np.asarray(differences, np.float64)
    sums = np.zeros(1)
    if len(values) <= MOST_FLIPPED:
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
    else:
        generator = np.random.default_rng(0)
        for value in values:
            sums = sums + value * generator.choice([-1.0, 1.0], 2**MOST_FLIPPED - 1)
        sums = np.append(sums, values.sum())
    return float((np.abs(sums) >= abs(values.sum()) - _ROUNDING * np.abs(values).sum()).mean())


def holm(values: Sequence[float]) -> list[float]:
    """p values adjusted for being tested together (Holm 1979), in the order given.

    The chance that any true null among them falls below 0.05 is at most 0.05, however they depend on each other.
    """
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(values, np.float64)[order] * factors))
    return [float(p) for p in adjusted]


def pigeonhole(
    differences: Int64, seed: int = 0, resamples: int = RESAMPLES, validated: NDArray[np.bool_] | None = None
) -> Interval:
    """The percentile interval of the mean of `differences` (seeds, images), both resampled, each by itself.

    It covers both kinds of variation, and is a little wide where they interact (Owen 2007, "The pigeonhole
    bootstrap"). One seed cannot be resampled: the interval is then that of other images alone.

    validated  (seeds, images): which differences there are, None for all of them; the others are to be 0
    """
    (seeds, images), generator = differences.shape, np.random.default_rng(seed)
    means, rows = [], max(1, _CHUNK // images)
    for done in range(0, resamples, rows):
        size = min(rows, resamples - done)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        of_images = generator.multinomial(images, np.full(images, 1 / images), size=size)
        sums = ((of_seeds @ differences) * of_images).sum(axis=1)
        if validated is None:
            means.append(sums / (seeds * images))
        else:
            counts = ((of_seeds @ validated.astype(np.int64)) * of_images).sum(axis=1)
            means.append(sums[counts > 0] / counts[counts > 0])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(low), float(high))


def difference_interval(differences: Int64, seed: int = 0, validated: NDArray[np.bool_] | None = None) -> Interval:
    """The interval of a difference in accuracy; `differences` (seeds, images): 1, 0 or -1 for each prediction.

    `validated` as of `pigeonhole`: with a split for each seed, an image is predicted with some of the seeds alone.

    It is bootstrapped, and never narrower than what n images leave open where none of them differs: resampling
    images that (nearly) all agree would claim a certainty about other images that n of them cannot give.
    """
    mean = float(differences.mean() if validated is None else differences[validated].mean())
    return _opened(pigeonhole(differences, seed, validated=validated), mean, differences.shape[1])


def _opened(interval: Interval, mean: float, images: int) -> Interval:
    (low, high), open_ = interval, upper_bound(0, images)
    return Interval(max(-1.0, min(low, mean - open_)), min(1.0, max(high, mean + open_)))


def ranked_interval(differences: Float64, mean: float, images: int, seed: int = 0) -> Interval:
    """The pigeonhole interval of a mean over seeds of differences that are no means over images, as of rankings.

    It is never narrower than what `images` leave open, as `difference_interval`.

    differences  (seeds, resamples): of each seed, on images that were resampled; the same ones for all seeds. NaN where
                 a resample has no such figure
    mean         over seeds, of the images as they are
    """
    seeds, count = differences.shape
    generator = np.random.default_rng((seed, 1))  # (seed,) drew the images
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=count).T
    weights = drawn * ~np.isnan(differences)
    there = weights.sum(axis=0) > 0
    sums = (weights * np.nan_to_num(differences)).sum(axis=0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(sums[there] / weights.sum(axis=0)[there], [tail, 1 - tail])
    return _opened(Interval(float(low), float(high)), mean, images)
