"""Gradients of convolutions of small maps, for the CPU.

oneDNN's kernel there goes through the pictures one by one, and through the whole weight for each: where a weight is
larger than a core's cache and a map has four pixels, that is most of a step's time. Here all pictures go at once. What
comes forward is the same kernel as ever, since features that are kept must not depend on the size of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindspore import Parameter, Tensor, ops
from mindspore import dtype as mstype
from mindspore.ops.operations._grad_ops import Conv2DBackpropFilter
from mindspore.ops.operations.nn_ops import Conv2DBackpropInput

from xfer_mindspore.layers import Conv, Layer

LARGE = 2**20
"""Numbers of a weight, 4 MB, below which nothing is won."""
PIXELS, PIXELS_OF_ONE = 9, 49
"""Of a map, at most; and where the kernel is 1 x 1.

Measured forward and back with 8 and 16 pictures on 2 cores: 512 maps of 2 x 2 pixels and 3 x 3 kernels, 83 ms to 36;
2048 maps of 7 x 7 and 1 x 1 kernels, 68 to 56; 256 maps of 4 x 4 and 3 x 3 kernels, 30 to 32.
"""


def small_maps_pay(weight: Parameter, sizes: Mapping[str, Any]) -> bool:
    """Whether a convolution's gradient gains by it; `sizes` as `Conv` takes them. Maps must keep their size."""
    one, pad = (1, 1), sizes["pad"]
    plain = sizes["stride"] == sizes["dilation"] == one and sizes["groups"] == 1 and not isinstance(pad, str)
    kernel = tuple(weight.shape[2:])
    if not plain or weight.size < LARGE or pad != (pad[0], pad[0], pad[2], pad[2]):
        return False
    # Between two pictures that are stacked there must be a row of zeros.
    stackable = kernel == (2 * pad[0] + 1, 2 * pad[2] + 1) and pad[0] > 0
    return stackable or (kernel == one and not any(pad))


class SmallMaps(Conv):
    """A convolution for which `small_maps_pay`."""

    def __init__(self, weight: Parameter, bias: Parameter | None, **sizes: Any) -> None:
        super().__init__(weight, bias, **sizes)
        outputs, _, *kernel = weight.shape
        top, _, left, _ = sizes["pad"]
        one = kernel == [1, 1]
        self.pixels = PIXELS_OF_ONE if one else PIXELS
        self.at_once = Product(self.convolve) if one else Stacked(self.convolve, outputs, tuple(kernel), (top, left))

    def convolved(self, x: Tensor) -> Tensor:
        small = x.shape[2] * x.shape[3] <= self.pixels
        return self.at_once(x, self.weight) if small else self.convolve(x, self.weight)


class Stacked(Layer):
    """Forward `convolve`, which leaves the size of maps as it is; backward with all pictures in one, stacked.

    pad   rows and columns of zeros around each picture; as many rows lie between two
    """

    def __init__(self, convolve: ops.Conv2D, outputs: int, kernel: tuple[int, int], pad: tuple[int, int]) -> None:
        super().__init__()
        self.convolve, self.rows = convolve, pad[0]
        pads = (pad[0], pad[0], pad[1], pad[1])
        self.of_inputs = Conv2DBackpropInput(outputs, kernel, pad_mode="pad", pad=pads, pad_list=pads)
        self.of_weight = Conv2DBackpropFilter(outputs, kernel, pad_mode="pad", pad=pads, pad_list=pads)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.convolve(x, weight)

    def stacked(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (1, C, N (h + rows), w)."""
        batch, channels, _, width = x.shape
        zeros = ops.zeros((channels, batch, self.rows, width), mstype.float32)
        return ops.cat((x.transpose(1, 0, 2, 3), zeros), 2).reshape(1, channels, -1, width)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape
        inputs, gradient = self.stacked(x), self.stacked(dout)
        maps = self.of_inputs(gradient, weight, inputs.shape).reshape(channels, batch, height + self.rows, width)
        return maps[:, :, :height].transpose(1, 0, 2, 3), self.of_weight(gradient, inputs, weight.shape)


class Product(Layer):
    """Forward `convolve`, whose kernel is 1 x 1; backward two products of matrices."""

    def __init__(self, convolve: ops.Conv2D) -> None:
        super().__init__()
        self.convolve = convolve
        self.of_inputs, self.of_weight = ops.MatMul(), ops.MatMul(transpose_a=True)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.convolve(x, weight)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape
        outputs = weight.shape[0]
        pixels = x.transpose(0, 2, 3, 1).reshape(-1, channels)
        gradient = dout.transpose(0, 2, 3, 1).reshape(-1, outputs)
        maps = self.of_inputs(gradient, weight.reshape(outputs, channels)).reshape(batch, height, width, channels)
        return maps.transpose(0, 3, 1, 2), self.of_weight(gradient, pixels).reshape(weight.shape)
