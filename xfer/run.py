"""One run, from a recipe to its best weights. Start reading here.

recipe -> data -> model -> phases of training -> best weights        (xfer.folder writes them down)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from xfer import freeze, loop, weights
from xfer.archs import LOGITS, Arch
from xfer.augment import output_size
from xfer.backend import (
    Backend,
    LossSpec,
    Model,
    ModelSpec,
    OptimizerSpec,
    ParamGroups,
    Weights,
    load_backend,
    pick_device,
)
from xfer.checkpoint import known_arch
from xfer.data import Dataset, open_dataset
from xfer.errors import ConfigError
from xfer.features import FeatureCache
from xfer.progress import Progress, silent
from xfer.recipe import PlannedPhase, Recipe
from xfer.sources import Source, balanced_weights, open_source

AUTO_VIEWS = 4


@dataclass(frozen=True)
class Prepared:
    """All that is settled before the first step. Whatever a user can get wrong has gone wrong by now."""

    recipe: Recipe
    backend: Backend
    device: str
    arch: Arch
    data: Dataset
    spec: ModelSpec
    model: Model
    shapes: dict[str, tuple[int, ...]]
    source_digest: str  # of the weights that training starts from, the fresh head included
    groups: tuple[ParamGroups, ...]  # of each phase
    loss: LossSpec


def prepare(recipe: Recipe, backend: str | Backend, device: str = "auto", progress: Progress = silent) -> Prepared:
    """Open the data, build the network and give it its first weights. Writes nothing into a run folder."""
    backend = load_backend(backend) if isinstance(backend, str) else backend
    device = pick_device(backend, device)
    arch = known_arch(backend, recipe.model.arch)
    for phase in recipe.plan:
        freeze.stages_from(phase.train_from, arch)
    size = _image_size(recipe)
    loaded = weights.resolve_source(recipe.weights.source, arch.name, progress=progress)
    data = open_data(recipe, progress)
    loss = _loss(recipe, data)
    spec = ModelSpec(arch.name, len(data.classes), size, *_normalization(recipe, arch, loaded[1] if loaded else {}))
    model = backend.build(spec, device)
    shapes = {name: value.shape for name, value in backend.export_weights(model).items()}
    first = weights.init_weights(shapes, recipe.seed)
    if loaded:
        first = weights.merge(shapes, loaded[0], arch.head_names, first, recipe.weights.source)
    backend.import_weights(model, first)
    groups = tuple(_groups(recipe, phase, arch, shapes) for phase in recipe.plan)
    return Prepared(recipe, backend, device, arch, data, spec, model, shapes, weights.digest(first), groups, loss)


@dataclass(frozen=True)
class Fitted:
    """An epoch and the evaluation after it, with the best epoch so far, its evaluation and its weights."""

    epoch: loop.Epoch
    result: loop.Evaluation
    best_epoch: loop.Epoch
    best: loop.Evaluation
    best_weights: Weights
    seconds_features: float  # spent on the boundary cache so far


def fit(p: Prepared, progress: Progress = silent) -> Iterator[Fitted]:
    """Train through all phases, giving each epoch as it ends."""
    digest, first_epoch, seconds = hashlib.sha256(), 0, 0.0
    best: tuple[loop.Epoch, loop.Evaluation, Weights] | None = None
    for number, phase in enumerate(p.recipe.plan):
        caches, training = _phase(p, number, phase, first_epoch, progress)
        seconds += sum(cache.seconds for cache in caches)
        for epoch, result in loop.train(training, first_epoch, number, digest, progress):
            if loop.better(result, best and best[1]):
                epoch = replace(epoch, best=True)
                best = (epoch, result, p.backend.export_weights(p.model))
            assert best is not None, "the first epoch is the best so far"
            yield Fitted(epoch, result, *best, seconds)
        first_epoch += phase.epochs


def _phase(
    p: Prepared, number: int, phase: PlannedPhase, first_epoch: int, progress: Progress
) -> tuple[list[FeatureCache], loop.Training]:
    """The closures of one phase: a fresh step, and batches that enter the network at the freeze boundary."""
    recipe, backend, groups = p.recipe, p.backend, p.groups[number]
    first, cut = p.arch.stage_names[0], freeze.boundary(groups, p.arch)
    views = _views(recipe, frozen_prefix=cut != first)
    train, val = _pictures(p)
    train_start = val_start = first
    caches = []
    if recipe.features.cache and cut != first:
        prefix = backend.make_predict_step(p.model, first, cut)
        val, val_start = FeatureCache(val, p.data.val, prefix, progress).fill([0]), cut
        caches.append(val)
        if views is not None:
            seen = {epoch % views for epoch in range(first_epoch, first_epoch + phase.epochs)}
            train, train_start = FeatureCache(train, p.data.train, prefix, progress).fill(sorted(seen)), cut
            caches.append(train)
    return caches, loop.Training(
        step=backend.make_train_step(p.model, _rule(recipe), p.loss, groups, train_start),
        predict=backend.make_predict_step(p.model, val_start, LOGITS),
        train=train,
        val=val,
        train_labels=p.data.train.labels,
        val_labels=p.data.val.labels,
        lr_mults=tuple(group.lr_mult for group in groups.trainable),
        schedule=recipe.schedule,
        lr=phase.lr,
        epochs=phase.epochs,
        batch_size=recipe.train.batch_size,
        views=views,
        dropout=p.arch.dropout if recipe.model.dropout is None else recipe.model.dropout,
        head_width=p.arch.features,
        seed=recipe.seed,
    )


def _pictures(p: Prepared) -> tuple[Source, Source]:
    said, augment = p.recipe.data, p.recipe.augment
    sides = ((p.data.train, augment.train_transforms), (p.data.val, augment.eval_transforms))
    train, val = (open_source(p.backend, said.pipeline, *side, p.recipe.seed, said.workers) for side in sides)
    return train, val


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


def _views(recipe: Recipe, frozen_prefix: bool) -> int | None:
    views = recipe.train.views
    if isinstance(views, int):
        return views
    return AUTO_VIEWS if views == "auto" and frozen_prefix else None


def _rule(recipe: Recipe) -> OptimizerSpec:
    said = recipe.optimizer
    return OptimizerSpec(said.kind, said.momentum, said.nesterov, said.betas, said.eps, said.clip_norm)


def _loss(recipe: Recipe, data: Dataset) -> LossSpec:
    said, classes = recipe.loss.class_weights, len(data.classes)
    if said == "balanced":
        return LossSpec(recipe.loss.label_smoothing, balanced_weights(data.train.labels, classes))
    if said is not None and len(said) != classes:
        raise ConfigError(f"loss.class_weights has {len(said)} values, expected one for each of {classes} classes")
    return LossSpec(recipe.loss.label_smoothing, said)
