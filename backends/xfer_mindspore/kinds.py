"""What each kind of node computes (`xfer.graphs.kinds`), over parameters that a scope holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mindspore import Parameter, ParameterTuple, Tensor, ops

from xfer.errors import BackendError, expected
from xfer.graphs.graph import Graph, Node
from xfer_mindspore.given import Function, Given, Maker, filled, on_cpu
from xfer_mindspore.layers import BATCH_NORM_SLOTS, BatchNorm, Conv, Dense, Layer
from xfer_mindspore.pooling import adaptive_avg_pool, avg_pool, max_pool, mean_of
from xfer_mindspore.small_maps import SmallMaps, small_maps_pay
from xfer_mindspore.windows import cosine_window_attention, patch_merge, window_attention

_SCALE = ops.BatchNorm(is_training=False, epsilon=1e-12)


def refuse_unknown(graph: Graph) -> None:
    """Raises BackendError for a node of a kind that is not in the table."""
    for node in graph.nodes:
        if node.kind not in KINDS:
            raise BackendError(expected(f"kind of node {node.name!r} on backend 'mindspore'", node.kind, KINDS))


def function_of(node: Node, parameters: Mapping[str, Parameter], follows: frozenset[str] = frozenset()) -> Function:
    """What takes the node's inputs and gives its output. `follows`: running means that follow the batches."""
    weights = {slot: parameters[name] for slot, name in node.weights.items()}
    function = KINDS[node.kind](Given(node.attributes, weights, node.weights.get("running_mean") in follows))
    return Holding(weights, function) if node.kind in NEVER_COMPILED else function


class Holding(Layer):
    """A function that has its weights from elsewhere, as a cell that lists them."""

    def __init__(self, weights: Mapping[str, Parameter], function: Function) -> None:
        super().__init__()
        self.weights, self.function = ParameterTuple(weights.values()), function

    def construct(self, x: Tensor) -> Tensor:
        return self.function(x)


def unchanged(x: Tensor) -> Tensor:
    return x


def _conv(given: Given) -> Conv:
    sizes = {name: given[name] for name in ("stride", "dilation", "groups")} | {"pad": given["padding"]}
    weight, bias = given.weights["weight"], given.weights.get("bias")
    return (SmallMaps if on_cpu() and small_maps_pay(weight, sizes) else Conv)(weight, bias, **sizes)


def _batch_norm(given: Given) -> Function:
    slots = [given.weights[slot] for slot in BATCH_NORM_SLOTS]
    return BatchNorm(slots, given.follows, given["eps"], given["momentum"])


def _linear(given: Given) -> Function:
    return Dense(given.weights["weight"], given.weights.get("bias"))


class LayerNorm(Layer):
    def __init__(self, given: Given) -> None:
        super().__init__()
        self.weight, self.bias = given.weights["weight"], given.weights["bias"]
        self.normalise = ops.LayerNorm(-1, -1, given["eps"])  # mindspore.ops.layer_norm has no kernel on the CPU

    def construct(self, x: Tensor) -> Tensor:
        return self.normalise(x, self.weight, self.bias)[0]


