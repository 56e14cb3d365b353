"""What each kind of node of an `xfer.graphs.graph.Graph` does: attributes and slots of weights are keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xfer_torch.layers import bins, conv, same_padding
from xfer_torch.windows import cosine_window_attention, patch_merge, window_attention


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
    momentum: float,
    training: bool = False,
) -> Tensor:
    """`training`: with the batch's statistics, and moving the running ones."""
    return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, weight.shape, weight, bias, eps)


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    return functional.group_norm(x, groups, weight, bias, eps)


# In place only where no gradient is wanted: theirs is made of what they take. That of ReLU is made of what it gives.
def silu(x: Tensor, inplace: bool = False) -> Tensor:
    return functional.silu(x, inplace and not torch.is_grad_enabled())


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    return functional.hardswish(x, inplace and not torch.is_grad_enabled())


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    return functional.leaky_relu(x, slope)


def elu(x: Tensor, alpha: float) -> Tensor:
    return functional.elu(x, alpha)


def clamp(x: Tensor, low: float, high: float) -> Tensor:
    return x.clamp(low, high)


def softmax(x: Tensor, axis: int) -> Tensor:
    return torch.softmax(x, axis)


def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | Literal["same"],
    dilation: Sequence[int],
    ceil: bool,
) -> Tensor:
    if padding == "same":
        top, bottom, left, right = same_padding(x, kernel, stride)
        x, padding = functional.pad(x, (left, right, top, bottom), value=-inf), (0, 0)
    return functional.max_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil)


def avg_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil: bool, count_pad: bool
) -> Tensor:
    return functional.avg_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), ceil, count_pad)


def adaptive_avg_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    height, width = size
    if x.is_cuda and (height, width) != (1, 1):  # torch's own gradient there adds in an order of chance
        return bins(bins(x, 2, height), 3, width)
    return functional.adaptive_avg_pool2d(x, (height, width))


def mean(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    return x.mean(tuple(axes), keep)


def max_(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    return x.amax(tuple(axes), keep)


def pad(x: Tensor, padding: Sequence[int]) -> Tensor:
    top, bottom, left, right = padding
    return functional.pad(x, (left, right, top, bottom))


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


def unchanged(x: Tensor, p: float, mode: str = "") -> Tensor:
    return x


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
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "silu": silu,
    "hardswish": hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": functional.softplus,
    "clamp": clamp,
    "softmax": softmax,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "mean": mean,
    "max": max_,
    "pad": pad,
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
    "window_attention": window_attention,
    "cosine_window_attention": cosine_window_attention,
    "patch_merge": patch_merge,
    "matmul": torch.matmul,
    "dropout": unchanged,
    "stochastic_depth": unchanged,
}

IDLE = frozenset({"dropout", "stochastic_depth"})
"""Kinds that do nothing by themselves: what is dropped comes as a mask from the core."""

KINDS = frozenset({"image", *FUNCTIONS})

OVERWRITING = frozenset({"relu", "relu6", "silu", "hardswish", "add"})
"""Kinds that can put what they give where their first input was: `inplace`."""

OVERWRITABLE = frozenset({"conv", "linear", "batch_norm", "layer_norm", "add", "mul", "cat", "mean", "matmul"})
"""Kinds whose output is memory of its own that their gradient does not need."""
