"""The update rules of xfer's `OptimizerSpec`: torch's own, and two that torch has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from xfer.backend import OptimizerSpec, ParamGroups

MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
SLOTS = {
    "sgd": {"momentum": "momentum_buffer"},
    "adam": MOMENTS,
    "adamw": MOMENTS,
    "rmsprop": {"v": "square_avg", "momentum": "momentum_buffer"},
    "lion": MOMENTS,
    "lamb": MOMENTS,
}
"""By the rule: the seam's name of a slot -> torch's."""

FUSED = ("sgd", "adam", "adamw")
"""Those that torch has one kernel for."""


def optimizer_of(
    spec: OptimizerSpec, groups: ParamGroups, params: Mapping[str, Tensor], fused: bool | None
) -> torch.optim.Optimizer:
    torch_groups: list[dict[str, Any]] = [
        {"params": [params[n] for n in g.names], "weight_decay": g.weight_decay, "lr": 0.0} for g in groups.trainable
    ]
    if spec.kind == "sgd":
        return torch.optim.SGD(torch_groups, lr=0.0, momentum=spec.momentum, nesterov=spec.nesterov, fused=fused)
    if spec.kind == "rmsprop":
        return torch.optim.RMSprop(torch_groups, lr=0.0, alpha=spec.alpha, eps=spec.eps, momentum=spec.momentum)
    if spec.kind == "lion":
        return Lion(torch_groups, spec)
    if spec.kind == "lamb":
        return Lamb(torch_groups, spec)
    adam = torch.optim.Adam if spec.kind == "adam" else torch.optim.AdamW
    return adam(torch_groups, lr=0.0, betas=spec.betas, eps=spec.eps, fused=fused)


class Rule(torch.optim.Optimizer):
    """Moves weights one by one; `slots` are zero at first, and `step` counts on the host."""

    slots: Sequence[str] = ()

    def __init__(self, groups: list[dict[str, Any]], spec: OptimizerSpec) -> None:
        super().__init__(groups, {})
        self.betas, self.eps = spec.betas, spec.eps

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state |= {slot: torch.zeros_like(weight) for slot in self.slots} | {"step": torch.tensor(0.0)}
                state["step"] += 1
                self.move(weight, weight.grad, state, group["lr"], group["weight_decay"])

    def move(self, w: Tensor, g: Tensor, state: Mapping[str, Tensor], lr: float, decay: float) -> None:
        raise NotImplementedError


class Lion(Rule):
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2."""

    slots = ("exp_avg",)

    def move(self, w: Tensor, g: Tensor, state: Mapping[str, Tensor], lr: float, decay: float) -> None:
        (beta1, beta2), m = self.betas, state["exp_avg"]
        direction = (beta1 * m).add_(g, alpha=1 - beta1).sign_()
        w.mul_(1 - lr * decay).sub_(direction, alpha=lr)
        m.mul_(beta2).add_(g, alpha=1 - beta2)


class Lamb(Rule):
    """You et al. 2019, "Large Batch Optimization for Deep Learning", Algorithm 2, with phi(x) = x."""

    slots = ("exp_avg", "exp_avg_sq")

    def move(self, w: Tensor, g: Tensor, state: Mapping[str, Tensor], lr: float, decay: float) -> None:
        (beta1, beta2), step = self.betas, float(state["step"])
        m, v = state["exp_avg"].mul_(beta1), state["exp_avg_sq"].mul_(beta2)
        m.add_(g, alpha=1 - beta1)
        v.addcmul_(g, g, value=1 - beta2)
        root = (v / (1 - beta2**step)).sqrt_().add_(self.eps)
        update = (m / (1 - beta1**step)).div_(root).add_(w, alpha=decay)
        of_weight, of_update = torch.linalg.vector_norm(w), torch.linalg.vector_norm(update)
        trust = torch.where((of_weight > 0) & (of_update > 0), of_weight / of_update, 1.0)
        w.sub_(update.mul_(lr * trust))
