"""From a recipe to all that is settled before the first step: data, network, first weights, groups and loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfer.archs import Arch, adapted
from xfer.arrays import Weights
from xfer.backend import Backend, LossSpec, Model, ModelSpec, ParamGroups
from xfer.backends import known_arch, load_backend, pick_device
from xfer.data.dataset import Dataset
from xfer.errors import WeightsError
from xfer.features.store import Store, open_store
from xfer.formats.files import digest
from xfer.nets import freeze, weights
from xfer.nets.partial import Loaded, partial_merge
from xfer.nets.pretrained import resolve_source
from xfer.progress import Progress, silent
from xfer.recipe.meaning import _groups, _image_size, _loss, _normalization, open_data
from xfer.recipe.recipe import Recipe


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
    loaded = resolve_source(recipe.weights.source, arch.name, progress=progress)
    data = open_data(recipe, progress)
    loss = _loss(recipe, data)
    normalization = _normalization(recipe, arch, loaded[1] if loaded else {})
    spec = ModelSpec(arch.name, len(data.classes), size, *normalization, *changes, recipe.train.precision)
    model = backend.build(spec, device)
    shapes = {name: value.shape for name, value in backend.export_weights(model).items()}
    first, taken = _first_weights(recipe, arch, shapes, loaded[0] if loaded else None)
    backend.import_weights(model, first)
    source_digest = digest(first)
    groups = tuple(_groups(recipe, phase, arch, shapes) for phase in recipe.plan)
    return Prepared(recipe, backend, device, arch, data, spec, model, shapes, source_digest, groups, loss, store, taken)


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
