"""Inference with every normalisation merged into the convolution before it.

At rest, `norm(conv(x))` is `conv'(x) + b'` with `w' = w * s` and `b' = shift + (bias - mean) * s`, where
`s = scale / sqrt(variance + eps)` for each output channel: one addition in place of a normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from xfer.arrays import Float32
from xfer_mindspore.graph import Compiled
from xfer_mindspore.kinds import unchanged
from xfer_mindspore.layers import BatchNorm, Conv, Layer, Scope, Sequential
from xfer_mindspore.network import Model, Network
from xfer_mindspore.nodes import Nodes


class Merged(Layer):
    """`conv` with weights of its own, and always with a bias."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        name, shape = conv.weight.name.removesuffix(".weight"), conv.weight.shape
        self.weight = _parameter(f"{name}.merged.weight", *shape)
        self.bias = _parameter(f"{name}.merged.bias", shape[0])
        # oneDNN's convolution with a bias of its own is out of MindSpore's reach on the CPU.
        self.convolve, self.add_bias = conv.convolve, conv.add_bias

    def construct(self, x: Tensor) -> Tensor:
        return self.add_bias(self.convolve(x, self.weight), self.bias)


class Pair:
    """A convolution and the normalisation that follows it, and what they were merged to."""

    def __init__(self, conv: Conv, norm: BatchNorm) -> None:
        self.conv, self.norm, self.merged = conv, norm, Merged(conv)
        sources = (conv.weight, conv.bias, norm.scale, norm.shift, norm.mean, norm.variance)
        self.names = tuple(source.name for source in sources if source is not None)
        self.versions: tuple[int, ...] | None = None

    def update(self, model: Model) -> None:
        """Merge anew if a weight or a statistic changed."""
        versions = tuple(model.versions[name] for name in self.names)
        if versions == self.versions:
            return
        weight, scale, shift, mean, variance = (
            p.asnumpy().astype(np.float64)
            for p in (self.conv.weight, self.norm.scale, self.norm.shift, self.norm.mean, self.norm.variance)
        )
        factor = scale / np.sqrt(variance + self.norm.eps)
        bias = 0 if self.conv.bias is None else self.conv.bias.asnumpy().astype(np.float64)
        # In place: compiled graphs don't see set_data.
        ops.assign(self.merged.weight, _tensor(weight * factor.reshape(-1, 1, 1, 1)))
        ops.assign(self.merged.bias, _tensor(shift + (bias - mean) * factor))
        self.versions = versions


class Folded:
    """The network from `start` to `stop` in inference mode. It follows the weights of `model` from call to call."""

    def __init__(self, model: Model, start: str, stop: str, graph: bool) -> None:
        self.model = model
        network = Network(Scope(model.parameters), model.spec, start, stop)
        self.network, self.pairs = network, tuple(merge_cells(network))

        def run(inputs: Tensor) -> Tensor:
            return network(inputs)

        self.run = Compiled(run) if graph else run

    def __call__(self, inputs: Tensor) -> Tensor:
        for pair in self.pairs:
            pair.update(self.model)
        return self.run(inputs)


def merge_cells(network: nn.Cell) -> Iterator[Pair]:
    """Replace each normalisation that stands right behind a convolution, and that convolution, by one cell."""
    for _, cell in network.cells_and_names():
        if isinstance(cell, Nodes):
            yield from _merge_nodes(cell)
        elif isinstance(cell, Sequential):
            layers = list(cell.layers)
            pairs = {i: Pair(a, b) for i, (a, b) in enumerate(pairwise(layers)) if _merges(a, b)}
            kept = [pairs[i].merged if i in pairs else layer for i, layer in enumerate(layers) if i - 1 not in pairs]
            cell.layers = nn.CellList(kept, auto_prefix=False)
            yield from pairs.values()


def _merge_nodes(cell: Nodes) -> Iterator[Pair]:
    for conv, norm in cell.graph.pairs():
        first, second = cell.functions.get(conv.name), cell.functions.get(norm.name)
        if isinstance(first, Conv) and isinstance(second, BatchNorm):  # neither is beyond a boundary
            pair = Pair(first, second)
            cell.functions |= {conv.name: pair.merged, norm.name: unchanged}
            yield pair


def _merges(first: nn.Cell, second: nn.Cell) -> bool:
    return isinstance(first, Conv) and isinstance(second, BatchNorm)


def _parameter(name: str, *shape: int) -> Parameter:
    return Parameter(_tensor(np.zeros(shape)), name, requires_grad=False)


def _tensor(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    merged: Float32 = values.astype(np.float32)
    return Tensor(merged)
