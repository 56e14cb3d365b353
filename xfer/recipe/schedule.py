"""The learning rate as a pure function of progress and of the losses so far, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from xfer.section import Section

MOST_EPOCHS = 100_000
"""Of a run, and views of a picture: more than a record of epochs may be read from, see `xfer.system.limits`."""

Factor = Annotated[float, Field(ge=0, le=1e6)]
Divisor = Annotated[float, Field(ge=1e-6, le=1e12)]


class Schedule(Section):
    """A factor on the base rate. Warm-up replaces the first `warmup_epochs` by a linear rise from `warmup_factor`.

    constant   1
    step       gamma ** (epochs done // step_epochs)
    cosine     from 1 to `final_factor` along half a cosine (Loshchilov & Hutter 2017, without restarts), by steps
    one_cycle  cosine rise from 1 / div_factor to 1 over `pct_start` of the steps, then cosine fall to
               1 / (div_factor * final_div_factor) (Smith & Topin 2018, as torch's OneCycleLR; momentum stays put)
    plateau    gamma ** (how often the validation loss has not fallen for too long), see `falls`
    """

    kind: Literal["constant", "step", "cosine", "one_cycle", "plateau"] = "constant"
    step_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 7
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.1
    plateau_patience: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = 10
    plateau_threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    final_factor: Factor = 0.0
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    div_factor: Divisor = 25.0
    final_div_factor: Divisor = 1e4
    warmup_epochs: Annotated[float, Field(ge=0, le=MOST_EPOCHS)] = 0.0
    warmup_factor: Factor = 0.01


def factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int, fallen: int = 0) -> float:
    """The factor for the step with index `step` in [0, steps_per_epoch * epochs).

    fallen   what `falls` says of the epochs before that of the step
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return schedule.warmup_factor + (1 - schedule.warmup_factor) * step / warmup
    total = steps_per_epoch * epochs - warmup
    step -= warmup
    if schedule.kind == "step":
        # Counted in whole epochs from the start of the phase, warm-up included, as recipes are written.
        return _power(schedule.gamma, (step + warmup) // steps_per_epoch // schedule.step_epochs)
    if schedule.kind == "plateau":
        return _power(schedule.gamma, fallen)
    if schedule.kind == "cosine":
        return _cosine(1.0, schedule.final_factor, step / total)
    if schedule.kind == "one_cycle":
        return _one_cycle(schedule, step, total)
    return 1.0


def falls(schedule: Schedule, losses: Sequence[float]) -> int:
    """How often the rate falls over epochs of a phase with these losses on the validation pictures; 0 but of `plateau`.

    As torch's ReduceLROnPlateau with its defaults. An epoch is bad whose loss is not below (1 - plateau_threshold)
    times the best one. With more than `plateau_patience` of them in a row the rate falls, and they are counted anew
    (mode "min", threshold_mode "rel", no cooldown, no least rate). Torch leaves out what would lower a rate by less
    than 1e-8, its `eps`; here it falls however small it is.
    """
    if schedule.kind != "plateau":
        return 0
    best, bad, fallen = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - schedule.plateau_threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > schedule.plateau_patience:
            bad, fallen = 0, fallen + 1
    return fallen


def _power(gamma: float, times: int) -> float:
    try:
        return gamma**times
    except OverflowError:  # of a gamma above 1: the loss will say so
        return math.inf


def _one_cycle(schedule: Schedule, step: int, total: int) -> float:
    low, peak = 1 / schedule.div_factor, schedule.pct_start * total - 1
    if step <= peak:
        return _cosine(low, 1.0, step / peak) if peak > 0 else 1.0
    return _cosine(1.0, low / schedule.final_div_factor, (step - peak) / (total - 1 - peak))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
