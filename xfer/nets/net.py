"""A network on a device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xfer.archs import LOGITS, Arch
from xfer.arrays import Float32, Weights
from xfer.backend import Backend, LossName, Model, OptimizerSpec, ParamGroups, PredictStep, TrainStep
from xfer.backends import refuse_unknown_kinds
from xfer.capabilities import capability
from xfer.errors import BackendError
from xfer.graphs.graph import Graph
from xfer.graphs.shapes import shapes_of
from xfer.graphs.split import split_at
from xfer.nets.size import refuse_too_large
from xfer.nets.specs import TENSORS, ModelSpec, with_graph

PREDICT_BATCH = 32
"""Pictures at a time in inference on a CPU, where more gain nothing; elsewhere at least."""
MOST_AT_ONCE = 256
ROOM = 1 << 30
"""Bytes of what a layer takes and gives, of all pictures of a batch: no more are needed to fill a device."""


@dataclass(frozen=True)
class Net:
    """What always travels together: a backend, one of its devices, and a network that was built there.

    `arch` is the network with the changes that `spec` asks for; a boundary is the beginning of one of its stages.
    `model` is the backend's own: training and `load` change its weights, and nothing else about a net ever changes.
    """

    backend: Backend
    device: str
    spec: ModelSpec
    arch: Arch
    model: Model

    @property
    def first(self) -> str:
        """The stage that takes pictures."""
        return self.arch.stage_names[0]

    @property
    def boundaries(self) -> tuple[str, ...]:
        """Where the network can be entered or left, in the order of the computation."""
        return (*self.arch.stage_names, LOGITS)

    @property
    def graph(self) -> Graph:
        return self.spec.network.graph

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of every weight and running statistic, by name."""
        return self.graph.weights

    def export(self) -> Weights:
        """Copies of every weight and running statistic."""
        return self.backend.export_weights(self.model)

    def load(self, weights: Mapping[str, Float32]) -> None:
        """Set every weight, by copy. Names and shapes are the caller's to have checked."""
        self.backend.import_weights(self.model, weights)

    def train_step(
        self, optimizer: OptimizerSpec, groups: ParamGroups, start: str | None = None, loss: LossName = "softmax"
    ) -> TrainStep:
        """A fresh step for batches that enter at the boundary `start`, by default the first."""
        start = start or self.first
        cut = self.arch.first_stage(groups.moving, start)
        return self.backend.make_train_step(self.model, optimizer, loss, groups, start, cut)

    def predict_step(self, start: str | None = None, stop: str = LOGITS) -> PredictStep:
        """Inference from one boundary to another, by default from pictures to logits."""
        return self.backend.make_predict_step(self.model, start or self.first, stop)

    def blend(self, other: Net, names: Sequence[str], share: float) -> None:
        """Move weights by a share in [0, 1] of the way to those of another such network, see `Capabilities.blend`."""
        if (own := capability(self.backend, "blend")) is not None:
            own(self.model, other.model, names, share)
            return
        mine, theirs, part = self.export(), other.export(), np.float32(min(share, 1 - share))
        for name in names:
            near, far = (mine, theirs) if share <= 0.5 else (theirs, mine)
            mine[name] = near[name] + part * (far[name] - near[name])
        self.load(mine)

    def predict_batch(self, on_cpu: int = PREDICT_BATCH) -> int:
        """Pictures at a time in inference: as many as fill the device, so that launching kernels does not decide."""
        if self.device == "cpu":
            return on_cpu
        largest = max(math.prod(shape) for shape in shapes_of(self.graph, self.spec.image_size).values())
        return max(PREDICT_BATCH, min(MOST_AT_ONCE, ROOM // (TENSORS * 4 * largest)))

    def native(self) -> Any:
        """The framework's own module over the same weights. Raises BackendError where the backend has none to give."""
        make = capability(self.backend, "native_model")
        if make is None:
            raise BackendError(f"backend '{self.backend.name}' gives no module of its own. Cure: another backend")
        return make(self.model)


def build_net(backend: Backend, device: str, spec: ModelSpec, cuts: Sequence[str] = ()) -> Net:
    """A network with weights of no particular value. `cuts`: where its stages are divided, if it is a graph.

    Raises BackendError where the backend cannot build it, and ConfigError for more weights than there is memory for.
    """
    spec = with_graph(spec, backend)
    refuse_unknown_kinds(backend, spec.arch, spec.network.graph)
    refuse_too_large(spec)
    return Net(
        backend, device, spec, split_at(spec.described, spec.network.graph, cuts), backend.build(spec.network, device)
    )
