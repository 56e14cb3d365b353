"""A whole backend in plain NumPy: one small network, its gradients by hand. The oracle, and an example to copy.

It is not declared as an entry point: tests hand the object over. Arithmetic is float64, what is stored is float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import EXTRA, LOGITS, Arch
from xfer.arrays import Float32, Weights
from xfer.backend import Batch, Lazy, LossSpec, ModelSpec, OptimizerSpec, ParamGroups, PredictStep
from xfer.errors import BackendError, expected

Array = NDArray[Any]
TINY = Arch("tiny", (("stem", ("stem.",)), ("layer1", ("layer1.", "norm1.")), ("head", ("fc.",))), "fc", features=16)
STAGES = (*TINY.stage_names[:-1], EXTRA, TINY.stage_names[-1], LOGITS)  # without hidden layers, extra does nothing
SIDE, WIDTH, EPS, STATS_MOMENTUM = 4, TINY.features, 1e-5, 0.1


@dataclass(frozen=True)
class NumpyModel:
    spec: ModelSpec
    weights: Weights

    def __getitem__(self, name: str) -> Array:
        return self.weights[name].astype(np.float64)


def _averaging(size: int) -> Array:
    """(4, size): each row averages about a quarter of the side."""
    parts = np.array_split(np.arange(size), SIDE)
    return np.stack([np.isin(np.arange(size), part) / len(part) for part in parts])


def _stem(model: NumpyModel, images: Array) -> tuple[Array, Array]:
    x = (images / 255 - model.spec.mean) / model.spec.std
    rows, columns = (_averaging(side) for side in images.shape[1:3])
    pooled = np.einsum("ih,nhwc,jw->ncij", rows, x, columns).reshape(len(x), -1)
    return np.maximum(pooled @ model["stem.weight"].T + model["stem.bias"], 0), pooled


def _layer1(model: NumpyModel, x: Array, batch_stats: bool) -> tuple[Array, tuple[Array, ...]]:
    if batch_stats and len(x) == 1:
        raise BackendError("batch of 1: one value per channel has no variance. Cure: another batch size")
    a = x @ model["layer1.weight"].T
    running = model["norm1.running_mean"], model["norm1.running_var"]
    mean, var = (a.mean(0), a.var(0)) if batch_stats else running
    normal = (a - mean) / np.sqrt(var + EPS)
    out = np.maximum(normal * model["norm1.weight"] + model["norm1.bias"], 0)
    return out, (x, a, normal, 1 / np.sqrt(var + EPS), out)


def _hidden(model: NumpyModel, x: Array) -> list[Array]:
    """What enters each hidden layer before the head, and what leaves the last."""
    passed = [x]
    for i in range(len(model.spec.extra)):
        passed.append(np.maximum(passed[-1] @ model[f"extra.{i}.weight"].T + model[f"extra.{i}.bias"], 0))
    return passed


def _run(
    model: NumpyModel, x: Array, start: str, stop: str, batch_stats: bool = False, keep: Array | float = 1.0
) -> tuple[Array, dict[str, Any]]:
    """What leaves `stop`, and what the way back needs of each stage."""
    tape: dict[str, Any] = {}
    x = x.astype(np.float64)
    for stage in STAGES[STAGES.index(start) : STAGES.index(stop)]:
        if stage == "stem":
            x, tape["stem"] = _stem(model, x)
        elif stage == "layer1":
            x, tape["layer1"] = _layer1(model, x, batch_stats)
        elif stage == EXTRA:
            tape[EXTRA] = _hidden(model, x)
            x = tape[EXTRA][-1]
        else:
            tape["head"] = x * keep
            x = tape["head"] @ model["fc.weight"].T + model["fc.bias"]
    return x, tape


def _gradients(
    model: NumpyModel, d: Array, tape: dict[str, Any], batch_stats: bool, keep: Array | float
) -> dict[str, Array]:
    """Of every weight that was passed, from the gradient of the logits. Batch norm: Ioffe and Szegedy, 2015."""
    grads = {"fc.weight": d.T @ tape["head"], "fc.bias": d.sum(0)}
    d = d @ model["fc.weight"] * keep
    for i in reversed(range(len(tape.get(EXTRA, ())) - 1)):
        x, out = tape[EXTRA][i : i + 2]
        d = d * (out > 0)
        grads |= {f"extra.{i}.weight": d.T @ x, f"extra.{i}.bias": d.sum(0)}
        d = d @ model[f"extra.{i}.weight"]
    if "layer1" in tape:
        x, _, normal, scale, out = tape["layer1"]
        d = d * (out > 0)
        grads |= {"norm1.weight": (d * normal).sum(0), "norm1.bias": d.sum(0)}
        d = d * model["norm1.weight"]
        if batch_stats:
            d = d - d.mean(0) - normal * (d * normal).mean(0)
        d = d * scale
        grads["layer1.weight"] = d.T @ x
    if "stem" in tape:
        d = d @ model["layer1.weight"] * (x > 0)
        grads |= {"stem.weight": d.T @ tape["stem"], "stem.bias": d.sum(0)}
    return grads


def _loss(logits: Array, labels: Array, spec: LossSpec) -> tuple[float, Array]:
    """The mean loss and the gradient of the logits: cross-entropy with the soft targets' rows weighted by class."""
    classes = logits.shape[1]
    weights = np.ones(classes) if spec.class_weights is None else np.asarray(spec.class_weights)
    targets = (1 - spec.label_smoothing) * np.eye(classes)[labels] + spec.label_smoothing / classes
    targets = targets * weights / weights[labels].sum()
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-(targets * log_p).sum()), np.exp(log_p) * targets.sum(1, keepdims=True) - targets


