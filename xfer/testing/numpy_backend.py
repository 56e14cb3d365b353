"""A whole backend in plain NumPy: a few kinds of nodes, with gradients by hand. The oracle, and an example to copy.

It is not declared as an entry point: tests hand the object over. Arithmetic is float64, what is stored is float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from xfer.archs import LOGITS
from xfer.arrays import Float32, Float64, Weights
from xfer.backend import Batch, Lazy, LossName, NetworkSpec, OptimizerSpec, ParamGroups, PredictStep, UpdateRule
from xfer.errors import BackendError, expected
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import Part, part_of
from xfer.graphs.stages import arch_of
from xfer.testing.kinds import REFERENCE

Array = NDArray[Any]
SIDE, WIDTH = 4, 16
_SLOTS = ("weight", "bias", "running_mean", "running_var")


def _norm(name: str) -> dict[str, str]:
    return {slot: f"{name}.{slot}" for slot in _SLOTS}


NETWORK = Graph(
    nodes=(
        Node("image", "image"),
        Node("pool", "adaptive_avg_pool", ("image",), {"size": [SIDE, SIDE]}),
        Node("flatten", "flatten", ("pool",), {"start": 1}),
        Node("stem", "linear", ("flatten",), {}, {"weight": "stem.weight", "bias": "stem.bias"}),
        Node("stem.relu", "relu", ("stem",)),
        Node("layer1", "linear", ("stem.relu",), {}, {"weight": "layer1.weight"}),
        Node("norm1", "batch_norm", ("layer1",), {"eps": 1e-5, "momentum": 0.1}, _norm("norm1")),
        Node("relu", "relu", ("norm1",)),
        Node("fc", "linear", ("relu",), {}, {"weight": "fc.weight", "bias": "fc.bias"}),
    ),
    weights={
        "stem.weight": (WIDTH, 3 * SIDE**2),
        "stem.bias": (WIDTH,),
        "layer1.weight": (WIDTH, WIDTH),
        **dict.fromkeys(_norm("norm1").values(), (WIDTH,)),
        "fc.weight": (1000, WIDTH),
        "fc.bias": (1000,),
    },
    head="fc",
    size=(32, 32),
    stages={"stem": "pool", "layer1": "layer1"},
)
TINY = arch_of("tiny", NETWORK)


@dataclass(frozen=True)
class NumpyModel:
    spec: NetworkSpec
    weights: Weights

    def slots(self, node: Node) -> dict[str, Float64]:
        return {slot: self.weights[name].astype(np.float64) for slot, name in node.weights.items()}


def _run(
    model: NumpyModel, part: Part, inputs: Array, batch: frozenset[str], masks: Mapping[str, Array]
) -> dict[str, Float64]:
    """Name of a node -> its value. `batch`: of running means whose layers normalise with the batch."""
    x = inputs.astype(np.float64)
    if part.source == model.spec.graph.nodes[0].name:
        x = ((x / 255 - model.spec.mean) / model.spec.std).transpose(0, 3, 1, 2)
    values = {part.source: x}
    for node in part.nodes:
        taken = [values[name] for name in node.inputs]
        if node.name in masks:
            taken[0] = taken[0] * masks[node.name]
        follows = node.weights.get("running_mean") in batch
        if follows and taken[0].size == taken[0].shape[1]:
            raise BackendError("batch of 1: one value per channel has no variance. Cure: another batch size")
        more = {"batch_statistics": True} if follows else {}
        values[node.name] = REFERENCE[node.kind](*taken, **model.slots(node), **node.attributes, **more)
    return values


def _gradients(
    model: NumpyModel, part: Part, values: Mapping[str, Float64], d: Float64, batch: frozenset[str],
    masks: Mapping[str, Array],
) -> dict[str, Float64]:  # fmt: skip
    """Of every weight that was passed, from the gradient of the logits. Batch norm: Ioffe and Szegedy, 2015."""
    found: dict[str, Float64] = {}
    for node in reversed(part.nodes):
        slots, mask, more = model.slots(node), masks.get(node.name, 1.0), dict[str, Float64]()
        x = values[node.inputs[0]] * mask
        if node.kind == "linear":
            more = {"weight": d.T @ x, "bias": d.sum(0)}
            d = d @ slots["weight"]
        elif node.kind == "relu":
            d = d * (x > 0)
        elif node.kind == "batch_norm":
            follows = node.weights["running_mean"] in batch
            mean, var = (x.mean(0), x.var(0)) if follows else (slots["running_mean"], slots["running_var"])
            scale = 1 / np.sqrt(var + node.attributes["eps"])
            normal = (x - mean) * scale
            more = {"weight": (d * normal).sum(0), "bias": d.sum(0)}
            d = d * slots["weight"]
            if follows:
                d = d - d.mean(0) - normal * (d * normal).mean(0)
            d = d * scale
        elif node.kind in ("flatten", "adaptive_avg_pool"):
            break  # right behind the picture
        for slot in more.keys() & node.weights.keys():  # of a weight that two nodes have, the sum
            found[node.weights[slot]] = found.get(node.weights[slot], np.zeros(())) + more[slot]
        d = d * mask
    return found


def _loss(logits: Float64, batch: Batch, name: LossName) -> tuple[float, Float64]:
    """The loss and the gradient of the logits, by the formulas of `Batch`."""
    targets = batch.targets.astype(np.float64)
    factors = batch.factors.astype(np.float64).reshape(len(targets), -1)
    if name == "sigmoid":
        losses = np.logaddexp(0, logits) - targets * logits
        return float((losses * factors).sum()), (1 / (1 + np.exp(-logits)) - targets) * factors
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    d = np.exp(log_p) * targets.sum(1, keepdims=True) - targets
    return float(-(targets * log_p * factors).sum()), d * factors


class NumpyTrainStep:
    def __init__(self, model: NumpyModel, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str):
        self.model, self.optimizer, self.loss, self.groups = model, optimizer, loss, groups
        self.part = part_of(model.spec.graph, start, LOGITS)
        self.steps, self.state = 0, dict[str, Array]()

    @np.errstate(over="ignore", invalid="ignore")  # frameworks say nothing of what overflows either
    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        batch_norms, total, given, grads = self.groups.updating, 0.0, list[Float32](), dict[str, Float64]()
        for batch in parts:
            values = _run(self.model, self.part, batch.inputs, batch_norms, batch.masks)
            logits = values[self.part.result]
            loss, d = _loss(logits, batch, self.loss)
            for name, gradient in _gradients(self.model, self.part, values, d, batch_norms, batch.masks).items():
                grads[name] = grads.get(name, np.zeros(())) + gradient
            total, given = total + loss, [*given, logits.astype(np.float32)]
            self._follow(values)
        self.steps += 1
        scale = self._clip_scale(grads)
        for group, lr in zip(self.groups.trainable, lrs, strict=True):
            for name in group.names:
                self._set(name, self._moved(name, scale * grads[name], lr, group.weight_decay))
        whole = np.concatenate(given)
        return lambda: (total, whole)

    def _set(self, name: str, value: Array) -> None:
        self.model.weights[name] = value.astype(np.float32)

    def _clip_scale(self, grads: Mapping[str, Any]) -> float:
        norm = np.sqrt(sum((grads[name] ** 2).sum() for name in self.groups.trainable_names))
        return 1.0 if self.optimizer.clip_norm is None else float(min(1.0, self.optimizer.clip_norm / (norm + 1e-6)))

    def _blend(self, slot: str, name: str, old: float, addend: Array) -> Array:
        """Advance a slot: `old` times what it holds, plus `addend`."""
        key = f"{slot}:{name}"
        held = self.state.get(key, np.zeros_like(addend)) * old + addend
        self.state[key] = held.astype(np.float32)
        return held

    def _moved(self, name: str, g: Array, lr: float, decay: float) -> Array:
        o, w = self.optimizer, self.model.weights[name].astype(np.float64)
        if o.kind in ("adamw", "lion"):
            w = w * (1 - lr * decay)
        elif o.kind != "lamb":
            g = g + decay * w
        if o.kind == "rmsprop":
            g = g / (np.sqrt(self._blend("v", name, o.alpha, (1 - o.alpha) * g**2)) + o.eps)
        if o.kind in ("sgd", "rmsprop"):
            v = self._blend("momentum", name, o.momentum, g) if o.momentum else g
            return np.asarray(w - lr * (g + o.momentum * v if o.nesterov else v))
        b1, b2 = o.betas
        if o.kind == "lion":
            held = self.state.get(f"m:{name}", np.zeros_like(g))
            self._blend("m", name, b2, (1 - b2) * g)
            return np.asarray(w - lr * np.sign(b1 * held + (1 - b1) * g))
        m = self._blend("m", name, b1, (1 - b1) * g) / (1 - b1**self.steps)
        v = self._blend("v", name, b2, (1 - b2) * g**2) / (1 - b2**self.steps)
        if o.kind != "lamb":
            return np.asarray(w - lr * m / (np.sqrt(v) + o.eps))
        u = m / (np.sqrt(v) + o.eps) + decay * w
        of_weight, of_update = np.linalg.norm(w), np.linalg.norm(u)
        return np.asarray(w - lr * (of_weight / of_update if of_weight > 0 and of_update > 0 else 1.0) * u)

    def _follow(self, values: Mapping[str, Float64]) -> None:
        for node in self.part.nodes:
            if node.weights.get("running_mean") in self.groups.updating:
                x, share = values[node.inputs[0]], node.attributes["momentum"]
                for slot, seen in (("running_mean", x.mean(0)), ("running_var", x.var(0, ddof=1))):
                    held = self.model.weights[node.weights[slot]].astype(np.float64)
                    self._set(node.weights[slot], (1 - share) * held + share * seen)

    def export_state(self) -> dict[str, Array]:
        return {"step": np.array(self.steps, np.int64)} | {key: held.copy() for key, held in self.state.items()}

    def import_state(self, state: Mapping[str, Array]) -> None:
        self.state = {key: held.copy() for key, held in state.items() if key != "step"}
        self.steps = int(state["step"])


class NumpyBackend:
    name = "numpy"
    kinds = frozenset(
        {"image", "adaptive_avg_pool", "flatten", "linear", "batch_norm", "relu", "dropout", "stochastic_depth"}
    )
    networks: Mapping[str, Graph] = {TINY.name: NETWORK}
    update_rules = get_args(UpdateRule)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def build(self, spec: NetworkSpec, device: str) -> NumpyModel:
        if spec.precision != "float32":
            raise BackendError(expected("precision on backend 'numpy'", spec.precision, ["float32"]))
        return NumpyModel(spec, {name: np.zeros(shape, np.float32) for name, shape in spec.graph.weights.items()})

    def export_weights(self, model: NumpyModel) -> Weights:
        return {name: weight.copy() for name, weight in model.weights.items()}

    def import_weights(self, model: NumpyModel, weights: Mapping[str, Float32]) -> None:
        model.weights.update({name: weight.copy() for name, weight in weights.items()})

    def make_train_step(
        self, model: NumpyModel, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> NumpyTrainStep:
        return NumpyTrainStep(model, optimizer, loss, groups, start)

    def make_predict_step(self, model: NumpyModel, start: str, stop: str) -> PredictStep:
        part = part_of(model.spec.graph, start, stop)

        @np.errstate(over="ignore", invalid="ignore")
        def predict(inputs: Array) -> Float32:
            return _run(model, part, inputs, frozenset(), {})[part.result].astype(np.float32)

        return predict
