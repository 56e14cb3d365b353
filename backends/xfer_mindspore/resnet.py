"""ResNets with torchvision's module names: He et al. 2015, bottlenecks of version 1.5 (stride in the 3x3)."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from xfer.archs import Padding
from xfer_mindspore.layers import BatchNorm, Conv, GlobalAveragePool, Layer, MaxPool3x3, Scope, Sequential


def basic_path(scope: Scope, name: str, inputs: int, width: int, stride: int, pad: int | str) -> Sequential:
    return Sequential(
        Conv.named(scope, f"{name}.conv1", inputs, width, 3, stride=stride, pad=pad),
        BatchNorm.named(scope, f"{name}.bn1", width),
        nn.ReLU(),
        Conv.named(scope, f"{name}.conv2", width, width, 3, pad=pad),
        BatchNorm.named(scope, f"{name}.bn2", width),
    )


def bottleneck_path(scope: Scope, name: str, inputs: int, width: int, stride: int, pad: int | str) -> Sequential:
    return Sequential(
        Conv.named(scope, f"{name}.conv1", inputs, width, 1),
        BatchNorm.named(scope, f"{name}.bn1", width),
        nn.ReLU(),
        Conv.named(scope, f"{name}.conv2", width, width, 3, stride=stride, pad=pad),
        BatchNorm.named(scope, f"{name}.bn2", width),
        nn.ReLU(),
        Conv.named(scope, f"{name}.conv3", width, 4 * width, 1),
        BatchNorm.named(scope, f"{name}.bn3", 4 * width),
    )


class Block(Layer):
    """A path and a shortcut, which a stride or a new width turns into a projection."""

    def __init__(self, scope: Scope, name: str, path: Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = path
        self.shortcut = Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = Sequential(
                Conv.named(scope, f"{name}.downsample.0", inputs, outputs, 1, stride=stride),
                BatchNorm.named(scope, f"{name}.downsample.1", outputs),
            )

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(self.path(x) + self.shortcut(x))


LAYOUTS = {
    "resnet18": (basic_path, 1),
    "resnet34": (basic_path, 1),
    "resnet50": (bottleneck_path, 4),
    "resnet101": (bottleneck_path, 4),
    "resnet152": (bottleneck_path, 4),
}
"""Architecture -> the path of its blocks, how much wider a block's output is than its path."""


def stage(scope: Scope, arch: str, depths: Sequence[int], padding: Padding, name: str) -> Sequential:
    """One stage, `stem` or `layer1`, ...; the last ends with the pooled features. `depths`: blocks of each layer."""
    if name == "stem":
        return Sequential(
            Conv.named(scope, "conv1", 3, 64, 7, stride=2, pad="same" if padding == "same" else 3),
            BatchNorm.named(scope, "bn1", 64),
            nn.ReLU(),
            MaxPool3x3(same=padding != "symmetric"),
        )
    path, expansion = LAYOUTS[arch]
    number = int(name.removeprefix("layer"))
    width = 64 * 2 ** (number - 1)
    inputs, outputs = (64 if number == 1 else expansion * width // 2), expansion * width
    pad: int | str = "same" if padding == "same" else 1
    blocks = []
    for i in range(depths[number - 1]):
        stride = 2 if i == 0 and number > 1 else 1
        block = f"{name}.{i}"
        blocks.append(Block(scope, block, path(scope, block, inputs, width, stride, pad), inputs, outputs, stride))
        inputs = outputs
    return Sequential(*blocks, GlobalAveragePool()) if number == len(depths) else Sequential(*blocks)
