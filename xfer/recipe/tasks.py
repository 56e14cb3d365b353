"""What parts of a recipe do not go with pictures of several labels."""

from __future__ import annotations

from xfer.data.columns import Task
from xfer.errors import ConfigError


def refuse_unfit(task: Task, sampler: str) -> None:
    """Raises ConfigError."""
    if task == "multilabel" and sampler == "balanced":
        raise ConfigError(
            "train.sampler = 'balanced': with data.task = 'multilabel' a picture has no single class to be drawn for. "
            "Cure: loss.class_weights = 'balanced', or leave it out"
        )
