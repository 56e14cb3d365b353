"""Where the phases of a run end, which may be before their epochs are over: told by its figures so far alone.

Whoever goes on with a run, or reads one, comes to the same end by the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xfer.recipe.phases import PlannedPhase, plan
from xfer.recipe.recipe import Recipe

Figures = tuple[float, float]
"""Accuracy and mean loss on the validation pictures, after an epoch."""


def phases_of(recipe: Recipe, figures: Sequence[Figures]) -> tuple[PlannedPhase, ...]:
    """The phases as a run that has these figures so far goes through them: one that ends early has fewer epochs.

    It ends itself alone. The next one has other weights to train, other rates, and a count of its own.
    """
    planned, patience = plan(recipe), recipe.train.patience
    if patience is None:
        return planned
    phases, first = list[PlannedPhase](), 0
    for phase in planned:
        own = figures[first : first + phase.epochs]
        epochs = patient_epochs(own, patience, recipe.train.min_delta) or phase.epochs
        phases.append(replace(phase, first_epoch=first, epochs=epochs))
        first += epochs
    return tuple(phases)


def ended_early(recipe: Recipe, figures: Sequence[Figures]) -> list[tuple[int, int]]:
    """Each phase that has ended early, counted from 1, and the epoch of the run after which it did."""
    pairs = zip(plan(recipe), phases_of(recipe, figures), strict=True)
    return [(phase.number + 1, phase.end) for planned, phase in pairs if phase.epochs < planned.epochs]


def patient_epochs(figures: Sequence[Figures], patience: int, min_delta: float) -> int | None:
    """After how many epochs the last gain lies `patience` epochs back; None: it does not yet.

    A gain is over the epoch of the last gain: a higher accuracy, by more than `min_delta`; or one that is no lower,
    with a loss that is lower by more than that. Where `min_delta` is 0 it is what makes an epoch the best.
    """
    best, at = figures[0] if figures else (0.0, 0.0), 0
    for place, (accuracy, loss) in enumerate(figures):
        if accuracy > best[0] + min_delta or (accuracy >= best[0] and loss < best[1] - min_delta):
            best, at = (accuracy, loss), place
        if place - at == patience:
            return place + 1
    return None
