"""Nodes and constants of an ONNX model, as they are put together one behind the other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32
from xfer.errors import ConfigError
from xfer.graphs.graph import Node

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | None, ...]
"""Of a value; None for the axis that grows with the batch, of which there is one at most."""


@dataclass(frozen=True)
class Given:
    """A node of the graph that is to be said in ONNX.

    inputs   names of the values that it takes, and `taken` their shapes; `gives` is that of its own value
    weights  slot -> array
    """

    node: Node
    inputs: tuple[str, ...]
    taken: tuple[Shape, ...]
    gives: Shape
    weights: Mapping[str, Float32]

    def __getitem__(self, attribute: str) -> Any:
        return self.node.attributes[attribute]

    def sides(self) -> tuple[int, int]:
        """(height, width) of the maps that it takes. Raises ConfigError where they are not known."""
        height, width = self.taken[0][2:]
        if height is None or width is None:
            raise ConfigError(f"{self.node.name} ({self.node.kind}): the sides of its maps follow the batch")
        return height, width


@dataclass
class Writer:
    """`scope`: what the values that are made now are called after. `constants`: name -> array, of those in use."""

    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    scope: str = ""
    _taken: set[str] = field(default_factory=set)
    _known: dict[Hashable, str] = field(default_factory=dict)

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of what the operator gives. Raises ConfigError where the opset does not have it yet."""
        from onnx import helper

        if self.opset < (since := SINCE.get(operator, 0)):
            raise ConfigError(
                f"opset {self.opset}: {self.scope} needs {operator}, which came with opset {since}. "
                f"Cure: --opset {since}"
            )
        output = self.unused(f"{self.scope}/{operator}")
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def unused(self, name: str) -> str:
        """The name, or one with a number behind it where a value has it already."""
        number, found = 1, name
        while found in self._taken:
            number, found = number + 1, f"{name}_{number}"
        self._taken.add(found)
        return found

    def weight(self, given: Given, slot: str) -> str:
        """The weight in that slot, under its own name."""
        name = given.node.weights[slot]
        return self._once(name, name, given.weights[slot])

    def turned(self, given: Given, slot: str) -> str:
        """The transposed of a matrix (O, I), as MatMul takes it from the right."""
        name = given.node.weights[slot]
        return self._once((name, "transposed"), f"{name} transposed", given.weights[slot].T)

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Numbers that are no weight of the network, each set of them once."""
        array = np.asarray(values, kind)
        return self._once((array.dtype.str, array.shape, array.tobytes()), "constant", array)

    def _once(self, what: Hashable, name: str, values: NDArray[Any]) -> str:
        """The name of a constant, which is made when it is first asked for: two nodes may have one weight."""
        if what not in self._known:
            self._known[what] = self.unused(name)
            self.constants[self._known[what]] = values
        return self._known[what]

    def integers(self, values: Iterable[int]) -> str:
        return self.constant(list(values), np.int64)

    def reshape(self, x: str, shape: Shape) -> str:
        """None is what is left: the axis of the batch."""
        return self.op("Reshape", x, self.integers(-1 if size is None else size for size in shape))

    def reduce(self, operator: str, x: str, axes: Sequence[int], keep: bool) -> str:
        """Axes were an attribute of all reductions before opset 18, and are an input of them since."""
        if self.opset < 18:
            return self.op(operator, x, axes=list(axes), keepdims=int(keep))
        return self.op(operator, x, self.integers(axes), keepdims=int(keep))

    def slice(self, x: str, starts: Sequence[int], stops: Sequence[int], axes: Sequence[int], step: int = 1) -> str:
        ranges = (starts, stops, axes, [step] * len(axes))
        return self.op("Slice", x, *map(self.integers, ranges if step > 1 else ranges[:3]))

    def pad(self, x: str, before: Sequence[int], behind: Sequence[int], value: float = 0.0) -> str:
        """Entries before and behind, of each axis; x itself where there are none."""
        if not any((*before, *behind)):
            return x
        return self.op("Pad", x, self.integers([*before, *behind]), self.constant(value))


SINCE = {"HardSwish": 14, "LayerNormalization": 17, "Gelu": 20}
"""Operator -> the opset that it came with, where that is above the least that is written."""
