"""What a recipe means: from its sections to data, sizes, losses, groups of weights and rules of updating."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import Arch
from xfer.arrays import Int64
from xfer.backend import LossSpec, OptimizerSpec, ParamGroups
from xfer.data.dataset import Dataset, open_dataset
from xfer.errors import ConfigError
from xfer.nets import freeze
from xfer.pixels.augment import output_size
from xfer.progress import Progress, silent
from xfer.recipe.recipe import PlannedPhase, Recipe

AUTO_VIEWS = 4


def _views(recipe: Recipe, frozen_prefix: bool) -> int | None:
    views = recipe.train.views
    if isinstance(views, int):
        return views
    return AUTO_VIEWS if views == "auto" and frozen_prefix else None


def _rule(recipe: Recipe) -> OptimizerSpec:
    said = recipe.optimizer
    return OptimizerSpec(said.kind, said.momentum, said.nesterov, said.betas, said.eps, said.clip_norm)


def _image_size(recipe: Recipe) -> tuple[int, int]:
    train, size = (output_size(t) for t in (recipe.augment.train_transforms, recipe.augment.eval_transforms))
    if train != size:
        raise ConfigError(f"augment: training makes pictures of {train}, evaluation of {size}; expected the same size")
    return size


def open_data(recipe: Recipe, progress: Progress = silent, source: str | None = None) -> Dataset:
    """The data a recipe names, or those in `source`, split and checked as it says."""
    said = recipe.data
    return open_dataset(
        source or said.source,
        val_fraction=said.val_fraction,
        seed=recipe.seed,
        suffixes=said.suffixes,
        on_bad_image=said.on_bad_image,
        on_leak=said.on_leak,
        workers=said.workers,
        progress=progress,
    )


Triple = tuple[float, float, float]


def _normalization(recipe: Recipe, arch: Arch, metadata: dict[str, str]) -> tuple[Triple, Triple]:
    """Mean and std as the recipe says; else as the weights were trained with; else as is usual for the network."""
    if (said := recipe.augment.normalize) is not None:
        return said.mean, said.std
    if "mean" in metadata and "std" in metadata:
        mean, std = (json.loads(metadata[key]) for key in ("mean", "std"))
        return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
    return arch.mean, arch.std


def _groups(recipe: Recipe, phase: PlannedPhase, arch: Arch, shapes: dict[str, tuple[int, ...]]) -> ParamGroups:
    optimizer = recipe.optimizer
    policy = freeze.FreezePolicy(
        phase.train_from,
        phase.norm_stats,
        phase.head_lr_mult,
        optimizer.weight_decay,
        optimizer.decay_norm_and_bias,
    )
    return freeze.resolve(policy, arch, list(shapes))


def _loss(recipe: Recipe, data: Dataset) -> LossSpec:
    said, classes = recipe.loss.class_weights, len(data.classes)
    if said == "balanced":
        return LossSpec(recipe.loss.label_smoothing, balanced_weights(data.train.labels, classes))
    if said is not None and len(said) != classes:
        raise ConfigError(f"loss.class_weights has {len(said)} values, expected one for each of {classes} classes")
    return LossSpec(recipe.loss.label_smoothing, said)


def balanced_weights(labels: Int64, classes: int) -> tuple[float, ...]:
    """Class weights inverse to the counts, with a mean of 1 over the samples: n / (classes * count)."""
    counts: NDArray[Any] = np.bincount(labels, minlength=classes)
    return tuple(float(w) for w in len(labels) / (classes * counts))
