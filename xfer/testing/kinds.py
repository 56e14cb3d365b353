"""What each kind of node means, as formulas in float64: the documentation of the kinds, and what laws hold backends to.

A function of `REFERENCE` takes the values of a node's inputs, by position, and its weights by slot and its attributes,
by keyword. N is the batch, maps are (N, C, H, W), and pairs are (rows, columns). Where torch has a layer of the same
name, its documentation is the source of the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float64
from xfer.graphs.graph import Graph
from xfer.testing.window_attention import cosine_window_attention, patch_merge, window_attention
from xfer.testing.windows import Ints, adaptive_avg_pool, avg_pool, conv, max_pool

Array = NDArray[Any]


def evaluate(
    graph: Graph,
    weights: Mapping[str, Array],
    images: Array,
    batch_statistics: Collection[str] = (),
    masks: Mapping[str, Array] | None = None,
) -> dict[str, Float64]:
    """Name of a node -> its value, in float64, of every node of a graph.

    images            (N, 3, H, W), normalised: the value of the node `image`
    batch_statistics  names of the nodes of kind batch_norm that normalise with the batch, as in training; all others
                      do so with their running statistics
    masks             name of a node -> what its first input is multiplied with
    """
    values: dict[str, Float64] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs] if node.kind != "image" else [images.astype(np.float64)]
        if masks and node.name in masks:
            inputs = [inputs[0] * masks[node.name], *inputs[1:]]
        slots = {slot: weights[name].astype(np.float64) for slot, name in node.weights.items()}
        training = {"batch_statistics": True} if node.name in batch_statistics else {}
        values[node.name] = REFERENCE[node.kind](*inputs, **slots, **node.attributes, **training)
    return values


def image(x: Float64) -> Float64:
    return x


def linear(x: Float64, weight: Float64, bias: Float64 | None = None) -> Float64:
    """x weight^T + bias, on the last axis. weight (O, I)."""
    return np.asarray(x @ weight.T + (0 if bias is None else bias))


def batch_norm(
    x: Float64,
    weight: Float64,
    bias: Float64,
    running_mean: Float64,
    running_var: Float64,
    *,
    eps: float,
    momentum: float = 0.1,
    batch_statistics: bool = False,
) -> Float64:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel, axis 1.

    Mean and variance are the running ones; in training they may be the batch's, over all axes but 1, the variance
    biased: divided by n. Each such batch moves the running ones `momentum` of the way to its own, the variance then
    being the unbiased one, divided by n - 1.
    """
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = running_mean.reshape(shape), running_var.reshape(shape)
    if batch_statistics:
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + eps) * weight.reshape(shape) + bias.reshape(shape))


def layer_norm(x: Float64, weight: Float64, bias: Float64, *, eps: float) -> Float64:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis, the variance biased."""
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(variance + eps) * weight + bias)


def group_norm(x: Float64, weight: Float64, bias: Float64, *, groups: int, eps: float) -> Float64:
    """(x - mean) / sqrt(variance + eps) * weight + bias, of each picture and each of the groups of axis 1.

    Mean and the biased variance are over a group's channels and all axes behind (Wu and He 2018, "Group Normalization",
    section 3). weight, bias (C,).
    """
    parts = x.reshape(len(x), groups, -1)
    parts = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return np.asarray(parts.reshape(x.shape) * weight.reshape(shape) + bias.reshape(shape))


def relu(x: Float64) -> Float64:
    """max(x, 0)"""
    return np.maximum(x, 0)


def relu6(x: Float64) -> Float64:
    """min(max(x, 0), 6)"""
    return np.clip(x, 0, 6)


def gelu(x: Float64) -> Float64:
    """x / 2 * (1 + erf(x / sqrt(2))): the exact one of Hendrycks & Gimpel 2016, not its approximation by tanh."""
    from scipy.special import erf  # here, as it takes longer to load than all else here

    return np.asarray(x / 2 * (1 + erf(x / sqrt(2))))


def sigmoid(x: Float64) -> Float64:
    """1 / (1 + exp(-x)), by a tanh, which does not overflow."""
    return np.asarray((1 + np.tanh(x / 2)) / 2)


def silu(x: Float64) -> Float64:
    """x * sigmoid(x)"""
    return x * sigmoid(x)


def hardsigmoid(x: Float64) -> Float64:
    """relu6(x + 3) / 6"""
    return relu6(x + 3) / 6


def hardswish(x: Float64) -> Float64:
    """x * relu6(x + 3) / 6"""
    return x * hardsigmoid(x)


def tanh(x: Float64) -> Float64:
    return np.tanh(x)


def leaky_relu(x: Float64, *, slope: float) -> Float64:
    """x where it is above 0, else slope * x."""
    return np.where(x > 0, x, slope * x)


def elu(x: Float64, *, alpha: float) -> Float64:
    """x where it is above 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def softplus(x: Float64) -> Float64:
    """log(1 + exp(x))"""
    return np.logaddexp(0, x)


