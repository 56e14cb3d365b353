"""What a recipe means: phases, data, specs and the groups of weights that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xfer.archs import Arch, Padding
from xfer.backend import Backend, OptimizerSpec, ParamGroups, Precision
from xfer.capabilities import capability
from xfer.data import loader
from xfer.data.columns import AS_USUAL
from xfer.data.dataset import Dataset, open_dataset
from xfer.data.locate import locate
from xfer.data.parts import HeldOut, Parts, find_parts
from xfer.data.split import Fold
from xfer.errors import BackendError, ConfigError, XferError
from xfer.graphs.depth import depths
from xfer.graphs.graph import Graph
from xfer.graphs.split import split_at
from xfer.nets.freeze import FreezePolicy, resolve, stages_from
from xfer.nets.pretrained import normalize_of
from xfer.nets.specs import ModelSpec, known_arch, with_graph
from xfer.pixels.augment import Mixed, is_random, output_size
from xfer.pixels.channels import COLOURS, FOUR, channels_of
from xfer.progress import Progress, silent
from xfer.recipe.load import make_recipe
from xfer.recipe.phases import PlannedPhase, epochs, plan
from xfer.recipe.recipe import Recipe
from xfer.system.download import cache_dir

SMALL = "convnet"  # what trains from random weights in seconds
AUTO_VIEWS = 4
Triple = tuple[float, float, float]


def network(recipe: Recipe, backend: Backend, place: str | None = None) -> Arch:
    """The network, changed as asked. `place`: where its file lies, of one in a file, if not where the recipe says.

    Its stages are divided where a phase begins to train within one.
    Raises BackendError for one that the backend has not, ConfigError for no boundary.
    """
    model = recipe.model
    known, strategy = known_arch(backend, place or model.arch), recipe.train.strategy
    if strategy and (lacking := set(starts(recipe)).difference(known.stage_names)):
        stages = ", ".join(known.stage_names)
        raise ConfigError(
            f"train.strategy = {strategy!r} trains from {min(lacking)}, and {known.name} has {stages}. "
            "Cure: another strategy, or [[phases]] in the recipe"
        )
    if channels_of((*recipe.augment.train_transforms, *recipe.augment.eval_transforms)) != COLOURS:
        raise ConfigError("augment: Channels stands in a list. Cure: data.channels, which puts it there")
    mixed = [t.op for t in (*recipe.augment.train_transforms, *recipe.augment.eval_transforms) if isinstance(t, Mixed)]
    if recipe.data.channels == FOUR and mixed:
        why = "draws what moves pixels and what colours them, and the fourth channel has no colours"
        raise ConfigError(f"data.channels = 4: {mixed[0]} {why}. Cure: operations one by one, or data.channels = 3")
    asked = ModelSpec(model.arch, 1, image_size(recipe), known.mean, known.std, model.layers, model.extra)
    asked = replace(asked, padding=padding(recipe), channels=recipe.data.channels)
    found = with_graph(asked, backend, place)
    arch = split_at(replace(found.described, mean=known.mean, std=known.std), found.network.graph, starts(recipe))
    for start in starts(recipe):
        stages_from(start, arch)
    return arch


def starts(recipe: Recipe) -> tuple[str, ...]:
    """The boundaries at which phases begin to train, each once."""
    return tuple(dict.fromkeys(phase.train_from for phase in plan(recipe)))


def image_size(recipe: Recipe) -> tuple[int, int]:
    """(height, width) in pixels of the pictures that the network sees. Raises ConfigError where they would differ."""
    train, size = (output_size(t) for t in (recipe.augment.train_transforms, recipe.augment.eval_transforms))
    if train != size:
        raise ConfigError(f"augment: training makes pictures of {train}, evaluation of {size}; expected the same size")
    return size


def precision(recipe: Recipe, backend: Backend, device: str) -> Precision:
    """What the network computes in there. Where the recipe leaves it open: `tf32` if the device has it, or `float32`.

    Raises BackendError for one that the backend does not have on that device.
    """
    asked, usable = recipe.train.precision, capability(backend, "precisions")(device)
    if asked == "auto":
        return "tf32" if "tf32" in usable else "float32"
    if asked not in usable:
        raise BackendError(
            f"train.precision = {asked!r}: backend '{backend.name}' has {', '.join(usable)} on {device}. "
            "Cure: one of these, or 'auto'"
        )
    return asked


def as_begun(asked: Recipe, own: Recipe) -> Recipe:
    """What is asked for of a run whose recipe is `own`: one of before `auto` said `float32` where nobody had asked."""
    if asked.train.precision == "auto" and own.train.precision == "float32":
        return asked.model_copy(update={"train": asked.train.model_copy(update={"precision": "float32"})})
    return asked


def model_spec(
    recipe: Recipe, arch: Arch, classes: int, size: tuple[int, int], metadata: Mapping[str, str], precision: Precision
) -> ModelSpec:
    """`metadata` is that of the weights that training starts from."""
    mean, std = _normalization(recipe, arch, metadata)
    model = recipe.model
    spec = ModelSpec(arch.name, classes, size, mean, std, model.layers, model.extra, precision, padding(recipe))
    return replace(spec, fast=recipe.train.fast, channels=recipe.data.channels)


def padding(recipe: Recipe) -> Padding:
    """As the recipe asks; where it leaves that to the weights, as torchvision's are padded."""
    return "symmetric" if recipe.model.padding == "auto" else recipe.model.padding


def _normalization(recipe: Recipe, arch: Arch, metadata: Mapping[str, str]) -> tuple[Triple, Triple]:
    """Mean and std as the recipe says; else as the weights were trained with; else as is usual for the network."""
    if (normalize := recipe.augment.normalize) is not None:
        return normalize.mean, normalize.std
    if (normalize := normalize_of(metadata, recipe.weights.source)) is not None:
        return normalize.mean, normalize.std
    return arch.mean, arch.std


