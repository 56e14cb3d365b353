"""The update rules of xfer's `OptimizerSpec`: two by MindSpore's fused kernels, the others operator by operator.

MindSpore's optimizer classes don't fit: `nn.Momentum`'s Nesterov and `nn.AdamWeightDecay` follow other formulas, and
`experimental.optim.Adam` puts epsilon elsewhere; `ApplyRMSProp` has it and the rate inside. The first two's
kernels do, given the right numbers. Whatever changes from step to step is worked out here on the host in double
precision and arrives as device scalars, so nothing is recompiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

from xfer.backend import OptimizerSpec, ParamGroups
from xfer_mindspore.layers import Layer

Scalars = tuple[tuple[Tensor, ...], ...]
"""For each group of weights, the numbers of this step."""


def scalars(spec: OptimizerSpec, groups: ParamGroups, lrs: Sequence[float], step: int) -> tuple[tuple[float, ...], ...]:
    """The numbers of one step for each group, `step` counting from 1."""
    return tuple(_numbers(spec, lr, group.weight_decay, step) for lr, group in zip(lrs, groups.trainable, strict=True))


class Numbers:
    """Numbers on the device, made again only where they changed."""

    def __init__(self) -> None:
        self.last: tuple[tuple[float, ...], ...] = ()
        self.tensors: Scalars = ()

    def of(self, numbers: tuple[tuple[float, ...], ...]) -> Scalars:
        if numbers != self.last:
            self.last = numbers
            self.tensors = tuple(tuple(Tensor(number, mstype.float32) for number in group) for group in numbers)
        return self.tensors


def _numbers(spec: OptimizerSpec, lr: float, decay: float, step: int) -> tuple[float, ...]:
    if spec.kind == "sgd":
        return (lr,)
    if spec.kind == "rmsprop":
        return (lr,)
    if spec.kind == "lion":
        return lr, 1 - lr * decay
    if spec.kind == "lamb":
        return lr, 1 - spec.betas[0] ** step, 1 - spec.betas[1] ** step
    # In the kernel's float32, 1 - 0.999 is off by 1e-5. With the same betas here, that cancels.
    beta1, beta2 = (float(np.float32(beta)) for beta in spec.betas)
    correction1, correction2 = 1 - beta1**step, sqrt(1 - beta2**step)
    # torch: lr * (m / correction1) / (sqrt(v) / correction2 + eps); the kernel: rate * m / (sqrt(v) + epsilon).
    return lr * correction2 / correction1, spec.eps * correction2, 1 - lr * decay


def _zeros(slot: str, weights: Sequence[Parameter]) -> ParameterTuple:
    return ParameterTuple(
        [Parameter(Tensor(np.zeros(w.shape, np.float32)), f"{slot}:{w.name}", requires_grad=False) for w in weights]
    )


class Sgd(Layer):
    """Moves one group of weights."""

    def __init__(self, spec: OptimizerSpec, decay: float, weights: Sequence[Parameter]) -> None:
        super().__init__()
        self.weights = ParameterTuple(weights)
        self.velocity = _zeros("momentum", weights)
        self.remembers = spec.momentum != 0
        self.momentum = Tensor(spec.momentum, mstype.float32)
        self.kernel = ops.SGD(0.0, decay, spec.nesterov)
        # The kernel's marks of a first step. None is needed: on zeros, momentum * v + d is d.
        self.marks = _zeros("mark", weights)

    @property
    def slots(self) -> tuple[Parameter, ...]:
        return (*self.velocity,) if self.remembers else ()

    def construct(self, gradients: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (lr,) = numbers
        for i in range(len(self.weights)):
            self.kernel(self.weights[i], gradients[i], lr, self.velocity[i], self.momentum, self.marks[i])


class Adam(Layer):
    """Moves one group of weights, the decay being part of the gradient (adam) or not (adamw)."""

    def __init__(self, spec: OptimizerSpec, decay: float, weights: Sequence[Parameter]) -> None:
        super().__init__()
        self.weights = ParameterTuple(weights)
        self.m, self.v = _zeros("m", weights), _zeros("v", weights)
        self.beta1, self.beta2 = (Tensor(beta, mstype.float32) for beta in spec.betas)
        self.power = Tensor(0.0, mstype.float32)  # of beta: the kernel then corrects nothing
        self.kernel = ops.Adam()
        self.decay, self.decoupled = decay, spec.kind == "adamw"

    @property
    def slots(self) -> tuple[Parameter, ...]:
        return (*self.m, *self.v)

    def construct(self, gradients: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        rate, epsilon, shrink = numbers
        for i in range(len(self.weights)):
            w, g, m, v = self.weights[i], gradients[i], self.m[i], self.v[i]
            if self.decay != 0 and self.decoupled:
                ops.assign(w, w * shrink)
            elif self.decay != 0:
                g = g + self.decay * w
            self.kernel(w, m, v, self.power, self.power, rate, self.beta1, self.beta2, epsilon, g)


class RmsProp(Layer):
    """Moves one group of weights."""

    def __init__(self, spec: OptimizerSpec, decay: float, weights: Sequence[Parameter]) -> None:
        super().__init__()
        self.weights, self.decay = ParameterTuple(weights), decay
        self.alpha, self.eps, self.momentum = spec.alpha, spec.eps, spec.momentum
        self.v = _zeros("v", weights)
        self.buffer = _zeros("momentum", weights if spec.momentum else ())

    @property
    def slots(self) -> tuple[Parameter, ...]:
        return (*self.v, *self.buffer)

    def construct(self, gradients: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (lr,) = numbers
        for i in range(len(self.weights)):
            w, g, v = self.weights[i], gradients[i], self.v[i]
            if self.decay != 0:
                g = g + self.decay * w
            ops.assign(v, self.alpha * v + (1 - self.alpha) * ops.square(g))
            d = g / (ops.sqrt(v) + self.eps)
            if self.momentum != 0:
                ops.assign(self.buffer[i], self.momentum * self.buffer[i] + d)
                d = self.buffer[i]
            ops.assign(w, w - lr * d)


class Lion(Layer):
    """Moves one group of weights."""

    def __init__(self, spec: OptimizerSpec, decay: float, weights: Sequence[Parameter]) -> None:
        super().__init__()
        self.weights, self.betas = ParameterTuple(weights), spec.betas
        self.m = _zeros("m", weights)

    @property
    def slots(self) -> tuple[Parameter, ...]:
        return (*self.m,)

    def construct(self, gradients: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (lr, shrink), (beta1, beta2) = numbers, self.betas
        for i in range(len(self.weights)):
            w, g, m = self.weights[i], gradients[i], self.m[i]
            ops.assign(w, w * shrink - lr * ops.sign(beta1 * m + (1 - beta1) * g))
            ops.assign(m, beta2 * m + (1 - beta2) * g)


class Lamb(Layer):
    """Moves one group of weights, each tensor by a trust of its own."""

    def __init__(self, spec: OptimizerSpec, decay: float, weights: Sequence[Parameter]) -> None:
        super().__init__()
        self.weights, self.decay = ParameterTuple(weights), decay
        self.betas, self.eps = spec.betas, spec.eps
        self.m, self.v = _zeros("m", weights), _zeros("v", weights)

    @property
    def slots(self) -> tuple[Parameter, ...]:
        return (*self.m, *self.v)

    def construct(self, gradients: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (lr, correction1, correction2), (beta1, beta2) = numbers, self.betas
        for i in range(len(self.weights)):
            w, g, m, v = self.weights[i], gradients[i], self.m[i], self.v[i]
            ops.assign(m, beta1 * m + (1 - beta1) * g)
            ops.assign(v, beta2 * v + (1 - beta2) * ops.square(g))
            update = m / correction1 / (ops.sqrt(v / correction2) + self.eps) + self.decay * w
            of_weight, of_update = ops.sqrt(ops.square(w).sum()), ops.sqrt(ops.square(update).sum())
            trusted = ops.logical_and(of_weight > 0, of_update > 0)
            ops.assign(w, w - lr * ops.where(trusted, of_weight / of_update, 1.0) * update)


RULES = {"sgd": Sgd, "adam": Adam, "adamw": Adam, "rmsprop": RmsProp, "lion": Lion, "lamb": Lamb}


class Update(Layer):
    """Moves all groups. `state` holds the slots by `slot:name`, zero at first.

    Each group is a cell with one kernel: of kernels in a tuple, a compiled graph loses the side effects.
    """

    def __init__(self, spec: OptimizerSpec, groups: ParamGroups, parameters: Mapping[str, Parameter]) -> None:
        super().__init__()
        rules = [
            RULES[spec.kind](spec, g.weight_decay, [parameters[name] for name in g.names]) for g in groups.trainable
        ]
        self.rules = nn.CellList(rules, auto_prefix=False)
        self.ends = tuple(accumulate(len(g.names) for g in groups.trainable))
        self.starts = (0, *self.ends)
        self.clip_norm = spec.clip_norm
        self.state = {slot.name: slot for rule in rules for slot in rule.slots}

    def construct(self, gradients: tuple[Tensor, ...], numbers: Scalars) -> None:
        if self.clip_norm is not None:
            gradients = clip(gradients, self.clip_norm)
        for i in range(len(self.rules)):
            self.rules[i](gradients[self.starts[i] : self.ends[i]], numbers[i])


def clip(gradients: tuple[Tensor, ...], norm: float) -> tuple[Tensor, ...]:
    """Scaled down so that their global L2 norm is at most `norm`, as torch's clip_grad_norm_."""
    total = ops.sqrt(sum([ops.square(g).sum() for g in gradients]))
    factor = ops.minimum(norm / (total + 1e-6), 1.0)
    return tuple([g * factor for g in gradients])
