"""A network from one boundary to another: a cell whose `construct` is written, as source, from the nodes.

MindSpore compiles source: it has no loop over Python's objects in a graph, but one line for each node it takes.
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from xfer.archs import is_statistic
from xfer.backend import NetworkSpec
from xfer.graphs.graph import Graph
from xfer.graphs.parts import Part, at_rest, part_of
from xfer_mindspore.kinds import function_of
from xfer_mindspore.layers import Layer

MASKED = ("dropout", "stochastic_depth")
"""Kinds of nodes that a batch may have masks for, beside the head."""

_FILE = str(Path(__file__).parent)
"""What all written source is said to stand in: no file, but a path that is there, as MindSpore looks for it."""
_LINES: list[str] = []


@dataclass(frozen=True)
class Model:
    """A specification and the parameters by canonical name; networks over them are made as they are needed.

    `versions` counts the changes of each parameter: whatever was computed from it is out of date after the next one.
    """

    spec: NetworkSpec
    parameters: dict[str, Parameter]
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def graph(self) -> Graph:
        return self.spec.graph

    def changed(self, names: Iterable[str]) -> None:
        """To be called by whoever changed the values of these parameters."""
        self.versions.update(iter(names))  # of a mapping, Counter would add the values


def model_of(spec: NetworkSpec) -> Model:
    return Model(
        spec, {name: parameter(name, shape, not is_statistic(name)) for name, shape in spec.graph.weights.items()}
    )


def parameter(name: str, shape: Sequence[int], trained: bool = False) -> Parameter:
    return Parameter(Tensor(np.zeros(shape, np.float32)), name, requires_grad=trained)


class Normalise(Layer):
    """uint8 images (N, H, W, C) -> float32 (N, C, H, W), as (x / 255 - mean) / std."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        mean, std = np.array(spec.mean), np.array(spec.std)
        self.unit = Tensor(np.ones(mean.shape, np.float32))
        self.zero = Tensor(np.zeros(mean.shape, np.float32))
        self.mean = Tensor((255 * mean).astype(np.float32))
        self.variance = Tensor(((255 * std) ** 2).astype(np.float32))
        # The same formula as a normalisation layer's: one fast pass, where arithmetic that broadcasts takes three
        # slow ones on the CPU. The epsilon vanishes beside a variance of a few thousand.
        self.normalise = ops.BatchNorm(is_training=False, epsilon=1e-12)

    def construct(self, images: Tensor) -> Tensor:
        x = images.astype(mstype.float32).transpose(0, 3, 1, 2)
        return self.normalise(x, self.unit, self.zero, self.mean, self.variance)[0]


def network_of(
    model: Model, part: Part, weights: Mapping[str, Parameter], follows: frozenset[str] = frozenset(),
    masked: Sequence[str] = (), *, normalised: bool = False,
) -> nn.Cell:  # fmt: skip
    """A function of what crosses the first boundary, and of a mask or None for each node of `masked`.

    follows      running means of the batch norms that normalise with the statistics of the batch
    normalised   images come as float32 (N, 3, H, W), normalised already, and not as uint8 (N, H, W, 3)
    """
    pictures = bool(part.nodes) and part.source == model.graph.nodes[0].name and not normalised
    cell = _class_of(source_of(part, masked, pictures))()
    # The parameters first, under their own names and in the network's order, for whoever lists them.
    for place, node in enumerate(part.nodes):
        setattr(cell, f"f{place}", function_of(node, weights, follows))
    if pictures:
        cell.normalise = Normalise(model.spec)
    return cell


def source_of(part: Part, masked: Sequence[str], pictures: bool) -> str:
    """A method with one line for each node. Of a value that none takes any more, the next one has the variable."""
    last = {name: place for place, node in enumerate(part.nodes) for name in node.inputs} | {part.result: -1}
    masks = {name: f"mask{number}" for number, name in enumerate(masked)}
    held, free = {part.source: "x"}, list[str]()
    lines = [f"def construct({', '.join(['self', 'x', *masks.values()])}):"]
    lines += ["x = self.normalise(x)"] if pictures else []
    for place, node in enumerate(part.nodes):
        inputs = [held[name] for name in node.inputs]
        if node.name in masks:
            inputs[0] = f"masked({inputs[0]}, {masks[node.name]})"
        free += [held.pop(name) for name in dict.fromkeys(node.inputs) if last[name] == place]
        held[node.name] = free.pop() if free else f"x{place}"
        lines.append(f"{held[node.name]} = self.f{place}({', '.join(inputs)})")
    return "\n    ".join([*lines, f"return {held[part.result]}"]) + "\n"


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


@lru_cache(maxsize=256)
def _class_of(source: str) -> type[nn.Cell]:
    """A cell with that method, whose source MindSpore's compiler finds where Python keeps that of files."""
    namespace: dict[str, Any] = {"__name__": __name__, "masked": masked}  # the compiler looks names up in the module
    exec(compile("\n" * len(_LINES) + source, _FILE, "exec"), namespace)
    _LINES.extend(source.splitlines(keepends=True))
    linecache.cache[_FILE] = (0, None, _LINES, _FILE)
    return type("Network", (Layer,), {"construct": namespace["construct"]})


def compiled(network: nn.Cell) -> Callable[..., Tensor]:
    """A graph of each shape of its inputs, made when it comes first."""

    def run(*inputs: Tensor | None) -> Tensor:
        return network(*inputs)

    return ms.jit(run)


class Rest:
    """The network from `start` to `stop` in inference mode. It follows the weights of `model` from call to call."""

    def __init__(self, model: Model, start: str, stop: str, graph: bool) -> None:
        self.model = model
        part, self.merges = at_rest(model.graph, part_of(model.graph, start, stop))
        self.merged: dict[str, Parameter] = {}
        for merge in self.merges:
            shape = model.graph.weights[merge.sources[0]]
            self.merged |= {merge.weight: parameter(merge.weight, shape), merge.bias: parameter(merge.bias, shape[:1])}
        self.versions: dict[str, list[int]] = {}
        network = network_of(model, part, {**model.parameters, **self.merged})
        self.run = compiled(network) if graph and part.nodes else network

    def __call__(self, inputs: Tensor) -> Tensor:
        for merge in self.merges:
            versions = [self.model.versions[name] for name in merge.sources]
            if versions != self.versions.get(merge.weight):
                values = merge.values({name: self.model.parameters[name].asnumpy() for name in merge.sources})
                for name, value in zip((merge.weight, merge.bias), values, strict=True):
                    ops.assign(self.merged[name], Tensor(value))  # in place: compiled graphs don't see set_data
                self.versions[merge.weight] = versions
        return self.run(inputs)
