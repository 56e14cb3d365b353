"""Differences of mean average precision between two rows of a study, whose pictures have any number of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xfer.arrays import Float64
from xfer.comparison.predicted import Predicted
from xfer.multilabel import mean_average_precision
from xfer.scores.interval import RESAMPLES, resamples
from xfer.scores.labels import MOST_RANKED, mean_precision
from xfer.studies.statistics import Difference, ranked_interval, seed_flip

FEWEST = 100  # resamples


class Kept:
    """Mean average precisions of runs on resampled images, each made once: a row is in a pair with every other."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._made: dict[tuple[int, tuple[str, ...]], tuple[Predicted, Float64]] = {}

    def resampled(self, run: Predicted, names: tuple[str, ...]) -> Float64:
        """(resamples,): of the images of `names` the same ones are drawn for every run; NaN where none has a label."""
        key = id(run), names
        if key not in self._made:  # the run is kept too, so that no other takes its id
            self._made[key] = run, _resampled(run, names, self.seed)
        return self._made[key][1]


def _resampled(run: Predicted, names: tuple[str, ...], seed: int) -> Float64:
    places = {name: place for place, name in enumerate(names)}
    columns = [places[name] for name in run.names]
    count = max(FEWEST, RESAMPLES * MOST_RANKED // max(MOST_RANKED, len(names) * len(run.classes)))
    parts, done = [], 0
    for weights in resamples(len(names), len(run.classes), seed):
        drawn = weights[: count - done, columns]
        parts.append(mean_precision(drawn, run.labels, run.probabilities))
        done += len(drawn)
        if done == count:
            break
    return np.concatenate(parts)


def ranked_difference(first: Sequence[Predicted], second: Sequence[Predicted], kept: Kept) -> Difference:
    """The second minus the first, the mean over seeds; a run of each row for each seed, on the same images.

    The images are those of all splits, each once, by name; a resample counts in each seed those of its split.
    """
    names = tuple(sorted({name for run in first for name in run.names}))
    pairs = list(zip(first, second, strict=True))
    own = [_precision(y) - _precision(x) for x, y in pairs]
    drawn = np.stack([kept.resampled(y, names) - kept.resampled(x, names) for x, y in pairs])
    mean = float(np.mean(own))
    return Difference(len(names), mean, ranked_interval(drawn, mean, len(names), kept.seed), seed_flip(own))


def _precision(run: Predicted) -> float:
    return mean_average_precision(run.labels, run.probabilities)
