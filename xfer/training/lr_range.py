"""A learning-rate range test: the loss while the rate rises from step to step, and the rates that it suggests.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3, with the exponential rise, the smoothed
loss and the suggestions of fastai's `lr_find`. Nothing is written, and the network that it trains is its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any

import numpy as np

from xfer.arrays import Float64
from xfer.errors import ConfigError, refuse_outside
from xfer.progress import Progress, silent
from xfer.recipe.phases import plan
from xfer.training import diverged
from xfer.training.loop import Point, Tally, Training, train_epoch
from xfer.training.phases import open_phase
from xfer.training.prepared import Prepared

START, END = 1e-7, 10.0
FEWEST, USUAL, MOST = 20, 100, 10_000
"""Steps: of any test, of one of which nothing is said, and of any again."""
ENOUGH = 50
"""Steps below which two epochs are too few for a test of which nothing is said: then it takes more epochs."""
BETA = 0.98
"""Of the smoothing: a running mean of the losses, its bias taken out."""
EXPLODED = 4.0
"""Times the lowest smoothed loss: more, and nothing of what follows is of use."""
_SKIP_START, _SKIP_END = 10, 5
"""Of suggestions, a tenth of the steps are left out at the beginning, where the mean is of few, and 5 at the end."""
_RATE = (1e-30, 1e15)


@dataclass(frozen=True)
class Ramp:
    """Rates from `start` to `end`, each the same multiple of the one before; `steps` None: `USUAL`, or two epochs'."""

    start: float = START
    end: float = END
    steps: int | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for rates that do not rise, and numbers that are of no test."""
        for name, value in (("start_lr", self.start), ("end_lr", self.end)):
            refuse_outside(name, value, *_RATE)
        if not self.start < self.end:
            raise ConfigError(
                f"start_lr = {self.start:g}, end_lr = {self.end:g}: expected a rise. Cure: a larger end_lr"
            )
        if self.steps is not None:
            refuse_outside("steps", self.steps, FEWEST, MOST)

    def rates(self, steps_per_epoch: int) -> Float64:
        steps = self.steps or min(USUAL, max(ENOUGH, 2 * steps_per_epoch))
        return np.geomspace(self.start, self.end, steps)


@dataclass(frozen=True, eq=False)
class LrRange:
    """What a range test measured, step by step.

    rates      (n,) base rates; a group's is that times its multiple, as in training
    losses     (n,) of the batches, and `smoothed` (n,) by fastai's running mean
    steps      that were planned; fewer are measured where the test `stopped`
    steepest   the rate at which the smoothed loss falls fastest over the logarithm of the rate
    valley     a rate half way down the longest fall: fastai's own suggestion. Both None where nothing falls
    stopped    why it ended early: "exploded", the smoothed loss was EXPLODED times the lowest, or "not finite"
    """

    rates: Float64
    losses: Float64
    smoothed: Float64
    steps: int
    steepest: float | None
    valley: float | None
    stopped: str = ""

    def sentence(self) -> str:
        """What is suggested, and why nothing is."""
        end = {"exploded": f"{EXPLODED:g} times the lowest", "not finite": "no longer finite"}
        taken = f"after {len(self.rates)} of {self.steps} steps"
        early = f"; the loss was {end[self.stopped]} {taken}" if self.stopped else ""
        if self.valley is None or self.steepest is None:
            cure = "a smaller --start-lr, or more --steps" if self.stopped else "a larger --end-lr"
            return f"no suggestion: the loss falls at no rate{early}. Cure: {cure}"
        return f"suggested: --lr {self.steepest:.2g} (steepest) or {self.valley:.2g} (valley){early}"

    def as_json(self) -> dict[str, Any]:
        fields = vars(self).items()
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields}


def find_range(p: Prepared, ramp: Ramp, progress: Progress = silent) -> LrRange:
    """Train a prepared run with rising rates, from its first weights and as in its first phase.

    Raises XferError where the loss is not finite before a weight has moved.
    """
    per_epoch = ceil(len(p.data.train.labels) / (p.recipe.train.batch_size * p.recipe.train.accumulate))
    rates = ramp.rates(per_epoch)
    first = replace(plan(p.recipe)[0], epochs=ceil(len(rates) / per_epoch))
    training = replace(open_phase(p, first, progress)[0], mixed_until=None)  # as it begins, however many epochs
    diverged.refuse_rate(float(rates[-1]), max(training.lr_mults, default=1.0), first.epochs)
    losses, smoothed, stopped = list[float](), list[float](), ""
    try:
        # Closed in any case: the traceback of an error would keep its threads reading for as long as it is looked at.
        with closing(_losses(training, rates, per_epoch)) as measured:
            for loss in islice(measured, len(rates)):
                losses.append(loss)
                smoothed.append(_smoothed(losses, smoothed))
                progress("learning rates", len(losses), len(rates))
                if smoothed[-1] > EXPLODED * min(smoothed):
                    stopped = "exploded"
                    break
    except diverged.LostError:
        if not losses:
            raise
        stopped = "not finite"
    return suggest(rates[: len(losses)], np.array(losses), np.array(smoothed), len(rates), stopped)


def suggest(rates: Float64, losses: Float64, smoothed: Float64, steps: int, stopped: str = "") -> LrRange:
    """With the suggestions of what was measured in so many of `steps`."""
    used = slice(steps // _SKIP_START, len(rates) - _SKIP_END)
    x, y = rates[used], smoothed[used]
    steepest = valley = None
    if len(y) > 1 and (falls := np.diff(y)).min() < 0:  # the logarithms of the rates are equally far apart
        steepest, valley = (float(x[place]) for place in (falls.argmin(), _valley(y)))
    return LrRange(rates, losses, smoothed, steps, steepest, valley, stopped)


def _losses(t: Training, rates: Float64, per_epoch: int) -> Generator[float, None, None]:
    """Of each step. They are read at once: a rate that is too large is to be seen before the next."""
    for number, begin in enumerate(range(0, len(rates), per_epoch)):
        of_epoch = np.resize(rates[begin:], per_epoch).tolist()  # more than are left: they are not asked for
        for tally in train_epoch(t, Tally(Point(epoch=t.first_epoch + number), of_epoch, t.loss, t.precision), silent):
            tally.point()
            yield tally.latest


def _smoothed(losses: list[float], before: list[float]) -> float:
    """The running mean with the last of the losses: v = BETA * v + (1 - BETA) * loss, over 1 - BETA ** n."""
    n = len(losses)
    running = before[-1] * (1 - BETA ** (n - 1)) if before else 0.0
    return (BETA * running + (1 - BETA) * losses[-1]) / (1 - BETA**n)


def _valley(values: Float64) -> int:
    """The place half way down the longest fall, which other values may interrupt.

    fastai's `valley`: of the longest decreasing subsequence, of length m and with its end at e, place
    e - m + m // 3 + m // 6.
    """
    tails: list[float] = []  # the highest ends, negated, of the falls of each length
    lengths = []
    for value in -values:
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
        lengths.append(place + 1)
    end, longest = int(np.argmax(lengths)), max(lengths)
    return max(end - longest + longest // 3 + longest // 6, 0)
