"""What each kind of node computes (`xfer.graphs.kinds`), over parameters that a scope holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, ops

from xfer.errors import BackendError, expected
from xfer.graphs.graph import Graph, Node
from xfer_mindspore.layers import BATCH_NORM_SLOTS, BatchNorm, Conv, Dense, Scope

_PRODUCT = ops.MatMul()
_SCALE = ops.BatchNorm(is_training=False, epsilon=1e-12)

Function = Callable[..., Tensor]
"""Of a node's inputs."""


@dataclass(frozen=True)
class Given:
    """What a node's function is made of.

    weights  by the slots of the kind
    follows  of a batch norm: whether it normalises with the statistics of the batch, and updates the running ones
    """

    attributes: Mapping[str, Any]
    weights: Mapping[str, Parameter]
    follows: bool

    def __getitem__(self, attribute: str) -> Any:
        value = self.attributes[attribute]
        return tuple(value) if isinstance(value, list) else value  # MindSpore takes no lists


Maker = Callable[[Given], Function]


def refuse_unknown(graph: Graph) -> None:
    """Raises BackendError for a node of a kind that is not in the table."""
    for node in graph.nodes:
        if node.kind not in KINDS:
            raise BackendError(expected(f"kind of node {node.name!r} on backend 'mindspore'", node.kind, KINDS))


def function_of(scope: Scope, graph: Graph, node: Node) -> Function:
    """What takes the node's inputs and gives its output: for a convolution or a batch norm, its cell."""
    weights = {slot: scope.parameter(name, *graph.weights[name]) for slot, name in node.weights.items()}
    layer = node.weights.get("running_mean", "").removesuffix(".running_mean")
    return KINDS[node.kind](Given(node.attributes, weights, layer in scope.batch_norms))


def _on_cpu() -> bool:
    return ms.get_current_device().device_target == "CPU"


def unchanged(x: Tensor) -> Tensor:
    return x


class AnyBatchNorm(BatchNorm):
    """Of tensors with any number of axes, the channels on axis 1."""

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return super().construct(x)
        return super().construct(x.reshape(x.shape[0], x.shape[1], -1, 1)).reshape(x.shape)