def clamp(x: Float64, *, low: float, high: float) -> Float64:
    """min(max(x, low), high)"""
    return np.minimum(np.maximum(x, low), high)


def softmax(x: Float64, *, axis: int) -> Float64:
    """exp(x) / sum of exp(x) along the axis."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def mean(x: Float64, *, axes: Ints, keep: bool) -> Float64:
    """Over all these axes together, which stay with size 1 if `keep`."""
    return np.asarray(x.mean(axis=tuple(axes), keepdims=keep))


def max_(x: Float64, *, axes: Ints, keep: bool) -> Float64:
    """The largest of all these axes together, which stay with size 1 if `keep`."""
    return np.asarray(x.max(axis=tuple(axes), keepdims=keep))


def pad(x: Float64, *, padding: Ints) -> Float64:
    """Maps with `padding` rows and columns of zeros more: top, bottom, left, right."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def add(a: Float64, b: Float64 | None = None, *, value: float = 0.0) -> Float64:
    """a + b, broadcast; of a single input, a + value."""
    return a + (value if b is None else b)


def mul(a: Float64, b: Float64 | None = None, *, value: float = 1.0) -> Float64:
    """a * b, broadcast; of a single input, a * value."""
    return a * (value if b is None else b)


def cat(*inputs: Float64, axis: int) -> Float64:
    return np.concatenate(inputs, axis)


def slice_(x: Float64, *, axis: int, start: int, stop: int) -> Float64:
    """Entries start to stop, that one not included, of one axis."""
    return x.take(range(start, stop), axis)


def permute(x: Float64, *, axes: Ints) -> Float64:
    """Axis i of the result is axis axes[i]."""
    return x.transpose(axes)


def reshape(x: Float64, *, shape: Sequence[int | str]) -> Float64:
    """An entry is a number, -1 (what is left, one at most), or "@i": the size of axis i of the input. @0 is N."""
    return x.reshape([x.shape[int(entry[1:])] if isinstance(entry, str) else entry for entry in shape])


def flatten(x: Float64, *, start: int) -> Float64:
    """All axes from `start` on become one, the last varying fastest."""
    return x.reshape(*x.shape[:start], prod(x.shape[start:]))


def expand(x: Float64, like: Float64) -> Float64:
    """x, of size 1 on axis 0, as often as `like` has entries there."""
    return np.repeat(x, len(like), axis=0)


def table(*, value: Float64, fill: float = 0.0, std: float = 0.0) -> Float64:
    """A parameter by itself: a class token, positions, a layer's scale. Its first values are by `fill` and `std`."""
    return value


def attention(
    x: Float64, in_weight: Float64, in_bias: Float64, out_weight: Float64, out_bias: Float64, *, heads: int
) -> Float64:
    """Self-attention of (N, L, D) over L: concat over h of (softmax(q_h k_h^T / sqrt(D / heads)) v_h) W_out^T + b_out.

    q, k, v = x W_in^T + b_in, in_weight (3 D, D) being those of q, k and v one above the other, and each head having
    D / heads of their columns (Vaswani et al. 2017, "Attention is all you need", section 3.2).
    """
    n, length, width = x.shape
    q, k, v = linear(x, in_weight, in_bias).reshape(n, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
    shares = softmax(q @ k.swapaxes(2, 3) / sqrt(width // heads), axis=3)
    return linear((shares @ v).swapaxes(1, 2).reshape(n, length, width), out_weight, out_bias)


def matmul(a: Float64, b: Float64) -> Float64:
    """The product of the matrices in the last two axes, the axes before them broadcast."""
    return a @ b


def dropout(x: Float64, *, p: float) -> Float64:
    """x: what is dropped before a head comes as a mask from the core, and nothing else is."""
    return x


def stochastic_depth(x: Float64, *, p: float, mode: str) -> Float64:
    """x: no branch is dropped yet."""
    return x


_KINDS: tuple[Callable[..., Float64], ...] = (
    image, conv, linear, batch_norm, layer_norm, group_norm, relu, relu6, gelu, silu, hardswish, hardsigmoid, sigmoid,
    tanh, leaky_relu, elu, softplus, clamp, softmax, max_pool, avg_pool, adaptive_avg_pool, mean, max_, pad, add, mul,
    cat, slice_, permute, reshape, flatten, expand, table, attention, window_attention, cosine_window_attention,
    patch_merge, matmul, dropout, stochastic_depth,
)  # fmt: skip

REFERENCE: Mapping[str, Callable[..., Float64]] = {kind.__name__.rstrip("_"): kind for kind in _KINDS}
"""Kind -> what it means, of every kind that there is."""
