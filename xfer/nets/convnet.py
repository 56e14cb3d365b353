"""A small network: two 5x5 convolutions of 4 and 8 maps, each with ReLU and 2x2 max-pooling, and 512 hidden units."""

from __future__ import annotations

from xfer.errors import ConfigError
from xfer.graphs.builder import IMAGE, Builder
from xfer.graphs.graph import Graph

KERNEL, WIDTHS, HIDDEN, DROPOUT = 5, (4, 8), 512, 0.5
STAGES = {"stem": "conv1", "layer1": "conv2", "layer2": "flatten"}
"""A stage for each layer, whatever the sides of the maps come to."""


def convnet(classes: int, size: tuple[int, int]) -> Graph:
    """For pictures of that (height, width) alone. Raises ConfigError for fewer than 16 pixels either way."""
    height, width = (((side - KERNEL + 1) // 2 - KERNEL + 1) // 2 for side in size)
    if min(height, width) < 1:
        raise ConfigError(f"image_size = {size}: convnet needs at least 16 pixels each way. Cure: larger images")
    b, x, channels = Builder(), IMAGE, 3
    for number, outputs in enumerate(WIDTHS, start=1):
        b.conv(f"conv{number}", x, channels, outputs, KERNEL, bias=True)
        b.add(f"relu{number}", "relu", f"conv{number}")
        x, channels = b.max_pool(f"pool{number}", f"relu{number}", 2, stride=2), outputs
    b.add("flatten", "flatten", x, start=1)
    b.linear("fc1", "flatten", channels * height * width, HIDDEN)
    b.add("relu3", "relu", "fc1")
    b.add("dropout", "dropout", "relu3", p=DROPOUT)
    b.linear("fc", "dropout", HIDDEN, classes)
    return b.graph(size, fixed=True, stages=STAGES)
