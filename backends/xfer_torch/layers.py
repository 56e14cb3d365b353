"""Layers that torch has only in part: padding of any kind, and normalisation of vectors and maps alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

Sides = tuple[int, int, int, int] | Literal["same"]  # (above, below, left, right), or TensorFlow's SAME
ONCE = (1, 1)


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
    sides = same_padding(x, weight.shape[2:], stride, dilation) if padding == "same" else padding
    top, bottom, left, right = sides
    own = (top, left)
    if own != (bottom, right):  # alike on both sides, the convolution pads by itself, without a copy
        x, own = functional.pad(x, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(x, weight, bias, tuple(stride), own, tuple(dilation), groups)


class PaddedConv(nn.Conv2d):
    """A convolution whose padding nn.Conv2d has no word for."""

    def __init__(self, *arguments: Any, sides: Sides, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        return conv(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.sides,
            dilation=self.dilation,
            groups=self.groups,
        )


class SameConv(PaddedConv):
    """A square convolution without bias, with `same_padding`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False, sides="same")


class SameMaxPool(nn.Module):
    """Max pooling of 3x3 with stride 2 and `same_padding`."""

    def forward(self, x: Tensor) -> Tensor:
        top, bottom, left, right = same_padding(x, (3, 3), (2, 2))
        return functional.max_pool2d(functional.pad(x, (left, right, top, bottom), value=-inf), 3, 2)


class BatchNorm(nn.BatchNorm2d):
    """Along axis 1, of maps as of vectors."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Of any number of axes."""
