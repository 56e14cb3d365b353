"""What parts of a recipe do not go with pictures of several labels."""

from __future__ import annotations

from xfer.data.columns import Task
from xfer.errors import ConfigError


def refuse_several(task: Task, what: str) -> None:
    """Raises ConfigError for pictures with any number of labels, which `what` knows nothing of."""
    if task == "multilabel":
        raise ConfigError(f"{what}: data.task = 'multilabel' has no accuracy to show. Cure: single runs, xfer compare")


def refuse_unfit(task: Task, sampler: str) -> None:
    """Raises ConfigError."""
    if task == "multilabel" and sampler == "balanced":
        raise ConfigError(
            "train.sampler = 'balanced': with data.task = 'multilabel' a picture has no single class to be drawn for. "
            "Cure: loss.class_weights = 'balanced', or leave it out"
        )
