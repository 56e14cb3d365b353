"""One training step: forward, loss, gradients, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.backend import Batch, Lazy, LossName, OptimizerSpec, ParamGroups
from xfer.errors import BackendError
from xfer.graphs.parts import part_of
from xfer_torch.network import Network, Program, Resting, laid_out
from xfer_torch.optim import FUSED, SLOTS, optimizer_of
from xfer_torch.transfer import fetched

SCALE = 2.0**16  # of the loss in float16, at first: torch halves it at an overflow, and doubles it after 2,000 steps


Put = Callable[[NDArray[Any]], Tensor]


# Of a step on kept features, half a millisecond, every operator is a part: what can be is multiplied on the host, and
# autograd would take a fifth of it to find the gradients of two formulas.


def _softmax(logits: Tensor, batch: Batch, put: Put) -> tuple[Tensor, Tensor]:
    targets = put(batch.targets * batch.factors[:, None])
    logs = torch.log_softmax(logits, 1)
    gradient = torch.ops.aten._log_softmax_backward_data(-targets, logs, 1, logits.dtype)  # as autograd's, to the bit
    return -(logs * targets).sum(), gradient


def _sigmoid(logits: Tensor, batch: Batch, put: Put) -> tuple[Tensor, Tensor]:
    targets, factors = put(batch.targets), put(batch.factors.reshape(len(batch.factors), -1))
    loss = functional.binary_cross_entropy_with_logits(logits, targets, factors, reduction="sum")
    return loss, (torch.sigmoid(logits) - targets) * factors


LOSSES: Mapping[LossName, Callable[[Tensor, Batch, Put], tuple[Tensor, Tensor]]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
}
"""Of logits: the loss, and its gradient with respect to them."""


class TrainStep:
    def __init__(
        self, net: Network, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> None:
        self.net, self.clip_norm, self.losses, self.moving = net, optimizer.clip_norm, LOSSES[loss], groups.moving
        self.before = None if cut == start else Resting(net, start, cut)  # the very computation that a cache keeps
        part = part_of(net.spec.graph, cut, LOGITS)
        self.params = {name: net.tensors[name] for name in groups.trainable_names}
        # The same memory without a gradient: other steps of the network may train what this one does not.
        tensors = {name: tensor.detach() for name, tensor in net.tensors.items()} | self.params
        self.program = Program(net.spec, part, tensors, groups.updating, masked=True)
        # Of float16 alone: gradients below 6e-8 would be 0. A step whose gradients overflow is left out.
        self.scaler = torch.amp.GradScaler(net.device.type, SCALE, enabled=net.spec.precision == "float16")
        # One kernel for an update in place of several, by the same formulas: what it rounds in between differs in the
        # last bits. A CPU keeps those that it always had. Where the first step is left out, torch's keeps a momentum
        # of whatever was in memory.
        self.fused = net.device.type == "cuda" and not self.scaler.is_enabled() and optimizer.kind in FUSED
        self.optimizer = optimizer_of(optimizer, groups, self.params, self.fused or None)
        self.slots = {slot: SLOTS[optimizer.kind][slot] for slot in optimizer.slots}  # the seam's name -> torch's
        self.counts = optimizer.kind != "sgd"
        self.steps = self.skipped = 0

    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        with self.net.computing(training=True):
            return self._step(parts, lrs)

    def _step(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self.net.changed(self.moving)  # also by a step that fails halfway
        losses, logits = list[Tensor](), list[Tensor]()
        for number, part in enumerate(parts):
            masks = {node: self._put(mask) for node, mask in part.masks.items()}
            given = self._forward(self._put(part.inputs), masks)
            loss, gradient = self.losses(given.detach(), part, self._put)
            if number == 0:  # not before: the next gradients take the memory of the last ones
                self.optimizer.zero_grad(set_to_none=True)
            given.backward(self.scaler.scale(gradient))  # type: ignore[no-untyped-call]
            losses.append(loss)
            logits.append(given.detach())
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.params.values(), self.clip_norm)
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)  # in float16 it waits for the device, to know whether there was an overflow
        self.scaler.update()
        self.skipped += self.scaler.get_scale() < before
        self.steps += 1
        return _lazy(losses, logits)

    def _put(self, array: NDArray[Any]) -> Tensor:
        return self.net.put(torch.from_numpy(array))

    def _forward(self, inputs: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        if self.before is not None:
            inputs = laid_out(self.before(inputs))
        try:
            entering = inputs if self.before is not None else self.net.entering(inputs, self.program.part)
            return self.program(entering, masks)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            cure = "another batch size, larger images or frozen statistics"
            raise BackendError(
                f"batch of {len(inputs)}: one value per channel has no variance. Cure: {cure}"
            ) from error

    def export_state(self) -> dict[str, NDArray[Any]]:
        state: dict[str, NDArray[Any]] = {"step": np.array(self.steps, np.int64)}
        if self.steps == 0:
            return state
        for name, parameter in self.params.items():
            slots = self.optimizer.state.get(parameter, {})
            for slot, key in self.slots.items():
                value = slots.get(key)  # none where all steps were left out, which is as good as 0
                state[f"{slot}:{name}"] = to_numpy(torch.zeros_like(parameter) if value is None else value)
        if self.scaler.is_enabled():
            scaler = self.scaler.state_dict()
            state["loss_scale"] = np.array(scaler["scale"], np.float32)
            state["growth"] = np.array(scaler["_growth_tracker"], np.int64)
            state["skipped"] = np.array(self.skipped, np.int64)
        return state

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.steps, self.skipped = int(state["step"]), int(state.get("skipped", 0))
        if self.scaler.is_enabled():
            own = {"scale": float(state.get("loss_scale", SCALE)), "_growth_tracker": int(state.get("growth", 0))}
            self.scaler.load_state_dict(self.scaler.state_dict() | own)
        for name, parameter in self.params.items():
            slots: dict[str, Any] = {
                key: torch.empty_like(parameter).copy_(torch.tensor(state[f"{slot}:{name}"]))  # with its strides
                for slot, key in self.slots.items()
                if f"{slot}:{name}" in state
            }
            if slots and self.counts:
                steps = float(self.steps - self.skipped)
                slots["step"] = torch.tensor(steps, device=parameter.device if self.fused else "cpu")
            self.optimizer.state[parameter] = slots


def _lazy(losses: Sequence[Tensor], logits: Sequence[Tensor]) -> Lazy:
    results, count = fetched([*losses, *logits]), len(losses)

    def read() -> tuple[float, Float32]:
        given = results()
        return sum(loss.item() for loss in given[:count]), np.concatenate([to_numpy(part) for part in given[count:]])

    return read


def to_numpy(tensor: Tensor) -> Float32:
    """A C-contiguous float32 copy, whatever the device and the memory format."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C", copy=True)
