"""EfficientNet-Lite (Tan and Le 2019, the Lite variants of 2020), with the names of `efficientnet_lite_pytorch`.

https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from xfer.graphs.builder import IMAGE, Builder
from xfer.graphs.graph import Graph

EPS = 1e-3
STEM_WIDTH, TOP_WIDTH = 32, 1280  # not scaled in the Lite variants
MULTIPLE = 8  # of which widths are


@dataclass(frozen=True)
class Variant:
    """`width` and `depth`: what numbers of channels and of blocks are multiplied with. `side`: pixels of a picture."""

    width: float
    depth: float
    side: int
    dropout: float


VARIANTS: Mapping[str, Variant] = {
    "efficientnet_lite0": Variant(1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": Variant(1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": Variant(1.1, 1.2, 260, 0.3),
}

# (repeats, kernel, stride, expansion, channels out)
ROWS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
OPENING: Mapping[int, str] = {0: "layer1", 2: "layer2", 3: "layer3", 5: "layer4"}
"""Row -> the stage that begins with it. The first row, at half of the side, has always been of `layer1`."""


@dataclass(frozen=True)
class _Block:
    """Inverted residual: expand 1x1, depthwise, project 1x1; without squeeze-excitation in the Lite variants.

    `opens`: the stage that begins with it, or nothing.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    expansion: int
    opens: str


def efficientnet_lite(name: str, classes: int) -> Graph:
    """One of VARIANTS."""
    variant, b, stages = VARIANTS[name], Builder(), {"stem": "_conv_stem"}
    b.conv("_conv_stem", IMAGE, 3, STEM_WIDTH, 3, stride=2, pads="same")
    b.batch_norm("_bn0", "_conv_stem", STEM_WIDTH, EPS)
    x = b.add("_relu6", "relu6", "_bn0")
    channels = STEM_WIDTH
    for block in _blocks(variant):
        first = len(b.nodes)
        x, channels = _inverted_residual(b, x, block), block.outputs
        if block.opens:
            stages[block.opens] = b.nodes[first].name
    b.conv("_conv_head", x, channels, TOP_WIDTH, 1)
    b.batch_norm("_bn1", "_conv_head", TOP_WIDTH, EPS)
    b.add("_relu6_1", "relu6", "_bn1")
    b.add("_avg_pooling", "adaptive_avg_pool", "_relu6_1", size=[1, 1])
    b.add("flatten", "flatten", "_avg_pooling", start=1)
    b.add("_dropout", "dropout", "flatten", p=variant.dropout)
    b.linear("_fc", "_dropout", TOP_WIDTH, classes)
    return b.graph((variant.side, variant.side), stages=stages)


def _blocks(variant: Variant) -> Iterator[_Block]:
    """All of them, in order. The repeats of the first and of the last row are not scaled in the Lite variants."""
    inputs, number = STEM_WIDTH, 0
    for row, (repeats, kernel, stride, expansion, width) in enumerate(ROWS):
        scaled = repeats if row in (0, len(ROWS) - 1) else ceil(repeats * variant.depth)
        outputs = _rounded(width * variant.width)
        for repeat in range(scaled):
            name, is_first = f"_blocks.{number}", repeat == 0
            opens = OPENING.get(row, "") if is_first else ""
            yield _Block(name, inputs, outputs, kernel, stride if is_first else 1, expansion, opens)
            inputs, number = outputs, number + 1


def _rounded(width: float) -> int:
    """To the nearest multiple, but never by more than a tenth down."""
    nearest = max(MULTIPLE, int(width + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return nearest + MULTIPLE if nearest < 0.9 * width else nearest


def _inverted_residual(b: Builder, x: str, block: _Block) -> str:
    name, width, y, again = block.name, block.inputs * block.expansion, x, ""
    if block.expansion > 1:
        b.conv(f"{name}._expand_conv", x, block.inputs, width, 1)
        b.batch_norm(f"{name}._bn0", f"{name}._expand_conv", width, EPS)
        y, again = b.add(f"{name}._relu6", "relu6", f"{name}._bn0"), "_1"
    b.conv(f"{name}._depthwise_conv", y, width, width, block.kernel, block.stride, "same", groups=width)
    b.batch_norm(f"{name}._bn1", f"{name}._depthwise_conv", width, EPS)
    b.add(f"{name}._relu6{again}", "relu6", f"{name}._bn1")
    b.conv(f"{name}._project_conv", f"{name}._relu6{again}", width, block.outputs, 1)
    y = b.batch_norm(f"{name}._bn2", f"{name}._project_conv", block.outputs, EPS)
    skips = block.stride == 1 and block.inputs == block.outputs
    return b.add(f"{name}.add", "add", y, x) if skips else y
