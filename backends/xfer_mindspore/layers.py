"""Layers over shared parameters. A network is a view of them: it adds the order of the computation and the modes.

Thus the train step and the predict step of one model are two networks with the same weights, each with the
normalisation modes of its own, compiled once; neither can disturb the other. MindSpore's own layers allocate their
parameters themselves, and their BatchNorm announces a change of signature, hence the primitives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops.functional import isconstant

BATCH_NORM_SLOTS = ("weight", "bias", "running_mean", "running_var")
"""Canonical names of what MindSpore's primitive calls scale, bias, mean and variance, in its order of arguments."""

Pair = int | tuple[int, int]
"""(height, width); one number is both."""

ONE_VALUE = "one value per channel has no variance to normalise with"


@dataclass(frozen=True)
class Scope:
    """Where layers find their parameters, which bear canonical names, and their modes.

    batch_norms   modules that normalise with the statistics of the batch, and update the running ones
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    batch_norms: frozenset[str] = frozenset()

    def parameter(self, name: str, *shape: int) -> Parameter:
        """The parameter of that name, made at the first request."""
        if name not in self.parameters:
            trained = not name.endswith((".running_mean", ".running_var"))
            self.parameters[name] = Parameter(Tensor(np.zeros(shape, np.float32)), name, requires_grad=trained)
        return self.parameters[name]


class Layer(nn.Cell):
    """A cell that leaves the names of its parameters alone."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)


class Conv(Layer):
    """2-D convolution, NCHW.

    weight  (O, I / groups, kernel height, kernel width)
    pad     pixels: of every side, or (top, bottom, left, right); or "same" by TensorFlow's rule: the odd one at the end
    """

    def __init__(
        self, weight: Parameter, bias: Parameter | None = None, *, stride: Pair = 1,
        pad: int | tuple[int, ...] | str = 0, dilation: Pair = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight, self.bias = weight, bias
        mode = {"pad_mode": "same"} if pad == "same" else {"pad_mode": "pad", "pad": pad}
        outputs, _, *kernel = weight.shape
        self.convolve = ops.Conv2D(outputs, tuple(kernel), stride=stride, dilation=dilation, group=groups, **mode)
        self.add_bias = ops.BiasAdd()

    @classmethod
    def named(
        cls, scope: Scope, name: str, inputs: int, outputs: int, kernel: int, *,
        stride: int = 1, pad: int | str = 0, groups: int = 1, bias: bool = False,
    ) -> Conv:  # fmt: skip
        weight = scope.parameter(f"{name}.weight", outputs, inputs // groups, kernel, kernel)
        shift = scope.parameter(f"{name}.bias", outputs) if bias else None
        return cls(weight, shift, stride=stride, pad=pad, groups=groups)

    def construct(self, x: Tensor) -> Tensor:
        y = self.convolve(x, self.weight)
        return y if self.bias is None else self.add_bias(y, self.bias)


class BatchNorm(Layer):
    """weights   as in BATCH_NORM_SLOTS
    follows   whether it normalises with the statistics of the batch, and updates the running ones
    momentum  the share of the batch in an update
    """

    def __init__(
        self, weights: Iterable[Parameter], follows: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.scale, self.shift, self.mean, self.variance = weights
        self.follows, self.eps = follows, eps
        # The primitive's momentum is the share of the new value, as torch's. (nn.BatchNorm2d's is that of the old.)
        self.normalise = ops.BatchNorm(is_training=follows, epsilon=eps, momentum=momentum)

    @classmethod
    def named(cls, scope: Scope, name: str, channels: int, eps: float = 1e-5) -> BatchNorm:
        weights = [scope.parameter(f"{name}.{slot}", channels) for slot in BATCH_NORM_SLOTS]
        return cls(weights, name in scope.batch_norms, eps)

    def construct(self, x: Tensor) -> Tensor:
        # Where the size of the batch is unknown to a graph, it isn't 1.
        if self.follows and isconstant(x.shape[0]) and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            raise ValueError(ONE_VALUE)  # the kernel would write NaN as the running variance
        return self.normalise(x, self.scale, self.shift, self.mean, self.variance)[0]


class Dense(Layer):
    """(N, I) -> (N, O); weight (O, I)."""

    def __init__(self, weight: Parameter, bias: Parameter | None = None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.matmul = ops.MatMul(transpose_b=True)
        self.add_bias = ops.BiasAdd()

    @classmethod
    def named(cls, scope: Scope, name: str, inputs: int, outputs: int) -> Dense:
        return cls(scope.parameter(f"{name}.weight", outputs, inputs), scope.parameter(f"{name}.bias", outputs))

    def construct(self, x: Tensor) -> Tensor:
        y = self.matmul(x, self.weight)
        return y if self.bias is None else self.add_bias(y, self.bias)


class Sequential(Layer):
    def __init__(self, *layers: nn.Cell) -> None:
        super().__init__()
        self.layers = nn.CellList(list(layers), auto_prefix=False)

    def construct(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MaxPool3x3(Layer):
    """Stride 2, with one pixel of padding on each side; `same`, of an even side, with one at its end alone."""

    def __init__(self, same: bool = False) -> None:
        super().__init__()
        # On the CPU the 3-D kernel is four times faster than the 2-D one with padding, and gives the same bits.
        self.flat = ms.get_current_device().device_target == "CPU"
        if self.flat:
            pads = {"pad_mode": "same"} if same else {"pad_mode": "pad", "pad_list": (0, 0, 1, 1, 1, 1)}
            self.pool = ops.MaxPool3D((1, 3, 3), (1, 2, 2), **pads)
        else:
            mode = {"pad_mode": "same"} if same else {"pad_mode": "pad", "padding": 1}
            self.pool = nn.MaxPool2d(kernel_size=3, stride=2, **mode)

    def construct(self, x: Tensor) -> Tensor:
        return self.pool(x.expand_dims(2)).squeeze(2) if self.flat else self.pool(x)


class GlobalAveragePool(Layer):
    """(N, C, h, w) -> (N, C), for any image size."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.mean(x, (2, 3))
