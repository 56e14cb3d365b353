"""EfficientNet-Lite0 with the names of `efficientnet_lite_pytorch`: Tan and Le 2019, without squeeze-excitation, with
ReLU6, and without drop-connect.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindspore import Tensor, nn

from xfer_mindspore.layers import BatchNorm, Conv, GlobalAveragePool, Layer, Scope, Sequential


@dataclass(frozen=True)
class Block:
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


def _repeat(times: int, first: Block) -> tuple[Block, ...]:
    later = Block(first.kernel, 1, first.expand, first.outputs, first.outputs)
    return (first, *(later,) * (times - 1))


BLOCKS = (
    *_repeat(1, Block(3, 1, 1, 32, 16)),
    *_repeat(2, Block(3, 2, 6, 16, 24)),
    *_repeat(2, Block(5, 2, 6, 24, 40)),
    *_repeat(3, Block(3, 2, 6, 40, 80)),
    *_repeat(3, Block(5, 1, 6, 80, 112)),
    *_repeat(4, Block(5, 2, 6, 112, 192)),
    *_repeat(1, Block(3, 1, 6, 192, 320)),
)
STAGES = {"layer1": (0, 3), "layer2": (3, 5), "layer3": (5, 11), "layer4": (11, 16)}
"""Stage -> its blocks, from and up to."""


def _conv_norm(
    scope: Scope, conv: str, norm: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Cell]:
    return [
        Conv.named(scope, conv, inputs, outputs, kernel, stride=stride, pad="same", groups=groups),
        BatchNorm.named(scope, norm, outputs, eps=1e-3),
    ]


class InvertedResidual(Layer):
    def __init__(self, scope: Scope, name: str, block: Block) -> None:
        super().__init__()
        width = block.expand * block.inputs
        layers: list[nn.Cell] = []
        if block.expand != 1:
            layers += [*_conv_norm(scope, f"{name}._expand_conv", f"{name}._bn0", block.inputs, width), nn.ReLU6()]
        depthwise, project = f"{name}._depthwise_conv", f"{name}._project_conv"
        layers += [
            *_conv_norm(scope, depthwise, f"{name}._bn1", width, width, block.kernel, block.stride, groups=width),
            nn.ReLU6(),
            *_conv_norm(scope, project, f"{name}._bn2", width, block.outputs),
        ]
        self.path = Sequential(*layers)
        self.residual = block.stride == 1 and block.inputs == block.outputs

    def construct(self, x: Tensor) -> Tensor:
        return self.path(x) + x if self.residual else self.path(x)


def stage(scope: Scope, name: str) -> Sequential:
    """One stage, `stem` or `layer1` ... `layer4`; the last ends with the pooled features."""
    if name == "stem":
        return Sequential(*_conv_norm(scope, "_conv_stem", "_bn0", 3, 32, kernel=3, stride=2), nn.ReLU6())
    first, end = STAGES[name]
    blocks = [InvertedResidual(scope, f"_blocks.{i}", BLOCKS[i]) for i in range(first, end)]
    if name != "layer4":
        return Sequential(*blocks)
    widen = _conv_norm(scope, "_conv_head", "_bn1", 320, 1280)
    return Sequential(*blocks, *widen, nn.ReLU6(), GlobalAveragePool())
