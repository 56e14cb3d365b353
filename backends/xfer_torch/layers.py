"""Convolutions whose padding torch has no word for, and means that it computes by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Sides = Sequence[int] | Literal["same"]  # (above, below, left, right), or TensorFlow's SAME
ONCE = (1, 1)
VECTOR = 8
"""Channels, below which torch 2.14 writes beyond its memory, see `conv`."""


def same_padding(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = ONCE
) -> tuple[int, int, int, int]:
    """TensorFlow's SAME, as (above, below, left, right): of odd padding the odd pixel lies right and below."""
    vertical, horizontal = (
        max((-(-side // step) - 1) * step + spread * (width - 1) + 1 - side, 0)
        for side, width, step, spread in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    )
    return vertical // 2, vertical - vertical // 2, horizontal // 2, horizontal - horizontal // 2


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sequence[int],
    padding: Sides,
    dilation: Sequence[int] = ONCE,
    groups: int = 1,
) -> Tensor:
    """A convolution of zero-padded maps."""
    top, bottom, left, right = same_padding(x, weight.shape[2:], stride, dilation) if padding == "same" else padding
    own = (top, left)
    if own != (bottom, right):  # alike on both sides, the convolution pads by itself, without a copy
        x, own = functional.pad(x, (left, right, top, bottom)), (0, 0)
    if tuple(weight.shape[2:]) == ONCE and tuple(stride) != ONCE and x.shape[1] < VECTOR and groups == 1:
        # The gradient of such maps, channels last, spoils the heap on processors with AVX-512 where the last pixels are
        # not used: the process dies later, anywhere. The used pixels alone, one by one, are the same convolution.
        if any(own):
            x, own = functional.pad(x, (own[1], own[1], own[0], own[0])), (0, 0)
        x, stride = x[:, :, :: stride[0], :: stride[1]], ONCE
    return functional.conv2d(x, weight, bias, tuple(stride), own, tuple(dilation), groups)


def bins(x: Tensor, axis: int, count: int) -> Tensor:
    """Means over `count` parts of an axis of n: part i from floor(i * n / count) to ceil((i + 1) * n / count)."""
    length = x.shape[axis]
    if length == count:
        return x
    edges = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    return torch.cat([x.narrow(axis, a, b - a).mean(axis, keepdim=True) for a, b in edges], axis)
