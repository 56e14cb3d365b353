"""From a recipe to all that is settled before the first step: data, network, first weights, groups and loss."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from xfer import freeze, weights
from xfer.archs import Arch, adapted
from xfer.augment import output_size
from xfer.backend import Backend, LossSpec, Model, ModelSpec, ParamGroups, Weights, load_backend, pick_device
from xfer.checkpoint import known_arch
from xfer.data import Dataset, open_dataset
from xfer.errors import ConfigError, WeightsError
from xfer.feature_store import Store, open_store
from xfer.partial import Loaded, partial_merge
from xfer.progress import Progress, silent
from xfer.recipe import PlannedPhase, Recipe
from xfer.sources import balanced_weights


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
    store: Store  # of features, shared with other runs
    loaded: Loaded | None = None  # what partial loading took from the source


def prepare(recipe: Recipe, backend: str | Backend, device: str = "auto", progress: Progress = silent) -> Prepared:
    """Open the data, build the network and give it its first weights. Writes nothing into a run folder."""
    backend = load_backend(backend) if isinstance(backend, str) else backend
    device, store = pick_device(backend, device), open_store()
    changes = recipe.model.layers, recipe.model.extra
    arch = adapted(known_arch(backend, recipe.model.arch), *changes)
    for phase in recipe.plan:
        freeze.stages_from(phase.train_from, arch)
    size = _image_size(recipe)
    loaded = weights.resolve_source(recipe.weights.source, arch.name, progress=progress)
    data = open_data(recipe, progress)
    loss = _loss(recipe, data)
    normalization = _normalization(recipe, arch, loaded[1] if loaded else {})
    spec = ModelSpec(arch.name, len(data.classes), size, *normalization, *changes, recipe.train.precision)
    model = backend.build(spec, device)
    shapes = {name: value.shape for name, value in backend.export_weights(model).items()}
    first, taken = _first_weights(recipe, arch, shapes, loaded[0] if loaded else None)
    backend.import_weights(model, first)
    digest = weights.digest(first)
    groups = tuple(_groups(recipe, phase, arch, shapes) for phase in recipe.plan)
    return Prepared(recipe, backend, device, arch, data, spec, model, shapes, digest, groups, loss, store, taken)


def _first_weights(
    recipe: Recipe, arch: Arch, shapes: dict[str, tuple[int, ...]], loaded: Weights | None
) -> tuple[Weights, Loaded | None]:
    """The weights that training starts from, and what of them partial loading took from the source."""
    if loaded is None:
        return weights.init_weights(shapes, recipe.seed), None
    source = recipe.weights.source
    if broken := [name for name, value in loaded.items() if not np.isfinite(value).all()]:
        rest = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
        raise WeightsError(f"{source}: {broken[0]}{rest} hold values that are not finite. Cure: another file")
    if not recipe.weights.partial:
        head = weights.init_weights({name: shapes[name] for name in arch.head_names}, recipe.seed)
        return weights.merge(shapes, loaded, arch.head_names, head, source), None
    try:
        return partial_merge(shapes, loaded, arch.head_names, weights.init_weights(shapes, recipe.seed))
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None


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
