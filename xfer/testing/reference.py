"""What a step must compute, as formulas in float64. The laws hold a backend to these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Weights
from xfer.backend import OptimizerSpec, ParamGroups
from xfer.losses import LossSpec
from xfer.testing.case import Case

Array = NDArray[Any]
Slots = Mapping[str, Array]
"""Slot of `OptimizerSpec.slots` -> array of one weight. None before the first step, nor of SGD without momentum."""


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_entropy(logits: Array, labels: Array, spec: LossSpec) -> float:
    """Mean softmax cross-entropy of logits (N, C) and labels (N,).

    With class weights w and smoothing e, as `torch.nn.CrossEntropyLoss` documents it:
    sum over n of (1 - e) w[y_n] (-log p[n, y_n]) + e / C * (sum over c of w[c] (-log p[n, c])), over the sum of w[y_n].
    """
    n, classes = logits.shape
    w = np.ones(classes) if spec.class_weights is None else np.asarray(spec.class_weights, np.float64)
    surprise = -np.log(softmax(logits.astype(np.float64)))
    own = w[labels] * surprise[np.arange(n), labels]
    every = (surprise * w).sum(axis=1)
    e = spec.label_smoothing
    return float(((1 - e) * own + e / classes * every).sum() / w[labels].sum())


def logit_gradient(logits: Array, labels: Array, spec: LossSpec) -> Array:
    """(N, C): the derivative of `cross_entropy`, one image at a time."""
    n, classes = logits.shape
    w = np.ones(classes) if spec.class_weights is None else np.asarray(spec.class_weights, np.float64)
    e = spec.label_smoothing
    grad = np.zeros((n, classes))
    for row, (p, y) in enumerate(zip(softmax(logits), labels, strict=True)):
        # The derivative of -log p[c] is p - onehot(c).
        grad[row] = (1 - e) * w[y] * (p - np.eye(classes)[y])
        grad[row] += e / classes * sum(w[c] * (p - np.eye(classes)[c]) for c in range(classes))
    return np.asarray(grad / w[labels].sum())


def clipped(grads: Mapping[str, Array], bound: float | None) -> dict[str, Array]:
    """Gradients scaled so that the L2 norm of all of them together is at most `bound`."""
    norm = float(np.linalg.norm(np.concatenate([g.ravel() for g in grads.values()])))
    factor = 1.0 if bound is None or norm <= bound else bound / norm
    return {name: g * factor for name, g in grads.items()}


def updated(
    spec: OptimizerSpec, w: Array, g: Array, slots: Slots, step: int, lr: float, decay: float
) -> tuple[Array, Slots]:
    """A weight and its slots after step number `step` (from 1), by the rules of `OptimizerSpec`."""
    if spec.kind == "sgd":
        d = g + decay * w
        v = spec.momentum * slots["momentum"] + d if slots else d
        return w - lr * (d + spec.momentum * v if spec.nesterov else v), {"momentum": v} if spec.momentum else {}
    zero = np.zeros_like(w)
    b1, b2 = spec.betas
    if spec.kind == "rmsprop":
        g = g + decay * w
        v = spec.alpha * slots.get("v", zero) + (1 - spec.alpha) * g * g
        buffer = spec.momentum * slots.get("momentum", zero) + g / (np.sqrt(v) + spec.eps)
        return w - lr * buffer, {"v": v, "momentum": buffer} if spec.momentum else {"v": v}
    if spec.kind == "lion":
        m = slots.get("m", zero)
        moved = w - lr * (np.sign(b1 * m + (1 - b1) * g) + decay * w)
        return moved, {"m": b2 * m + (1 - b2) * g}
    if spec.kind == "adam":
        g = g + decay * w
    elif spec.kind == "adamw":
        w = w - lr * decay * w
    m = b1 * slots.get("m", zero) + (1 - b1) * g
    v = b2 * slots.get("v", zero) + (1 - b2) * g * g
    u = (m / (1 - b1**step)) / (np.sqrt(v / (1 - b2**step)) + spec.eps)
    if spec.kind == "lamb":
        u = u + decay * w
        norms = float(np.sqrt((w**2).sum())), float(np.sqrt((u**2).sum()))
        u = u * (norms[0] / norms[1] if min(norms) > 0 else 1.0)
    return w - lr * u, {"m": m, "v": v}


class LinearHead:
    """A head trained by itself: logits = (inputs * keep) weight^T + bias."""

    def __init__(
        self, names: tuple[str, str], weights: Weights, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups
    ):
        self.names, self.optimizer, self.loss, self.groups = names, optimizer, loss, groups
        self.weights = {name: weights[name].astype(np.float64) for name in names}
        self.slots: dict[str, Slots] = {name: {} for name in names}
        self.steps = 0

    def step(self, batch: Case, lrs: Sequence[float]) -> tuple[float, Array]:
        """Step once. Gives the loss and the logits (N, C) from before the update."""
        weight, bias = (self.weights[name] for name in self.names)
        x = batch.inputs.astype(np.float64) * (1.0 if batch.keep is None else batch.keep)
        logits = x @ weight.T + bias
        d = logit_gradient(logits, batch.labels, self.loss)
        grads = clipped({self.names[0]: d.T @ x, self.names[1]: d.sum(axis=0)}, self.optimizer.clip_norm)
        self.steps += 1
        for group, lr in zip(self.groups.trainable, lrs, strict=True):
            for name in group.names:
                w, slots = self.weights[name], self.slots[name]
                moved = updated(self.optimizer, w, grads[name], slots, self.steps, lr, group.weight_decay)
                self.weights[name], self.slots[name] = moved
        return cross_entropy(logits, batch.labels, self.loss), logits

    def state(self) -> dict[str, Array]:
        """As `CaseStep.export_state` gives it, in float64."""
        held = {f"{slot}:{name}": value for name, slots in self.slots.items() for slot, value in slots.items()}
        return {"step": np.array(self.steps)} | held
