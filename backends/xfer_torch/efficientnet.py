"""EfficientNet-Lite0 (Tan & Le 2019, the Lite variant of 2020), with the names its published weights have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from xfer_torch.layers import SameConv

Stage = Callable[[Tensor], Tensor]

# (repeats, kernel, stride, expansion, channels out), from a stem of 32 channels
BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1; without squeeze-excitation in the Lite variants."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expands = expansion != 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv(inputs, hidden, 1)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = SameConv(hidden, outputs, 1)
        self._bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outputs in BLOCKS:
            for i in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(channels, 1280, 1)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, classes)

    def _stem(self, x: Tensor) -> Tensor:
        return functional.relu6(self._bn0(self._conv_stem(x)))

    def _top(self, x: Tensor) -> Tensor:
        return torch.flatten(functional.adaptive_avg_pool2d(functional.relu6(self._bn1(self._conv_head(x))), 1), 1)

    def _last(self, blocks: nn.Module, x: Tensor) -> Tensor:
        return self._top(blocks(x))

    def stages(self) -> tuple[tuple[str, Stage], ...]:
        """The cuts that `xfer.archs` names, each with its part of the network."""
        early, middle, late, last = (
            nn.Sequential(*self._blocks[first:end]) for first, end in ((0, 3), (3, 5), (5, 11), (11, 16))
        )
        return (
            ("stem", self._stem),
            ("layer1", early),
            ("layer2", middle),
            ("layer3", late),
            ("layer4", partial(self._last, last)),
        )
