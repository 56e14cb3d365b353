"""One optimisation step, and inference between two boundaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.common.api import _pynative_executor
from numpy.typing import NDArray

from xfer.archs import norm_layers
from xfer.arrays import Float32, Int64
from xfer.backend import Batch, Lazy, LossSpec, OptimizerSpec, ParamGroups
from xfer.errors import BackendError
from xfer_mindspore.fold import Folded
from xfer_mindspore.graph import Compiled
from xfer_mindspore.layers import ONE_VALUE, Scope
from xfer_mindspore.network import Model, Network
from xfer_mindspore.optim import Numbers, Scalars, Update, scalars


class TrainStep:
    """Implements `xfer.backend.TrainStep`."""

    def __init__(
        self, model: Model, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str, graph: bool
    ) -> None:
        self.model, self.optimizer, self.loss, self.groups, self.steps = model, optimizer, loss, groups, 0
        self.numbers = Numbers(graph)
        self.update = Update(optimizer, groups, model.parameters)
        self.moving = groups.moving
        self.before = _before(model, groups, start, graph)
        self.run = _step(model, groups, self.update)
        if graph:
            # MindSpore 2.10 fails on the gradient of a ResNet's stem in a graph for any size.
            whole = model.arch.first_stage(groups.trainable_names) == model.arch.stage_names[0]
            self.run = ms.jit(self.run) if whole else Compiled(self.run)

    def __call__(self, batch: Batch, lrs: Sequence[float]) -> Lazy:
        keep = None if batch.keep is None else Tensor(batch.keep)
        targets, factors = map(Tensor, loss_targets(self.loss, batch.labels, self.model.spec.num_classes))
        numbers = self.numbers.of(scalars(self.optimizer, self.groups, lrs, self.steps + 1))
        inputs = Tensor(batch.inputs)
        self.model.changed(self.moving)  # also by a step that fails halfway
        try:
            for part in self.before:
                inputs = part(inputs)
            loss, logits = self.run(inputs, targets, factors, keep, numbers)
        except Exception as error:
            # MindSpore 2.10 keeps what it had recorded for the gradient, and confuses later steps with it.
            _pynative_executor.clear_res()
            if not isinstance(error, ValueError) or ONE_VALUE not in str(error):
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


def loss_targets(loss: LossSpec, labels: Int64, classes: int) -> tuple[Float32, Float32]:
    """Probabilities (N, C), each row's sum 1, and factors (N,): the loss is the sum of factor times cross-entropy.

    The labels are known on the host, so that one fused operator is left to the device, in place of some twenty.
    """
    weights = np.ones(classes) if loss.class_weights is None else np.array(loss.class_weights)
    targets = (1 - loss.label_smoothing) * np.eye(classes)[labels] + loss.label_smoothing / classes
    targets *= weights
    sums = targets.sum(axis=1)
    shares = targets / np.where(sums == 0, 1, sums)[:, None]  # a class of weight 0: a factor of 0
    return shares.astype(np.float32), (sums / weights[labels].sum()).astype(np.float32)


def _before(model: Model, groups: ParamGroups, start: str, graph: bool) -> list[Callable[[Tensor], Tensor]]:
    """What a batch passes before the first stage that needs a gradient, each part at rest but for its statistics."""
    first, cut = (model.arch.first_stage(names) for names in (groups.trainable_names, groups.moving))
    parts: list[Callable[[Tensor], Tensor]] = []
    if start != cut:  # the very computation that a boundary cache keeps
        parts.append(Folded(model, start, cut, graph))
    if cut != first:
        network = Network(_scope(model, groups), model.spec, cut, first)

        def run(inputs: Tensor) -> Tensor:
            return network(inputs)

        # Not `Compiled`: MindSpore 2.10 fails on batch statistics in a graph for any size and without a gradient.
        parts.append(ms.jit(run) if graph else run)
    return parts


def _scope(model: Model, groups: ParamGroups) -> Scope:
    return Scope(model.parameters, frozenset(norm_layers(groups.updating)))


def _step(model: Model, groups: ParamGroups, update: Update) -> Callable[..., tuple[Tensor, Tensor]]:
    """The computation of a step: a function of tensors alone, so that it can be compiled."""
    suffix = Network(_scope(model, groups), model.spec, model.arch.first_stage(groups.trainable_names))
    entropy = ops.SoftmaxCrossEntropyWithLogits()

    def forward(x: Tensor, targets: Tensor, factors: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = suffix(x, keep)
        return (entropy(logits, targets)[0] * factors).sum(), logits

    weights = ms.ParameterTuple([model.parameters[name] for name in groups.trainable_names])
    gradient = ms.value_and_grad(forward, None, weights, has_aux=True)

    def step(
        inputs: Tensor, targets: Tensor, factors: Tensor, keep: Tensor | None, numbers: Scalars
    ) -> tuple[Tensor, Tensor]:
        (value, logits), gradients = gradient(inputs, targets, factors, keep)
        update(gradients, numbers)
        return value, logits

    return step


class PredictStep:
    """Implements `xfer.backend.PredictStep`."""

    def __init__(self, model: Model, start: str, stop: str, graph: bool) -> None:
        self.run = Folded(model, start, stop, graph)

    def __call__(self, inputs: NDArray[Any]) -> Float32:
        return self.run(Tensor(inputs)).asnumpy().copy()
