"""What each kind of node of an `xfer.graphs.graph.Graph` does: attributes and slots of weights are keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xfer_torch.layers import BatchNorm, PaddedConv, Sides, conv

Shapes = Mapping[str, tuple[int, ...]]  # slot -> shape of the weight in it


def _conv_layer(
    shapes: Shapes, stride: Sequence[int], padding: Sides, dilation: Sequence[int], groups: int
) -> nn.Conv2d:
    outputs, inputs, *kernel = shapes["weight"]
    how: dict[str, Any] = {
        "in_channels": inputs * groups,
        "out_channels": outputs,
        "kernel_size": tuple(kernel),
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "groups": groups,
        "bias": "bias" in shapes,
    }
    if padding == "same":
        return PaddedConv(sides="same", **how)
    top, bottom, left, right = padding
    if (top, left) == (bottom, right):
        return nn.Conv2d(padding=(top, left), **how)
    return PaddedConv(sides=(top, bottom, left, right), **how)


def _linear_layer(shapes: Shapes) -> nn.Linear:
    outputs, inputs = shapes["weight"]
    return nn.Linear(inputs, outputs, bias="bias" in shapes)


def _batch_norm_layer(shapes: Shapes, eps: float, momentum: float) -> nn.BatchNorm2d:
    return BatchNorm(shapes["weight"][0], eps, momentum)


def _layer_norm_layer(shapes: Shapes, eps: float) -> nn.LayerNorm:
    return nn.LayerNorm(shapes["weight"], eps)


LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    "conv": _conv_layer,
    "linear": _linear_layer,
    "batch_norm": _batch_norm_layer,
    "layer_norm": _layer_norm_layer,
}
"""Kinds whose weights a layer of torch holds, under the names of its slots."""


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, weight.shape, weight, bias, eps)


# In place only where no gradient is wanted: theirs is made of what they take. That of ReLU is made of what it gives.
def silu(x: Tensor, inplace: bool = False) -> Tensor:
    return functional.silu(x, inplace and not torch.is_grad_enabled())


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    return functional.hardswish(x, inplace and not torch.is_grad_enabled())


def softmax(x: Tensor, axis: int) -> Tensor:
    return torch.softmax(x, axis)


def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> Tensor:
    return functional.max_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil)


def avg_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil: bool, count_pad: bool
) -> Tensor:
    return functional.avg_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), ceil, count_pad)


def adaptive_avg_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    height, width = size
    return functional.adaptive_avg_pool2d(x, (height, width))


def mean(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    return x.mean(tuple(axes), keep)


def add(x: Tensor, y: Tensor | None = None, value: float = 0.0, inplace: bool = False) -> Tensor:
    if y is None:
        return x + value
    if inplace and x.shape == y.shape and x.dtype == y.dtype:
        return x.add_(y)
    return x + y


def mul(x: Tensor, y: Tensor | None = None, value: float = 1.0) -> Tensor:
    return x * (value if y is None else y)


def cat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def slice_(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x.narrow(axis, start, min(stop, x.shape[axis]) - start)


def permute(x: Tensor, axes: Sequence[int]) -> Tensor:
    return x.permute(tuple(axes))


def reshape(x: Tensor, shape: Sequence[int | str]) -> Tensor:
    """`@i` in `shape` is the size of axis i. Maps come out channels_last, whatever they were cut into before."""
    sizes = [x.shape[int(size[1:])] if isinstance(size, str) else size for size in shape]
    if len(sizes) == 4 and x.ndim > 4 and (sizes[0], *sizes[2:]) == (x.shape[0], *x.shape[-2:]):
        # Groups of channels become channels again: with the sides in front of them, one copy does it all.
        sides = x.permute(0, -2, -1, *range(1, x.ndim - 2))
        return sides.reshape(sizes[0], sizes[2], sizes[3], -1).permute(0, 3, 1, 2)
    return x.reshape(sizes)


def flatten(x: Tensor, start: int) -> Tensor:
    return x.flatten(start)


def expand(x: Tensor, like: Tensor) -> Tensor:
    return x.expand(like.shape[0], *x.shape[1:])


def table(value: Tensor, fill: float = 0.0, std: float = 0.0) -> Tensor:
    """What its first values are is the core's matter."""
    return value


def attention(
    x: Tensor, heads: int, in_weight: Tensor, in_bias: Tensor, out_weight: Tensor, out_bias: Tensor
) -> Tensor:
    n, length, width = x.shape
    parts = functional.linear(x, in_weight, in_bias).view(n, length, 3, heads, width // heads).unbind(2)
    query, key, value = (part.transpose(1, 2) for part in parts)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return functional.linear(mixed.transpose(1, 2).reshape(n, length, width), out_weight, out_bias)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "conv": conv,
    "linear": functional.linear,
    "layer_norm": layer_norm,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "silu": silu,
    "hardswish": hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": softmax,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "mean": mean,
    "add": add,
    "mul": mul,
    "cat": cat,
    "slice": slice_,
    "permute": permute,
    "reshape": reshape,
    "flatten": flatten,
    "expand": expand,
    "table": table,
    "attention": attention,
    "matmul": torch.matmul,
}

IDLE = frozenset({"dropout", "stochastic_depth"})
"""Kinds that do nothing: dropout comes as a mask from the core."""

KINDS = frozenset({"image", *LAYERS, *FUNCTIONS, *IDLE})

OVERWRITING = frozenset({"relu", "relu6", "silu", "hardswish", "add"})
"""Kinds that can put what they give where their first input was: `inplace`."""

OVERWRITABLE = frozenset({"conv", "linear", "batch_norm", "layer_norm", "add", "mul", "cat", "mean", "matmul"})
"""Kinds whose output is memory of its own that their gradient does not need."""
