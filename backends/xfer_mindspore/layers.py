"""Layers over shared parameters. A network is a view of them: it adds the order of the computation and the modes.

Thus the train step and the predict step of one model are two networks with the same weights, each with the
normalisation modes of its own, compiled once; neither can disturb the other. MindSpore's own layers allocate their
parameters themselves, and their BatchNorm announces a change of signature, hence the primitives.
"""

from __future__ import annotations

from collections.abc import Iterable

from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops.functional import isconstant

BATCH_NORM_SLOTS = ("weight", "bias", "running_mean", "running_var")
"""Canonical names of what MindSpore's primitive calls scale, bias, mean and variance, in its order of arguments."""

Pair = int | tuple[int, int]
"""(height, width); one number is both."""

ONE_VALUE = "one value per channel has no variance to normalise with"


class Layer(nn.Cell):
    """A cell that leaves the names of its parameters alone."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)


class Conv(Layer):
    """2-D convolution, NCHW.

    weight  (O, I / groups, kernel height, kernel width)
    pad     pixels: (top, bottom, left, right); or "same" by TensorFlow's rule: the odd one at the end
    """

    def __init__(
        self, weight: Parameter, bias: Parameter | None = None, *, stride: Pair = 1,
        pad: tuple[int, ...] | str = (0, 0, 0, 0), dilation: Pair = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight, self.bias = weight, bias
        mode = {"pad_mode": "same"} if pad == "same" else {"pad_mode": "pad", "pad": pad}
        outputs, _, *kernel = weight.shape
        self.convolve = ops.Conv2D(outputs, tuple(kernel), stride=stride, dilation=dilation, group=groups, **mode)
        self.add_bias = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        y = self.convolved(x)
        return y if self.bias is None else self.add_bias(y, self.bias)

    def convolved(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight)


class BatchNorm(Layer):
    """Of tensors with any number of axes, the channels on axis 1.

    weights   as in BATCH_NORM_SLOTS
    follows   whether it normalises with the statistics of the batch, and updates the running ones
    momentum  the share of the batch in an update
    """

    def __init__(
        self, weights: Iterable[Parameter], follows: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.scale, self.shift, self.mean, self.variance = weights
        self.follows = follows
        # The primitive's momentum is the share of the new value, as torch's. (nn.BatchNorm2d's is that of the old.)
        self.normalise = ops.BatchNorm(is_training=follows, epsilon=eps, momentum=momentum)

    def construct(self, x: Tensor) -> Tensor:
        maps = x if x.ndim == 4 else x.reshape(x.shape[0], x.shape[1], -1, 1)
        # Where the size of the batch is unknown to a graph, it isn't 1.
        if self.follows and isconstant(maps.shape[0]) and maps.shape[0] * maps.shape[2] * maps.shape[3] == 1:
            raise ValueError(ONE_VALUE)  # the kernel would write NaN as the running variance
        y = self.normalise(maps, self.scale, self.shift, self.mean, self.variance)[0]
        return y if x.ndim == 4 else y.reshape(x.shape)


class Dense(Layer):
    """(..., I) -> (..., O); weight (O, I)."""

    def __init__(self, weight: Parameter, bias: Parameter | None = None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.matmul = ops.MatMul(transpose_b=True)
        self.add_bias = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        y = self.matmul(x if x.ndim == 2 else x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            y = self.add_bias(y, self.bias)
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], -1)
