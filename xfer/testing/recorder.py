"""Write down everything that crosses the seam, so that two runs can be compared as workflows.

`recorder_a.trace == recorder_b.trace` says: the same calls in the same order, with the same batches, rates and
weights. What a framework computes differs from another's in the last digits, so an array that came out of the backend
is written down by where it came from, and any other array by its bits:

- a row of features by the picture it was computed from, so a batch from the feature cache names its pictures;
- weights and optimizer state by the export they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import LOGITS
from xfer.arrays import Float32, Weights
from xfer.backend import (
    Backend,
    Batch,
    Lazy,
    LossName,
    Model,
    NetworkSpec,
    OptimizerSpec,
    ParamGroups,
    PredictStep,
    TrainStep,
)
from xfer.testing.delegate import Delegate

Array = NDArray[Any]
Call = dict[str, Any]
"""`call`: the method; the rest: its arguments as plain data. Models and steps are numbered as they are made."""


def digest(array: Array) -> str:
    """16 hexadecimal digits over dtype, shape and bytes."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _plain_groups(groups: ParamGroups) -> dict[str, Any]:
    trainable = [asdict(group) for group in groups.trainable]
    return {"trainable": trainable, "frozen": sorted(groups.frozen), "updating": sorted(groups.updating)}


class Origins:
    """What an array is called: by its bits, unless these came out of the backend."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def given(self, array: Array) -> str:
        """The name of an array that goes into the backend."""
        bits = digest(array)
        return self._known.setdefault(bits, bits)

    def came_out(self, array: Array, name: str) -> None:
        self._known.setdefault(digest(array), name)

    def rows(self, inputs: Array) -> str:
        """The name of a batch: that of its pictures, in their order."""
        names = " ".join(self.given(row) for row in inputs)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def computed(self, outputs: Array, inputs: Array) -> None:
        for out, row in zip(outputs, inputs, strict=True):
            self.came_out(out, self.given(row))


class Recorder(Delegate):
    """A backend that passes every call on and keeps `trace`, a list of calls as plain data.

    Neither devices nor versions are written down, nor is what the backend answers.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.trace: list[Call] = []
        self.origins = Origins()
        self._models: list[Model] = []
        self._filled: set[int] = set()
        self._made = 0

    def record(self, call: str, **arguments: Any) -> None:
        self.trace.append({"call": call, **arguments})

    def _number(self, model: Model) -> int:
        return next(i for i, known in enumerate(self._models) if known is model)

    def _next(self) -> int:
        self._made += 1
        return self._made - 1

    def build(self, spec: NetworkSpec, device: str) -> Model:
        self.record("build", spec={**vars(spec), "graph": spec.graph.digest()})
        self._models.append(self.inner.build(spec, device))
        return self._models[-1]

    def export_weights(self, model: Model) -> Weights:
        number = self._next()
        self.record("export_weights", model=self._number(model), export=number)
        weights = self.inner.export_weights(model)
        # What a model is born with is of no account, and may be zeros that the core then imports for itself.
        if self._number(model) in self._filled:
            for name, array in weights.items():
                self.origins.came_out(array, f"export {number}: {name}")
        return weights

    def import_weights(self, model: Model, weights: Mapping[str, Float32]) -> None:
        names = {name: self.origins.given(weights[name]) for name in sorted(weights)}
        self.record("import_weights", model=self._number(model), weights=names)
        self._filled.add(self._number(model))
        self.inner.import_weights(model, weights)

    def make_train_step(
        self, model: Model, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        number = self._next()
        plain = {"optimizer": asdict(optimizer), "loss": loss, "groups": _plain_groups(groups)}
        self.record("make_train_step", step=number, model=self._number(model), start=start, cut=cut, **plain)
        return _RecordedTrainStep(self, number, self.inner.make_train_step(model, optimizer, loss, groups, start, cut))

    def make_predict_step(self, model: Model, start: str, stop: str) -> PredictStep:
        number = self._next()
        self.record("make_predict_step", step=number, model=self._number(model), start=start, stop=stop)
        inner = self.inner.make_predict_step(model, start, stop)

        def predict(inputs: Array) -> Float32:
            self.record("predict", step=number, inputs=self.origins.rows(inputs))
            outputs = inner(inputs)
            if stop != LOGITS:
                self.origins.computed(outputs, inputs)
            return outputs

        return predict


class _RecordedTrainStep:
    def __init__(self, recorder: Recorder, number: int, inner: TrainStep) -> None:
        self.recorder, self.number, self.inner = recorder, number, inner

    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        plain = [
            {
                "inputs": self.recorder.origins.rows(part.inputs),
                "targets": digest(part.targets),
                "factors": digest(part.factors),
                "masks": {node: digest(mask) for node, mask in part.masks.items()},
            }
            for part in parts
        ]
        self.recorder.record("train", step=self.number, lrs=[float(lr) for lr in lrs], parts=plain)
        return self.inner(parts, lrs)

    def export_state(self) -> dict[str, Array]:
        number = self.recorder._next()
        self.recorder.record("export_state", step=self.number, export=number)
        state = self.inner.export_state()
        for key, array in state.items():
            self.recorder.origins.came_out(array, f"export {number}: {key}")
        return state

    def import_state(self, state: Mapping[str, Array]) -> None:
        names = {key: self.recorder.origins.given(state[key]) for key in sorted(state)}
        self.recorder.record("import_state", step=self.number, state=names)
        self.inner.import_state(state)
