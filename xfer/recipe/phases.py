"""The phases of a recipe as they will be run, with nothing left out."""

from __future__ import annotations

from dataclasses import dataclass

from xfer.nets.freeze import NormStats
from xfer.recipe.recipe import Phase, Recipe
from xfer.recipe.strategies import parts_of


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as it will be run, in the order of the recipe: its `number` and its `first_epoch` count from 0."""

    number: int
    first_epoch: int
    epochs: int
    train_from: str
    norm_stats: NormStats
    lr: float
    head_lr_mult: float

    @property
    def end(self) -> int:
        """The first epoch behind it."""
        return self.first_epoch + self.epochs


def plan(recipe: Recipe) -> tuple[PlannedPhase, ...]:
    """The phases with nothing left out; a recipe that names none is one phase. Stages are not looked at."""
    train, optimizer = recipe.train, recipe.optimizer
    phases = recipe.phases or _phases_by_name(recipe) or (Phase(epochs=train.epochs),)
    return tuple(
        PlannedPhase(
            number=number,
            first_epoch=sum(earlier.epochs for earlier in phases[:number]),
            epochs=phase.epochs,
            train_from=phase.train_from or train.train_from,
            norm_stats=phase.norm_stats or train.norm_stats,
            lr=optimizer.lr if phase.lr is None else phase.lr,
            head_lr_mult=optimizer.head_lr_mult if phase.head_lr_mult is None else phase.head_lr_mult,
        )
        for number, phase in enumerate(phases)
    )


def _phases_by_name(recipe: Recipe) -> tuple[Phase, ...]:
    if (strategy := recipe.train.strategy) is None:
        return ()
    parts = parts_of(strategy, recipe.train.epochs, recipe.optimizer.lr)
    return tuple(Phase(epochs=part.epochs, train_from=part.train_from, lr=part.lr) for part in parts)


def epochs(recipe: Recipe) -> int:
    """Of all phases together."""
    return plan(recipe)[-1].end