class GroupNorm(Layer):
    """By the kernels of a layer norm and of a batch norm at rest: what broadcasts would be far slower on the CPU."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.weight, self.bias = given.weights["weight"], given.weights["bias"]
        self.groups, self.normalise = given["groups"], ops.LayerNorm(-1, -1, given["eps"])

    def construct(self, x: Tensor) -> Tensor:
        parts = x.reshape(x.shape[0], self.groups, -1)
        ones, zeros = filled(parts.shape[2], 1.0), filled(parts.shape[2], 0.0)
        maps = self.normalise(parts, ones, zeros)[0].reshape(x.shape[0], x.shape[1], -1, 1)
        ones, zeros = filled(x.shape[1], 1.0), filled(x.shape[1], 0.0)
        return _SCALE(maps, self.weight, self.bias, zeros, ones)[0].reshape(x.shape)


class Table(Layer):
    def __init__(self, given: Given) -> None:
        super().__init__()
        self.value = given.weights["value"]

    def construct(self) -> Tensor:
        return self.value


def _gelu(x: Tensor) -> Tensor:
    # On the CPU it takes half the time of ops.gelu(x, approximate="none").
    return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


def _tanh(x: Tensor) -> Tensor:
    # On the CPU the primitive is off by 1e-4, and this by 1.6e-6: of small values that is much, and there the series is
    # good to the last digit.
    square = x * x
    series = 2 / 15 - square * (17 / 315 - square * (62 / 2835 - square * (1382 / 155925)))
    near = x * (1 - square * (1 / 3 - square * series))
    return ops.where(square < 0.09, near, 2 * ops.sigmoid(2 * x) - 1)


def _leaky_relu(given: Given) -> Function:
    slope = given["slope"]
    return lambda x: ops.where(x > 0, x, slope * x)


def _elu(given: Given) -> Function:
    alpha = given["alpha"]
    return lambda x: ops.where(x > 0, x, alpha * ops.expm1(ops.minimum(x, 0.0)))


def _softplus(x: Tensor) -> Tensor:
    return ops.relu(x) + ops.log1p(ops.exp(-ops.abs(x)))


def _clamp(given: Given) -> Function:
    low, high = given["low"], given["high"]
    return lambda x: ops.clamp(x, low, high)


def _pad(given: Given) -> Function:
    top, bottom, left, right = given["padding"]
    return ops.Pad(((0, 0), (0, 0), (top, bottom), (left, right)))


def _max(given: Given) -> Function:
    axes, keep = given["axes"], given["keep"]
    return lambda x: ops.amax(x, axes, keep)


def _add(given: Given) -> Function:
    value = given.attributes.get("value")
    if value is None:
        return lambda x, y: x + y
    return lambda x: x + value


def _mul(given: Given) -> Function:
    value, fast = given.attributes.get("value"), on_cpu()
    if value is not None:
        return lambda x: x * value

    def multiply(x: Tensor, y: Tensor) -> Tensor:
        if not fast or x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2]:
            return x * y
        if y.shape[2:] == (1, 1):
            return _scaled(x, y)
        if x.shape[2:] == (1, 1):
            return _scaled(y, x)
        return x * y

    return multiply


def _scaled(maps: Tensor, scales: Tensor) -> Tensor:
    """Maps (N, C, h, w), each times a number of its own, (N, C, 1, 1), as a squeeze-excitation asks for.

    A normalisation at rest, with a mean of 0 and a variance of 1, does that to the bit, and on the CPU three times as
    fast as a product that broadcasts, its gradient too.
    """
    count, (height, width) = maps.shape[0] * maps.shape[1], maps.shape[2:]
    zeros, ones = filled(count, 0.0), filled(count, 1.0)
    flat = maps.reshape(1, count, height, width)
    return _SCALE(flat, scales.reshape(count), zeros, zeros, ones)[0].reshape(maps.shape)


def _softmax(given: Given) -> Function:
    axis = given["axis"]
    return lambda x: ops.softmax(x, axis)


def _cat(given: Given) -> Function:
    axis = given["axis"]
    return lambda *parts: ops.cat(parts, axis)


def _slice(given: Given) -> Function:
    axis, start, length = given["axis"], given["start"], given["stop"] - given["start"]
    return lambda x: ops.narrow(x, axis, start, length)


def _permute(given: Given) -> Function:
    axes = given["axes"]
    return lambda x: x.transpose(axes)


def _reshape(given: Given) -> Function:
    shape = given["shape"]

    def reshape(x: Tensor) -> Tensor:
        # "@i" is the size of axis i of what is given.
        return x.reshape([x.shape[int(size[1:])] if isinstance(size, str) else size for size in shape])

    return reshape


def _flatten(given: Given) -> Function:
    start = given["start"]
    return lambda x: x.reshape(*x.shape[:start], -1)


def _expand(given: Given) -> Function:
    return lambda x, like: ops.broadcast_to(x, (like.shape[0], *x.shape[1:]))


class Attention(Layer):
    def __init__(self, given: Given) -> None:
        super().__init__()
        self.heads = given["heads"]
        self.enter = Dense(given.weights["in_weight"], given.weights["in_bias"])
        self.leave = Dense(given.weights["out_weight"], given.weights["out_bias"])

    def construct(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        made, depth = self.enter(x), width // self.heads
        # Not by an index: MindSpore 2.10 forgets at times, in a process that has done much, that an int is one.
        query, key, value = [
            ops.narrow(made, 2, part * width, width).reshape(batch, length, self.heads, depth).transpose(0, 2, 1, 3)
            for part in range(3)
        ]
        shares = ops.softmax(ops.matmul(query, key.swapaxes(2, 3)) * depth**-0.5, -1)
        return self.leave(ops.matmul(shares, value).transpose(0, 2, 1, 3).reshape(batch, length, width))


def _as(function: Function) -> Maker:
    """Of a kind without attributes and weights."""
    return lambda given: function


KINDS: Mapping[str, Maker] = {
    "image": _as(unchanged),
    "table": Table,
    "conv": _conv,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "layer_norm": LayerNorm,
    "group_norm": GroupNorm,
    "attention": Attention,
    "window_attention": lambda given: window_attention(given.attributes, given.weights),
    "cosine_window_attention": lambda given: cosine_window_attention(given.attributes, given.weights),
    "patch_merge": _as(patch_merge),
    "relu": _as(ops.relu),
    "relu6": _as(ops.relu6),
    "gelu": _as(_gelu),
    "silu": _as(ops.silu),
    "hardswish": _as(ops.hardswish),
    "hardsigmoid": _as(ops.hardsigmoid),
    "sigmoid": _as(ops.sigmoid),
    "tanh": _as(_tanh),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softplus": _as(_softplus),
    "clamp": _clamp,
    "softmax": _softmax,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "mean": mean_of,
    "max": _max,
    "pad": _pad,
    "add": _add,
    "mul": _mul,
    "matmul": _as(ops.matmul),
    "cat": _cat,
    "slice": _slice,
    "permute": _permute,
    "reshape": _reshape,
    "flatten": _flatten,
    "expand": _expand,
    "dropout": _as(unchanged),
    "stochastic_depth": _as(unchanged),
}

NEVER_COMPILED = frozenset(["window_attention", "cosine_window_attention"])
"""Their functions do with shapes what graph mode does not compile: a network that has one runs operator by operator."""
