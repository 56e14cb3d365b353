"""One optimisation step, and inference between two boundaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype
from numpy.typing import NDArray

from xfer.archs import ARCHS, norm_layers
from xfer.backend import Batch, Float32, Lazy, LossSpec, ModelSpec, OptimizerSpec, ParamGroups
from xfer.errors import BackendError
from xfer_mindspore.layers import ONE_VALUE, Scope
from xfer_mindspore.network import Network
from xfer_mindspore.optim import Scalars, Update, scalars


@dataclass(frozen=True)
class Model:
    """A specification and the parameters by canonical name; networks over them are made as they are needed."""

    spec: ModelSpec
    parameters: dict[str, Parameter]


def first_trainable(arch: str, names: Sequence[str]) -> str:
    """The first stage that holds one of the weights. What lies before it needs no gradient."""
    stages = ARCHS[arch].stage_names
    return min((ARCHS[arch].stage_of(name) for name in names), key=stages.index)


class TrainStep:
    """Implements `xfer.backend.TrainStep`."""

    def __init__(
        self, model: Model, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str, graph: bool
    ) -> None:
        self.optimizer, self.groups, self.steps = optimizer, groups, 0
        self.update = Update(optimizer, groups, model.parameters)
        step = _step(model, loss, groups, start, self.update)
        self.run = ms.jit(step) if graph else step

    def __call__(self, batch: Batch, lrs: Sequence[float]) -> Lazy:
        keep = None if batch.keep is None else Tensor(batch.keep)
        labels = Tensor(batch.labels.astype(np.int32))
        numbers = scalars(self.optimizer, self.groups, lrs, self.steps + 1)
        try:
            loss, logits = self.run(Tensor(batch.inputs), labels, keep, numbers)
        except ValueError as error:
            if ONE_VALUE not in str(error):
                raise
            cure = "another batch size, larger images or frozen statistics"
            raise BackendError(f"batch of {len(batch.labels)}: {ONE_VALUE}. Cure: {cure}") from error
        self.steps += 1
        return lambda: (float(loss.asnumpy()), logits.asnumpy().copy())

    def export_state(self) -> dict[str, NDArray[Any]]:
        step = {"step": np.array(self.steps, np.int64)}
        if self.steps == 0:
            return step
        return {key: slot.asnumpy().copy() for key, slot in self.update.state.items()} | step

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        slots = self.update.state
        steps = int(state["step"])
        missing = [key for key in slots if steps and key not in state]
        if missing:
            raise BackendError(f"optimizer state lacks {len(missing)} of {len(slots)} slots, first {missing[0]!r}")
        for key, slot in slots.items():
            ops.assign(slot, Tensor(state[key] if steps else np.zeros(slot.shape, np.float32)))
        self.steps = steps


def _step(
    model: Model, loss: LossSpec, groups: ParamGroups, start: str, update: Update
) -> Callable[..., tuple[Tensor, Tensor]]:
    """The computation of a step: a function of tensors alone, so that it can be compiled."""
    scope = Scope(model.parameters, frozenset(norm_layers(groups.updating)))
    first = first_trainable(model.spec.arch, groups.trainable_names)
    prefix = Network(scope, model.spec, start, first)
    suffix = Network(scope, model.spec, first)
    class_weights = None if loss.class_weights is None else Tensor(loss.class_weights, mstype.float32)
    criterion = nn.CrossEntropyLoss(class_weights, label_smoothing=loss.label_smoothing)

    def forward(x: Tensor, labels: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = suffix(x, keep)
        return criterion(logits, labels), logits

    weights = ms.ParameterTuple([model.parameters[name] for name in groups.trainable_names])
    gradient = ms.value_and_grad(forward, None, weights, has_aux=True)

    def step(inputs: Tensor, labels: Tensor, keep: Tensor | None, numbers: Scalars) -> tuple[Tensor, Tensor]:
        (value, logits), gradients = gradient(prefix(inputs), labels, keep)
        update(gradients, numbers)
        return value, logits

    return step


class PredictStep:
    """Implements `xfer.backend.PredictStep`."""

    def __init__(self, model: Model, start: str, stop: str, graph: bool) -> None:
        network = Network(Scope(model.parameters), model.spec, start, stop)

        def run(inputs: Tensor) -> Tensor:
            return network(inputs)

        self.run = ms.jit(run) if graph else run

    def __call__(self, inputs: NDArray[Any]) -> Float32:
        return self.run(Tensor(inputs)).asnumpy().copy()
