"""A small network: two 5x5 convolutions of 4 and 8 maps, each with ReLU and 2x2 max-pool, then 512 hidden units."""

from __future__ import annotations

from mindspore import nn

from xfer.errors import BackendError
from xfer_mindspore.layers import Conv, Dense, Scope, Sequential


def stage(scope: Scope, image_size: tuple[int, int], name: str) -> Sequential:
    """One stage, `stem`, `layer1` or `layer2`; the last ends with the hidden units."""
    if name == "stem":
        return Sequential(Conv.named(scope, "conv1", 3, 4, 5, bias=True), nn.ReLU(), nn.MaxPool2d(2, 2))
    if name == "layer1":
        return Sequential(Conv.named(scope, "conv2", 4, 8, 5, bias=True), nn.ReLU(), nn.MaxPool2d(2, 2))
    height, width = (((side - 4) // 2 - 4) // 2 for side in image_size)
    if min(height, width) < 1:
        raise BackendError(f"image_size = {image_size}: convnet needs at least 16 pixels each way. Cure: larger images")
    return Sequential(nn.Flatten(), Dense.named(scope, "fc1", 8 * height * width, 512), nn.ReLU())
