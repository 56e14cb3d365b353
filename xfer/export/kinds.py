"""What each kind of node is in ONNX, at rest. The formulas are in `xfer.graphs.kinds` and `xfer.testing.kinds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

import numpy as np

from xfer.export.pools import adaptive_avg_pool, avg_pool, conv, max_pool
from xfer.export.windows import cosine_window_attention, patch_merge, window_attention
from xfer.export.writer import Given, Writer

Kind = Callable[[Writer, Given], str]
"""Writes a node, and gives the name of its value."""


def nothing(w: Writer, of: Given) -> str:
    return of.inputs[0]


def operator(name: str, **attributes: float) -> Kind:
    return lambda w, of: w.op(name, *of.inputs, **attributes)


def linear(w: Writer, of: Given) -> str:
    if len(of.taken[0]) == 2:
        return w.op("Gemm", *of.inputs, *(w.weight(of, slot) for slot in of.weights), transB=1)
    product = w.op("MatMul", of.inputs[0], w.turned(of, "weight"))
    return w.op("Add", product, w.weight(of, "bias")) if "bias" in of.weights else product


def batch_norm(w: Writer, of: Given) -> str:
    slots = ("weight", "bias", "running_mean", "running_var")
    return w.op("BatchNormalization", *of.inputs, *(w.weight(of, slot) for slot in slots), epsilon=of["eps"])


def layer_norm(w: Writer, of: Given) -> str:
    slots = ("weight", "bias")
    return w.op("LayerNormalization", *of.inputs, *(w.weight(of, slot) for slot in slots), axis=-1, epsilon=of["eps"])


def group_norm(w: Writer, of: Given) -> str:
    """Each group as a channel of its own, which InstanceNormalization makes one mean and variance of."""
    groups, (batch, *rest) = of["groups"], of.taken[0]
    parts = w.reshape(of.inputs[0], (batch, groups, int(np.prod([size or 1 for size in rest])) // groups))
    one, zero = w.constant(np.ones(groups)), w.constant(np.zeros(groups))
    parts = w.op("InstanceNormalization", parts, one, zero, epsilon=of["eps"])
    shape = (-1, *[1] * (len(rest) - 1))
    scaled = w.op("Mul", w.reshape(parts, of.taken[0]), w.constant(of.weights["weight"].reshape(shape)))
    return w.op("Add", scaled, w.constant(of.weights["bias"].reshape(shape)))


def attention(w: Writer, of: Given) -> str:
    n, length, width = of.taken[0]
    heads, part = of["heads"], (width or 0) // of["heads"]
    joined = w.op("Add", w.op("MatMul", of.inputs[0], w.turned(of, "in_weight")), w.weight(of, "in_bias"))
    parts = w.op("Transpose", w.reshape(joined, (n, length, 3, heads, part)), perm=[2, 0, 3, 1, 4])
    q, k, v = (w.op("Gather", parts, w.constant(i, np.int64), axis=0) for i in range(3))
    scores = w.op("MatMul", w.op("Mul", q, w.constant(1 / sqrt(part))), w.op("Transpose", k, perm=[0, 1, 3, 2]))
    mixed = w.op("Transpose", w.op("MatMul", w.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    projected = w.op("MatMul", w.reshape(mixed, of.taken[0]), w.turned(of, "out_weight"))
    return w.op("Add", projected, w.weight(of, "out_bias"))


def gelu(w: Writer, of: Given) -> str:
    """One operator where the opset has it, and else x / 2 * (1 + erf(x / sqrt(2))), which runtimes know by its form."""
    (x,) = of.inputs
    if w.opset >= 20:
        return w.op("Gelu", x)
    error = w.op("Erf", w.op("Div", x, w.constant(sqrt(2))))
    return w.op("Mul", w.op("Mul", x, w.op("Add", error, w.constant(1))), w.constant(0.5))


def silu(w: Writer, of: Given) -> str:
    return w.op("Mul", of.inputs[0], w.op("Sigmoid", of.inputs[0]))


def clip(w: Writer, x: str, low: float, high: float) -> str:
    return w.op("Clip", x, w.constant(low), w.constant(high))


def over_axes(operator: str) -> Kind:
    return lambda w, of: w.reduce(operator, of.inputs[0], of["axes"], of["keep"])


def with_number(operator: str) -> Kind:
    """Of two values, or of one and the number `value`."""

    def write(w: Writer, of: Given) -> str:
        second = of.inputs[1:] or (w.constant(of["value"]),)
        return w.op(operator, of.inputs[0], *second)

    return write


def pad(w: Writer, of: Given) -> str:
    top, bottom, left, right = of["padding"]
    return w.pad(of.inputs[0], (0, 0, top, left), (0, 0, bottom, right))


def cut(w: Writer, of: Given) -> str:
    return w.slice(of.inputs[0], [of["start"]], [of["stop"]], [of["axis"]])


def reshape(w: Writer, of: Given) -> str:
    return w.reshape(of.inputs[0], of.gives)


def expand(w: Writer, of: Given) -> str:
    x, like = of.inputs
    count = w.slice(w.op("Shape", like), [0], [1], [0])
    return w.op("Expand", x, w.op("Concat", count, w.integers([1] * (len(of.taken[0]) - 1)), axis=0))


KINDS: Mapping[str, Kind] = {
    "image": nothing,
    "table": lambda w, of: w.weight(of, "value"),
    "conv": conv,
    "linear": linear,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "attention": attention,
    "window_attention": window_attention,
    "cosine_window_attention": cosine_window_attention,
    "patch_merge": patch_merge,
    "relu": operator("Relu"),
    "relu6": lambda w, of: clip(w, of.inputs[0], 0, 6),
    "gelu": gelu,
    "silu": silu,
    "hardswish": operator("HardSwish"),
    "hardsigmoid": operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": operator("Sigmoid"),
    "tanh": operator("Tanh"),
    "leaky_relu": lambda w, of: w.op("LeakyRelu", *of.inputs, alpha=of["slope"]),
    "elu": lambda w, of: w.op("Elu", *of.inputs, alpha=of["alpha"]),
    "softplus": operator("Softplus"),
    "clamp": lambda w, of: clip(w, of.inputs[0], of["low"], of["high"]),
    "softmax": lambda w, of: w.op("Softmax", *of.inputs, axis=of["axis"]),
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "mean": over_axes("ReduceMean"),
    "max": over_axes("ReduceMax"),
    "pad": pad,
    "add": with_number("Add"),
    "mul": with_number("Mul"),
    "matmul": operator("MatMul"),
    "cat": lambda w, of: w.op("Concat", *of.inputs, axis=of["axis"]),
    "slice": cut,
    "permute": lambda w, of: w.op("Transpose", *of.inputs, perm=of["axes"]),
    "reshape": reshape,
    "flatten": reshape,
    "expand": expand,
    "dropout": nothing,
    "stochastic_depth": nothing,
}
