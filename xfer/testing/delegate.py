"""A backend that passes everything on to another: the base of those that listen in, and of those that break a law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xfer.arrays import Float32, Weights
from xfer.backend import Backend, LossName, Model, NetworkSpec, OptimizerSpec, ParamGroups, PredictStep, TrainStep


class Delegate:
    shares_features = False  # whoever listens in hears every feature computed; one that breaks a law keeps its own

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.name = inner.name
        self.kinds = inner.kinds

    def __getattr__(self, member: str) -> Any:
        """Optional members, such as `native_batches`."""
        if member == "inner":  # not set yet: a copy is being made
            raise AttributeError(member)
        return getattr(self.inner, member)

    def versions(self) -> dict[str, str]:
        return self.inner.versions()

    def devices(self) -> tuple[str, ...]:
        return self.inner.devices()

    def build(self, spec: NetworkSpec, device: str) -> Model:
        return self.inner.build(spec, device)

    def export_weights(self, model: Model) -> Weights:
        return self.inner.export_weights(model)

    def import_weights(self, model: Model, weights: Mapping[str, Float32]) -> None:
        self.inner.import_weights(model, weights)

    def make_train_step(
        self, model: Model, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        return self.inner.make_train_step(model, optimizer, loss, groups, start, cut)

    def make_predict_step(self, model: Model, start: str, stop: str) -> PredictStep:
        return self.inner.make_predict_step(model, start, stop)
