"""A network on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xfer.archs import LOGITS, Arch
from xfer.arrays import Float32, Weights
from xfer.backend import Backend, LossSpec, Model, ModelSpec, OptimizerSpec, ParamGroups, PredictStep, TrainStep
from xfer.capabilities import capability
from xfer.errors import BackendError
from xfer.nets.size import refuse_too_large
from xfer.nets.specs import with_graph


@dataclass(frozen=True)
class Net:
    """What always travels together: a backend, one of its devices, and a network that was built there.

    `arch` is the network with the changes that `spec` asks for. `model` is the backend's own: training and `load`
    change its weights, and nothing else about a net ever changes.
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

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every weight and running statistic, by name."""
        return {name: array.shape for name, array in self.export().items()}

    def export(self) -> Weights:
        """Copies of every weight and running statistic."""
        return self.backend.export_weights(self.model)

    def load(self, weights: Mapping[str, Float32]) -> None:
        """Set every weight, by copy. Names and shapes are the caller's to have checked."""
        self.backend.import_weights(self.model, weights)

    def train_step(
        self, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str | None = None
    ) -> TrainStep:
        """A fresh step for batches that enter at the stage `start`, by default the first."""
        return self.backend.make_train_step(self.model, optimizer, loss, groups, start or self.first)

    def predict_step(self, start: str | None = None, stop: str = LOGITS) -> PredictStep:
        """Inference from one boundary to another, by default from pictures to logits."""
        return self.backend.make_predict_step(self.model, start or self.first, stop)

    def native(self) -> Any:
        """The framework's own module over the same weights. Raises BackendError where the backend has none to give."""
        make = capability(self.backend, "native_model")
        if make is None:
            raise BackendError(f"backend '{self.backend.name}' gives no module of its own. Cure: another backend")
        return make(self.model)


def build_net(backend: Backend, device: str, spec: ModelSpec) -> Net:
    """A network with weights of no particular value.

    Raises BackendError where the backend cannot build it, and ConfigError for more weights than there is memory for.
    """
    spec = with_graph(spec, backend.archs)
    refuse_too_large(backend.archs, spec)
    return Net(backend, device, spec, spec.adapted(backend.archs), backend.build(spec, device))