def open_data(
    recipe: Recipe,
    progress: Progress = silent,
    source: str | None = None,
    *,
    held_out: HeldOut = "val",
    whole: bool = False,
) -> Dataset:
    """The data a recipe names, or those in `source`, split and checked as it says.

    `held_out`: the folder that becomes `val`. `whole`: where there are no such folders, nothing is split off.
    """
    data = recipe.data
    found = open_dataset(
        source or data.source,
        val_fraction=None if whole else data.val_fraction,
        held_out=held_out,
        fold=Fold(data.fold, data.folds) if data.fold and data.folds and held_out == "val" and not whole else None,
        seed=recipe.split_seed,
        columns=data.columns or AS_USUAL,
        task=data.task,
        suffixes=data.suffixes,
        on_bad_image=data.on_bad_image,
        on_leak=data.on_leak,
        workers=data.workers,
        depth=data.depth,
        remember=data.cache,
        progress=progress,
    )
    return replace(found, channels=data.channels)


def step_size(recipe: Recipe) -> int:
    """Pictures of one step, but for the last of an epoch."""
    return recipe.train.batch_size * recipe.train.accumulate


def refuse_large_batches(recipe: Recipe, data: Dataset, device: str) -> None:
    """Raises ConfigError where the batches of an epoch, or of a validation, take more memory than there is."""
    size, smaller = recipe.train.batch_size, "train.accumulate" if recipe.train.accumulate > 1 else "train.batch_size"
    for transforms, split, count in (
        (recipe.augment.train_transforms, data.train, step_size(recipe)),
        (recipe.augment.eval_transforms, data.val, size),
    ):
        count, cure = min(count, len(split.labels)), f"a smaller {smaller}, or smaller pictures"
        loader.refuse_large_batches(data.seen(transforms), count, recipe.data.workers, device, cure, size)


def splits_off(recipe: Recipe) -> bool:
    """Whether a recipe's data has no validation split, so that `split_seed` decides; True where nobody can tell."""
    try:
        data = recipe.data
        _, root = locate(data.source, cache_dir(), silent, data.columns or AS_USUAL, data.task)
        return recipe.data.fold is not None or _parts(recipe, root).val is None
    except (XferError, OSError):
        return True


def _parts(recipe: Recipe, root: Path) -> Parts:
    return find_parts(root, recipe.data.columns or AS_USUAL, task=recipe.data.task)


def views(recipe: Recipe, frozen_prefix: bool) -> int | None:
    """How many views of each training picture there are; None: a fresh one each epoch."""
    if not is_random(recipe.augment.train_transforms):
        return 1
    if isinstance(recipe.train.views, int):
        return recipe.train.views
    return AUTO_VIEWS if recipe.train.views == "auto" and frozen_prefix else None


def optimizer_spec(recipe: Recipe) -> OptimizerSpec:
    o = recipe.optimizer
    return OptimizerSpec(o.kind, o.momentum, o.nesterov, o.betas, o.eps, o.clip_norm, o.alpha)


def refuse_rule(recipe: Recipe, backend: Backend) -> None:
    """Raises BackendError for an update rule that the backend does not have."""
    kind, known = recipe.optimizer.kind, capability(backend, "update_rules")
    if kind not in known:
        text = f"optimizer.kind = {kind!r}: backend '{backend.name}' has {', '.join(known)}"
        raise BackendError(f"{text}. Cure: one of these, or another backend")


def groups(recipe: Recipe, phase: PlannedPhase, arch: Arch, graph: Graph) -> ParamGroups:
    """Who moves in a phase, and how fast."""
    o = recipe.optimizer
    policy = FreezePolicy(phase.train_from, phase.norm_stats, phase.head_lr_mult, o.weight_decay, o.decay_norm_and_bias)
    if o.layer_decay != 1:
        policy = replace(policy, layer_decay=o.layer_decay, depths=depths(graph))
    return resolve(policy, arch, list(graph.weights))


def small_from_random(recipe: Recipe) -> Recipe:
    """The same data from random weights: the small network, pictures of 64 pixels, half as many epochs.

    For the demo, where the network of the recipe would take several times as long as the demo itself.
    """
    data = recipe.data.model_dump(mode="json", exclude_none=True)
    train = recipe.train.model_dump(mode="json", include={"batch_size", "accumulate", "precision", "fast"})
    train |= {"epochs": -(-epochs(recipe) // 2)}
    content = {"seed": recipe.seed, "data": data, "train": train, "weights": {"source": "random"}}
    return from_random(make_recipe(content | {"model": {"arch": SMALL}, "augment": {"size": 64}}, {}), "stem")


def from_random(recipe: Recipe, stem: str) -> Recipe:
    """The same data, network and epochs, but everything from the stage `stem` on trained from random weights.

    With Adam and a warm-up, which serve random weights better than what a recipe says for pretrained ones.
    """
    count = epochs(recipe)
    own = {
        "weights.source": "random",
        "weights.head": "auto",
        "train.train_from": stem,
        "train.strategy": None,
        "train.norm_stats": "follow",
        "train.epochs": count,
        "train.patience": None,
        "train.min_delta": 0.0,
        "train.views": "fresh",
        "optimizer.kind": "adam",
        "optimizer.nesterov": False,
        "optimizer.lr": 1e-3,
        "optimizer.layer_decay": 1.0,
        "schedule.kind": "cosine",
        "schedule.warmup_epochs": 0.2 * count,
    }
    return make_recipe(recipe.model_dump(mode="json", exclude_none=True) | {"phases": []}, own)
