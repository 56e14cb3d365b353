"""ResNets with torchvision's names: He et al. 2016, "Deep Residual Learning", bottlenecks of version 1.5.

https://arxiv.org/abs/1512.03385, table 1; version 1.5 has the stride in the 3 x 3 convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xfer.archs import Padding
from xfer.graphs.builder import IMAGE, Builder, Pads
from xfer.graphs.graph import Graph

SIZE = (224, 224)
STEM_WIDTH = 64


@dataclass(frozen=True)
class Layout:
    """Blocks of each stage, and how much wider a block's output is than its 3 x 3 convolution: 4 of bottlenecks."""

    blocks: tuple[int, ...]
    expansion: int


LAYOUTS: Mapping[str, Layout] = {
    "resnet18": Layout((2, 2, 2, 2), 1),
    "resnet34": Layout((3, 4, 6, 3), 1),
    "resnet50": Layout((3, 4, 6, 3), 4),
    "resnet101": Layout((3, 4, 23, 3), 4),
    "resnet152": Layout((3, 8, 36, 3), 4),
}


def resnet(name: str, classes: int, blocks: Sequence[int], padding: Padding) -> Graph:
    """One of LAYOUTS with so many blocks in each of its first stages, and without the others."""
    expansion, b = LAYOUTS[name].expansion, Builder()
    b.conv("conv1", IMAGE, 3, STEM_WIDTH, 7, stride=2, pads="same" if padding == "same" else 3)
    b.batch_norm("bn1", "conv1", STEM_WIDTH)
    b.add("relu", "relu", "bn1")
    x = b.max_pool("maxpool", "relu", 3, stride=2, pads=1 if padding == "symmetric" else "same")
    inputs = STEM_WIDTH
    for stage, count in enumerate(blocks):
        width = STEM_WIDTH << stage
        for number in range(count):
            stride = 2 if stage > 0 and number == 0 else 1
            block = _Block(f"layer{stage + 1}.{number}", inputs, width, width * expansion, stride)
            x = _residual(b, x, block, "same" if padding == "same" else 1)
            inputs = block.outputs
    b.add("avgpool", "adaptive_avg_pool", x, size=[1, 1])
    b.add("flatten", "flatten", "avgpool", start=1)
    b.linear("fc", "flatten", inputs, classes)
    return b.graph(SIZE)


@dataclass(frozen=True)
class _Block:
    """`width`: channels within."""

    name: str
    inputs: int
    width: int
    outputs: int
    stride: int

    @property
    def path(self) -> tuple[tuple[int, int, int], ...]:
        """(channels out, kernel, stride) of each convolution."""
        if self.outputs == self.width:
            return (self.width, 3, self.stride), (self.width, 3, 1)
        return (self.width, 1, 1), (self.width, 3, self.stride), (self.outputs, 1, 1)


def _residual(b: Builder, x: str, block: _Block, pads: Pads) -> str:
    """A path and a shortcut, which a stride or a new width turns into a projection. `pads`: of 3 x 3 convolutions."""
    name, y, channels, relus = block.name, x, block.inputs, 0
    for number, (outputs, kernel, stride) in enumerate(block.path, start=1):
        if number > 1:
            y = b.add(f"{name}.relu{_again(relus)}", "relu", y)
            relus += 1
        b.conv(f"{name}.conv{number}", y, channels, outputs, kernel, stride, pads if kernel > 1 else 0)
        y = b.batch_norm(f"{name}.bn{number}", f"{name}.conv{number}", outputs)
        channels = outputs
    if block.stride > 1 or block.inputs != block.outputs:
        b.conv(f"{name}.downsample.0", x, block.inputs, block.outputs, 1, block.stride)
        x = b.batch_norm(f"{name}.downsample.1", f"{name}.downsample.0", block.outputs)
    b.add(f"{name}.add", "add", y, x)
    return b.add(f"{name}.relu{_again(relus)}", "relu", f"{name}.add")


def _again(times: int) -> str:
    """A layer that is called again is another node."""
    return f"_{times}" if times else ""
