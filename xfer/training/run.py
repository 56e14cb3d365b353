"""One run, from a recipe to its best weights. Start reading here.

recipe -> data -> model -> phases of training -> best weights

What is settled before the first step is in `prepare`, a phase's closures in `phases`, the loop in `loop`; `record`
writes down what happens here, and `write` what is left at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from xfer.arrays import Weights
from xfer.metrics import Evaluation
from xfer.progress import Progress, silent
from xfer.recipe.meaning import open_data
from xfer.training import loop
from xfer.training.phases import open_phase
from xfer.training.prepare import Prepared, prepare
from xfer.training.state import Standing, State, capture, restore

__all__ = ["Fitted", "Prepared", "Stepped", "boundaries", "fit", "open_data", "prepare"]


@dataclass(frozen=True)
class Stepped:
    """A step was done inside an epoch. `state` waits for the device and copies what a resumed run needs."""

    state: Callable[[], State]


@dataclass(frozen=True)
class Fitted:
    """An epoch and the evaluation after it, with the best epoch so far, its evaluation and its weights."""

    epoch: loop.Epoch
    result: Evaluation
    best_epoch: loop.Epoch
    best: Evaluation
    best_weights: Weights
    seconds_features: float  # spent on the boundary cache so far
    state: Callable[[], State]  # as of Stepped, until the next step


def fit(p: Prepared, progress: Progress = silent) -> Iterator[Fitted]:
    """Train through all phases, giving each epoch as it ends."""
    return (event for event in boundaries(p, progress) if isinstance(event, Fitted))


def boundaries(p: Prepared, progress: Progress = silent, start: State | None = None) -> Iterator[Stepped | Fitted]:
    """Train through all phases, with a halt after each step and each epoch.

    From `start` on, what follows is what would have followed then. One that is at the end gives its last epoch again.
    """
    standing = restore(p.backend, p.model, start, p.data.val.labels) if start else Standing()
    point, first_epoch, names = start.point if start else loop.Point(), 0, set[str]()
    if start and start.point.epoch == sum(phase.epochs for phase in p.recipe.plan):
        yield _fitted(standing, partial(_same, start))
    for number, phase in enumerate(p.recipe.plan):
        names |= {*p.groups[number].trainable_names, *p.groups[number].updating}
        if point.epoch < first_epoch + phase.epochs:
            caches, training = open_phase(p, number, phase, first_epoch, progress)
            seconds = standing.seconds_features + sum(cache.seconds for cache in caches)
            standing = replace(standing, seconds_features=seconds)
            if start and (point.epoch, point.step) > (first_epoch, 0):
                training.step.import_state(start.optimizer)
            start = None
            snapshot = partial(capture, p.backend, p.model, training.step, sorted(names))
            training = replace(training, loss=p.loss)
            for event in loop.train(training, first_epoch, number, point, progress):
                if isinstance(event, loop.Tally):
                    yield Stepped(partial(_now, snapshot, standing, event))
                else:
                    epoch, result, point = event
                    standing = standing.after(epoch, result, partial(p.backend.export_weights, p.model))
                    yield _fitted(standing, partial(snapshot, standing, point))
        first_epoch += phase.epochs


def _now(snapshot: Callable[[Standing, loop.Point], State], standing: Standing, tally: loop.Tally) -> State:
    return snapshot(standing, tally.point())


def _same(state: State) -> State:
    return state


def _fitted(standing: Standing, state: Callable[[], State]) -> Fitted:
    assert standing.last is not None, "an epoch has ended"
    assert standing.best is not None, "the first epoch is the best so far"
    best_epoch = [epoch for epoch in standing.history if epoch.best][-1]
    best = best_epoch, standing.best, dict(standing.best_weights)
    return Fitted(standing.history[-1], standing.last, *best, standing.seconds_features, state)