class NumpyTrainStep:
    def __init__(self, model: NumpyModel, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str):
        self.model, self.optimizer, self.loss, self.groups, self.start = model, optimizer, loss, groups, start
        self.steps, self.state = 0, dict[str, Array]()

    @np.errstate(over="ignore", invalid="ignore")  # frameworks say nothing of what overflows either
    def __call__(self, batch: Batch, lrs: Sequence[float]) -> Lazy:
        batch_stats = "norm1.running_mean" in self.groups.updating
        keep = 1.0 if batch.keep is None else batch.keep
        logits, tape = _run(self.model, batch.inputs, self.start, LOGITS, batch_stats, keep)
        loss, d = _loss(logits, batch.labels, self.loss)
        grads = _gradients(self.model, d, tape, batch_stats, keep)
        self.steps += 1
        scale = self._clip_scale(grads)
        for group, lr in zip(self.groups.trainable, lrs, strict=True):
            for name in group.names:
                self._set(name, self._moved(name, scale * grads[name], lr, group.weight_decay))
        if batch_stats:
            self._follow(tape["layer1"][1])
        given = logits.astype(np.float32)
        return lambda: (loss, given)

    def _set(self, name: str, value: Array) -> None:
        self.model.weights[name] = value.astype(np.float32)

    def _clip_scale(self, grads: dict[str, Array]) -> float:
        norm = np.sqrt(sum((grads[name] ** 2).sum() for name in self.groups.trainable_names))
        return 1.0 if self.optimizer.clip_norm is None else float(min(1.0, self.optimizer.clip_norm / (norm + 1e-6)))

    def _blend(self, slot: str, name: str, old: float, addend: Array) -> Array:
        """Advance a slot: `old` times what it holds, plus `addend`."""
        key = f"{slot}:{name}"
        held = self.state.get(key, np.zeros_like(addend)) * old + addend
        self.state[key] = held.astype(np.float32)
        return held

    def _moved(self, name: str, g: Array, lr: float, decay: float) -> Array:
        o, w = self.optimizer, self.model[name]
        if o.kind == "adamw":
            w = w * (1 - lr * decay)
        else:
            g = g + decay * w
        if o.kind == "sgd":
            v = self._blend("momentum", name, o.momentum, g) if o.momentum else g
            return np.asarray(w - lr * (g + o.momentum * v if o.nesterov else v))
        b1, b2 = o.betas
        m = self._blend("m", name, b1, (1 - b1) * g) / (1 - b1**self.steps)
        v = self._blend("v", name, b2, (1 - b2) * g**2) / (1 - b2**self.steps)
        return np.asarray(w - lr * m / (np.sqrt(v) + o.eps))

    def _follow(self, a: Array) -> None:
        for name, seen in (("norm1.running_mean", a.mean(0)), ("norm1.running_var", a.var(0, ddof=1))):
            self._set(name, (1 - STATS_MOMENTUM) * self.model[name] + STATS_MOMENTUM * seen)

    def export_state(self) -> dict[str, Array]:
        return {"step": np.array(self.steps, np.int64)} | {key: held.copy() for key, held in self.state.items()}

    def import_state(self, state: Mapping[str, Array]) -> None:
        self.state = {key: held.copy() for key, held in state.items() if key != "step"}
        self.steps = int(state["step"])


class NumpyBackend:
    name = "numpy"
    archs: Mapping[str, Arch] = {TINY.name: TINY}

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def build(self, spec: ModelSpec, device: str) -> NumpyModel:
        if spec.precision != "float32":
            raise BackendError(expected("precision on backend 'numpy'", spec.precision, ["float32"]))
        norm = {"norm1." + part: (WIDTH,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes = {"stem.weight": (WIDTH, 3 * SIDE**2), "stem.bias": (WIDTH,), "layer1.weight": (WIDTH, WIDTH)} | norm
        layers = (*(f"{EXTRA}.{i}" for i in range(len(spec.extra))), TINY.head)
        for layer, (fan_in, width) in zip(layers, pairwise((WIDTH, *spec.extra, spec.num_classes)), strict=True):
            shapes |= {f"{layer}.weight": (width, fan_in), f"{layer}.bias": (width,)}
        return NumpyModel(spec, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})

    def export_weights(self, model: NumpyModel) -> Weights:
        return {name: weight.copy() for name, weight in model.weights.items()}

    def import_weights(self, model: NumpyModel, weights: Mapping[str, Float32]) -> None:
        model.weights.update({name: weight.copy() for name, weight in weights.items()})

    def make_train_step(
        self, model: NumpyModel, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str
    ) -> NumpyTrainStep:
        return NumpyTrainStep(model, optimizer, loss, groups, start)

    def make_predict_step(self, model: NumpyModel, start: str, stop: str) -> PredictStep:
        @np.errstate(over="ignore", invalid="ignore")
        def predict(inputs: Array) -> Float32:
            return _run(model, inputs, start, stop)[0].astype(np.float32)

        return predict
