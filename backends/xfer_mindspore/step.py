"""One optimisation step, and inference between two boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.api import _pynative_executor
from numpy.typing import NDArray

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.backend import Batch, Lazy, LossName, OptimizerSpec, ParamGroups
from xfer.errors import BackendError
from xfer.graphs.parts import boundaries, part_of
from xfer_mindspore.layers import ONE_VALUE
from xfer_mindspore.network import MASKED, Model, Rest, compiled, network_of
from xfer_mindspore.optim import Numbers, Update, scalars


class TrainStep:
    """Implements `xfer.backend.TrainStep`.

    least   the work from which gradients are computed by a graph: the numbers that enter them times the nodes behind;
            0: all else is computed by graphs too
    """

    def __init__(
        self, model: Model, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str,
        *, least: float,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.groups, self.least, self.steps = model, optimizer, groups, least, 0
        self.numbers = Numbers()
        # Not compiled: of 62 weights that takes 3 s, and then no less time than one by one.
        self.update = Update(optimizer, groups, model.parameters)
        self.rest = Rest(model, start, cut, least == 0)  # the very computation that a boundary cache keeps
        first = _first(model, groups, cut)
        self.before, self.behind = Moving(model, groups, cut, first), Moving(model, groups, first, LOGITS)
        self.enter = compiled(self.before.network) if least == 0 else self.before.network
        weights = ms.ParameterTuple([model.parameters[name] for name in groups.trainable_names])
        self.gradient = ms.value_and_grad(_forward(self.behind.network, loss), None, weights, has_aux=True)
        self.graph = ms.jit(self.gradient)  # compiled for each shape of batches when it comes first

    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        numbers = self.numbers.of(scalars(self.optimizer, self.groups, lrs, self.steps + 1))
        self.model.changed(self.groups.moving)  # also by a step that fails halfway
        results, total = list[tuple[Tensor, Tensor]](), tuple[Tensor, ...]()
        for part in parts:
            result, gradients = self._gradients(part)
            results.append(result)
            total = tuple(a + b for a, b in zip(total, gradients, strict=True)) if total else gradients
        self.update(total, numbers)
        self.steps += 1
        return lambda: (
            sum(float(loss.asnumpy()) for loss, _ in results),
            np.concatenate([logits.asnumpy() for _, logits in results]),
        )

    def _gradients(self, batch: Batch) -> Any:
        try:
            x = self.rest(Tensor(batch.inputs))
            if self.before.nodes:
                x = self.enter(x, *self.before.masks(batch))
            # By the shape alone: a run that is resumed computes every step as the undisturbed one does.
            gradient = self.graph if x.size * len(self.behind.nodes) >= self.least else self.gradient
            return gradient(x, Tensor(batch.targets), Tensor(batch.factors), *self.behind.masks(batch))
        except Exception as error:
            # MindSpore 2.10 keeps what it had recorded for the gradient, and confuses later steps with it.
            _pynative_executor.clear_res()
            if not isinstance(error, ValueError) or ONE_VALUE not in str(error):
                raise
            cure = "another batch size, larger images or frozen statistics"
            raise BackendError(f"batch of {len(batch.inputs)}: {ONE_VALUE}. Cure: {cure}") from error

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


class Moving:
    """A part of the network in training: batch norms whose statistics move follow the batch."""

    def __init__(self, model: Model, groups: ParamGroups, start: str, stop: str) -> None:
        part = part_of(model.graph, start, stop)
        self.nodes = part.nodes
        self.masked = [n.name for n in part.nodes if n.kind in MASKED or n.name == model.graph.head]
        self.network = network_of(model, part, model.parameters, groups.updating, self.masked)

    def masks(self, batch: Batch) -> list[Tensor | None]:
        return [Tensor(batch.masks[name]) if name in batch.masks else None for name in self.masked]


def _first(model: Model, groups: ParamGroups, cut: str) -> str:
    """The last boundary, from `cut` on, with all that needs a gradient behind it."""
    names, trainable = list(boundaries(model.graph)), set(groups.trainable_names)
    first = cut
    for name in names[names.index(cut) : names.index(LOGITS)]:
        nodes = part_of(model.graph, cut, name).nodes
        if any(trainable.intersection(node.weights.values()) for node in nodes):
            break
        first = name
    return first


def _forward(network: nn.Cell, loss: LossName) -> Any:
    """A function of tensors alone, so that it can be compiled."""
    entropy = ops.SoftmaxCrossEntropyWithLogits()

    def softmax(x: Tensor, targets: Tensor, factors: Tensor, *masks: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = network(x, *masks)
        return (entropy(logits, targets)[0] * factors).sum(), logits

    def sigmoid(x: Tensor, targets: Tensor, factors: Tensor, *masks: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = network(x, *masks)
        each = ops.binary_cross_entropy_with_logits(logits, targets, None, None, "none")
        return (each * factors.reshape(factors.shape[0], -1)).sum(), logits

    return softmax if loss == "softmax" else sigmoid


class PredictStep:
    """Implements `xfer.backend.PredictStep`."""

    def __init__(self, model: Model, start: str, stop: str, graph: bool) -> None:
        self.run = Rest(model, start, stop, graph)

    def __call__(self, inputs: NDArray[Any]) -> Float32:
        return self.run(Tensor(inputs)).asnumpy().copy()
