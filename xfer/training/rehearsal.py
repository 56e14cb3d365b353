"""A batch of one picture, tried before the first step: it comes last in an epoch, when much work would be lost."""

from __future__ import annotations

import numpy as np

from xfer.backend import Batch, ParamGroups
from xfer.errors import BackendError, ConfigError
from xfer.losses import targets_of
from xfer.recipe import meaning
from xfer.recipe.phases import plan
from xfer.training.prepared import Prepared


def refuse_lone_picture(p: Prepared) -> None:
    """Raises ConfigError where a batch of an epoch is one picture, and a norm layer has no variance to take from it.

    Whether it has depends on the size of the layer's maps, which the backend alone knows: it makes the step, on a
    black picture with rates of 0. The weights are afterwards what they were.
    """
    size, count = p.recipe.train.batch_size, len(p.data.train.labels)
    if not _leaves_one(count, size):
        return
    for phase, groups in zip(plan(p.recipe), p.groups, strict=True):
        if groups.updating and not _can_step(p, groups):
            where = f" in phase {phase.number + 1}" if len(p.groups) > 1 else ""
            cure = f"train.batch_size = {_nearest(count, size)}, a larger augment.size, or train.norm_stats = 'freeze'"
            raise ConfigError(
                f"train.batch_size = {size}: of {count} training pictures one is left for a batch of its own, and the "
                f"norm layers trained{where} have one value per channel of it, which has no variance. Cure: {cure}"
            )


def _leaves_one(count: int, size: int) -> bool:
    return size == 1 or count % size == 1


def _nearest(count: int, size: int) -> int:
    """The batch size next to `size`, smaller ones first, that leaves no picture alone."""
    candidates = sorted(range(2, count + 1), key=lambda candidate: (abs(candidate - size), candidate))
    return next(candidate for candidate in candidates if not _leaves_one(count, candidate))


def _can_step(p: Prepared, groups: ParamGroups) -> bool:
    before = p.net.export()
    step = p.net.train_step(meaning.optimizer_spec(p.recipe), groups, loss=p.loss.kind)
    picture = np.zeros((1, *p.net.spec.image_size, p.net.graph.channels), np.uint8)
    targets, factors = targets_of(p.loss, np.zeros_like(p.data.train.labels[:1]), p.net.spec.num_classes)
    try:
        step([Batch(picture, targets, factors)], [0.0] * len(groups.trainable))
    except BackendError:
        return False
    finally:
        p.net.load(before)
    return True