class AnyDense(Dense):
    """On the last axis of several."""

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return super().construct(x)
        return super().construct(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def _conv(given: Given) -> Conv:
    sizes = {"stride": given["stride"], "dilation": given["dilation"], "groups": given["groups"]}
    return Conv(given.weights["weight"], given.weights.get("bias"), pad=given["padding"], **sizes)


def _batch_norm(given: Given) -> Function:
    slots = [given.weights[slot] for slot in BATCH_NORM_SLOTS]
    return AnyBatchNorm(slots, given.follows, given["eps"], given["momentum"])


def _linear(given: Given) -> Function:
    return AnyDense(given.weights["weight"], given.weights.get("bias"))


def _layer_norm(given: Given) -> Function:
    normalise = ops.LayerNorm(-1, -1, given["eps"])  # mindspore.ops.layer_norm has no kernel on the CPU
    return lambda x: normalise(x, given.weights["weight"], given.weights["bias"])[0]


def _gelu(x: Tensor) -> Tensor:
    # On the CPU it takes half the time of ops.gelu(x, approximate="none").
    return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


def _tanh(x: Tensor) -> Tensor:
    # On the CPU the primitive is off by 2e-5, this by 4e-7.
    return 2 * ops.sigmoid(2 * x) - 1


def _max_pool(given: Given) -> Function:
    kernel, stride, (top, left), dilation = given["kernel"], given["stride"], given["padding"], given["dilation"]
    if dilation != (1, 1) or not _on_cpu():
        return lambda x: ops.max_pool2d(x, kernel, stride, (top, left), dilation, ceil_mode=given["ceil"])
    # On the CPU the 3-D kernel gives the same bits, three times as fast, and its gradient 60 times as fast.
    pads = {"pad_mode": "pad", "pad_list": (0, 0, top, top, left, left), "ceil_mode": given["ceil"]}
    pool = ops.MaxPool3D((1, *kernel), (1, *stride), **pads)
    return lambda x: pool(x.expand_dims(2)).squeeze(2)


def _avg_pool(given: Given) -> Function:
    (top, left), sizes = given["padding"], (given["kernel"], given["stride"])
    modes = {"ceil_mode": given["ceil"], "count_include_pad": given["count_pad"]}
    return lambda x: ops.avg_pool2d(x, *sizes, padding=(top, top, left, left), **modes)


def _adaptive_avg_pool(given: Given) -> Function:
    if given["size"] == (1, 1):
        return _mean(Given({"axes": [2, 3], "keep": True}, {}, follows=False))
    return lambda x: ops.adaptive_avg_pool2d(x, given["size"])


def _mean(given: Given) -> Function:
    axes, keep = given["axes"], given["keep"]
    fast = _on_cpu() and axes == (2, 3)

    def mean(x: Tensor) -> Tensor:
        if not fast or x.ndim != 4:
            return x.mean(axes, keep_dims=keep)
        # Of maps as a product, whose gradient is one too: on the CPU three times as fast as a mean and its gradient.
        batch, channels, height, width = x.shape
        shares = _filled(height * width, 1 / (height * width)).reshape(-1, 1)
        means = _PRODUCT(x.reshape(batch * channels, height * width), shares)
        return means.reshape(batch, channels, 1, 1) if keep else means.reshape(batch, channels)

    return mean


@lru_cache(maxsize=256)
def _filled(count: int, value: float) -> Tensor:
    return Tensor(np.full(count, value, np.float32))


def _add(given: Given) -> Function:
    value = given.attributes.get("value")
    return lambda x, y=value: x + y


def _mul(given: Given) -> Function:
    value, fast = given.attributes.get("value"), _on_cpu()

    def multiply(x: Tensor, y: Tensor | float = value) -> Tensor:
        if not fast or not isinstance(y, Tensor) or x.ndim != 4 or y.ndim != 4 or x.shape[:2] != y.shape[:2]:
            return x * y
        if y.shape[2:] == (1, 1):
            return _scaled(x, y)
        return _scaled(y, x) if x.shape[2:] == (1, 1) else x * y

    return multiply


def _scaled(maps: Tensor, scales: Tensor) -> Tensor:
    """Maps (N, C, h, w), each times a number of its own, (N, C, 1, 1), as a squeeze-excitation asks for.

    A normalisation at rest, with a mean of 0 and a variance of 1, does that to the bit, and on the CPU three times as
    fast as a product that broadcasts, its gradient too.
    """
    count, (height, width) = maps.shape[0] * maps.shape[1], maps.shape[2:]
    zeros, ones = _filled(count, 0.0), _filled(count, 1.0)
    flat = maps.reshape(1, count, height, width)
    return _SCALE(flat, scales.reshape(count), zeros, zeros, ones)[0].reshape(maps.shape)


def _slice(given: Given) -> Function:
    return lambda x: ops.narrow(x, given["axis"], given["start"], given["stop"] - given["start"])


def _reshape(given: Given) -> Function:
    return lambda x: x.reshape(*sizes_of(given["shape"], x.shape))


def sizes_of(shape: Sequence[int | str], given: Sequence[int]) -> list[int]:
    """Of a reshape: `"@i"` is the size of axis i of what is given."""
    return [given[int(size[1:])] if isinstance(size, str) else size for size in shape]


def _flatten(given: Given) -> Function:
    return lambda x: x.reshape(*x.shape[: given["start"]], -1)


def _expand(given: Given) -> Function:
    return lambda x, like: ops.broadcast_to(x, (like.shape[0], *x.shape[1:]))


def _attention(given: Given) -> Function:
    heads = given["heads"]
    enter = AnyDense(given.weights["in_weight"], given.weights["in_bias"])
    leave = AnyDense(given.weights["out_weight"], given.weights["out_bias"])

    def attend(x: Tensor) -> Tensor:
        batch, length, width = x.shape
        made = enter(x)
        # Not by an index: MindSpore 2.10 forgets at times, in a process that has done much, that an int is one.
        parts = (ops.narrow(made, 2, part * width, width) for part in range(3))
        query, key, value = (p.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3) for p in parts)
        scores = ops.matmul(query, key.swapaxes(2, 3)) * (width // heads) ** -0.5
        mixed = ops.matmul(ops.softmax(scores, -1), value)
        return leave(mixed.transpose(0, 2, 1, 3).reshape(batch, length, width))

    return attend


def _as(function: Function) -> Maker:
    """Of a kind without attributes and weights."""
    return lambda given: function


KINDS: Mapping[str, Maker] = {
    "image": _as(unchanged),
    "table": lambda given: lambda: given.weights["value"],
    "conv": _conv,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "attention": _attention,
    "relu": _as(ops.relu),
    "relu6": _as(ops.relu6),
    "gelu": _as(_gelu),
    "silu": _as(ops.silu),
    "hardswish": _as(ops.hardswish),
    "hardsigmoid": _as(ops.hardsigmoid),
    "sigmoid": _as(ops.sigmoid),
    "tanh": _as(_tanh),
    "softmax": lambda given: lambda x: ops.softmax(x, given["axis"]),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "mean": _mean,
    "add": _add,
    "mul": _mul,
    "matmul": _as(ops.matmul),
    "cat": lambda given: lambda *parts: ops.cat(parts, given["axis"]),
    "slice": _slice,
    "permute": lambda given: lambda x: x.transpose(*given["axes"]),
    "reshape": _reshape,
    "flatten": _flatten,
    "expand": _expand,
    "dropout": _as(unchanged),
    "stochastic_depth": _as(unchanged),
}
