"""One training step: forward, loss, gradients, update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.backend import Batch, Lazy, LossSpec, OptimizerSpec, ParamGroups
from xfer.errors import BackendError
from xfer.nets.catalogue import ARCHS
from xfer_torch.fold import Folded
from xfer_torch.nets import Network

SLOTS = {"momentum": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq"}  # the seam's name -> torch's


class TrainStep:
    def __init__(self, net: Network, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str) -> None:
        self.net, self.start, self.clip_norm = net, start, optimizer.clip_norm
        self.cut = net.spec.adapted(ARCHS).first_stage(groups.moving, start)
        self.prefix = None if self.cut == start else Folded(net)
        tensors = dict(net.tensors())
        self.params = {name: tensors[name] for name in groups.trainable_names}
        for name, parameter in net.module.named_parameters():
            parameter.requires_grad_(name in self.params)
        modules = dict(net.module.named_modules())
        self.norms = [modules[n.removesuffix(".running_mean")] for n in groups.updating if n.endswith(".running_mean")]
        self.smoothing = loss.label_smoothing
        weights = loss.class_weights
        self.class_weights = None if weights is None else torch.tensor(weights, dtype=torch.float32).to(net.device)
        self.optimizer = _optimizer(optimizer, groups, self.params)
        self.steps = 0

    def __call__(self, batch: Batch, lrs: Sequence[float]) -> Lazy:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        inputs, labels, keep = self.net.put(batch)
        logits = self._forward(inputs, keep)
        loss = functional.cross_entropy(logits, labels, self.class_weights, label_smoothing=self.smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.params.values(), self.clip_norm)
        self.optimizer.step()
        self.steps += 1
        return _lazy(loss.detach(), logits.detach())

    def _forward(self, inputs: Tensor, keep: Tensor | None) -> Tensor:
        if self.prefix is not None:  # the very computation that a boundary cache keeps
            inputs = self.prefix.forward(inputs, self.start, self.cut)
        # Only these layers ever leave inference mode, and only here, so a frozen layer cannot drift.
        for norm in self.norms:
            norm.train()
        try:
            return self.net.forward(inputs, self.cut, LOGITS, keep)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            cure = "another batch size, larger images or frozen statistics"
            raise BackendError(
                f"batch of {len(inputs)}: one value per channel has no variance. Cure: {cure}"
            ) from error
        finally:
            for norm in self.norms:
                norm.eval()

    def export_state(self) -> dict[str, NDArray[Any]]:
        state: dict[str, NDArray[Any]] = {"step": np.array(self.steps, np.int64)}
        for name, parameter in self.params.items():
            slots = self.optimizer.state.get(parameter, {})
            for slot, key in SLOTS.items():
                if slots.get(key) is not None:
                    state[f"{slot}:{name}"] = to_numpy(slots[key])
        return state

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.steps = int(state["step"])
        for name, parameter in self.params.items():
            slots: dict[str, Any] = {
                key: torch.from_numpy(np.array(state[f"{slot}:{name}"])).to(parameter.device)
                for slot, key in SLOTS.items()
                if f"{slot}:{name}" in state
            }
            if "exp_avg" in slots:
                slots["step"] = torch.tensor(float(self.steps))
            self.optimizer.state[parameter] = slots


def _lazy(loss: Tensor, logits: Tensor) -> Lazy:
    return lambda: (loss.item(), to_numpy(logits))


def to_numpy(tensor: Tensor) -> Float32:
    """A C-contiguous float32 copy, whatever the device and the memory format."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C", copy=True)


def _optimizer(spec: OptimizerSpec, groups: ParamGroups, params: Mapping[str, Tensor]) -> torch.optim.Optimizer:
    torch_groups = [
        {"params": [params[n] for n in g.names], "weight_decay": g.weight_decay, "lr": 0.0} for g in groups.trainable
    ]
    if spec.kind == "sgd":
        return torch.optim.SGD(torch_groups, lr=0.0, momentum=spec.momentum, nesterov=spec.nesterov)
    adam = torch.optim.Adam if spec.kind == "adam" else torch.optim.AdamW
    return adam(torch_groups, lr=0.0, betas=spec.betas, eps=spec.eps)
