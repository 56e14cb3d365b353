"""The sheet on which a graph is written, node by node, while a traced module is translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xfer.graphs.graph import Node
from xfer_torch.observed import Shapes


class UnknownError(Exception):
    """Nothing that a graph can say; the message is what it was."""


@dataclass(frozen=True)
class Ref:
    """What a node of the graph gives, or a parameter by itself, which becomes a node where a node takes it.

    A buffer counts as a parameter: layers take it, but it becomes no node.
    """

    name: str
    shapes: Shapes
    is_parameter: bool = False

    @property
    def rank(self) -> int:
        return len(self.shapes[0])


@dataclass(frozen=True)
class Padded:
    """Maps with zeros around them, for a convolution: (top, bottom, left, right)."""

    ref: Ref
    sides: tuple[int, int, int, int]


@dataclass(frozen=True)
class Ended:
    """Logits behind which a network has a last function, which is no part of it: the loss has one."""

    ref: Ref
    function: str


def unpadded(input: Ref | Padded) -> tuple[Ref, tuple[int, int, int, int]]:
    """The maps alone, and how many zeros are around them."""
    return (input.ref, input.sides) if isinstance(input, Padded) else (input, (0, 0, 0, 0))


@dataclass
class Sheet:
    """The nodes written so far, and what is being translated.

    weights, layers   every weight with its shape, and the paths of the modules that are translated as one
    first             name -> of a parameter by itself, what a table says of its first values. Raises UnknownError for
                      what is no parameter
    name, shapes      of what is being translated; `path` of its module, if that is one of the layers
    """

    weights: Mapping[str, tuple[int, ...]]
    layers: frozenset[str]
    first: Callable[[str], Mapping[str, float]]
    nodes: dict[str, Node] = field(default_factory=dict)
    name: str = ""
    path: str = ""
    shapes: Shapes = ()

    def node(self, kind: str, *inputs: Ref, weights: Mapping[str, str] | None = None, **attributes: Any) -> Ref:
        """Write the node that gives the result."""
        return self.part(self.name, self.shapes, kind, *inputs, weights=weights, **attributes)

    def part(
        self, name: str, shapes: Shapes, kind: str, *inputs: Ref, weights: Mapping[str, str] | None = None, **attrs: Any
    ) -> Ref:
        """Write a node, under that name or one like it, that gives these shapes."""
        names = tuple(self._node_of(value) for value in inputs)
        name = self.free(name)
        self.nodes[name] = Node(name, kind, names, attrs, weights or {})
        return Ref(name, shapes)

    def free(self, name: str) -> str:
        """The name, or one like it that neither a node has nor a layer that is still to come."""
        number, free = 0, name
        while free in self.nodes or (free in self.layers and free != self.path):
            number += 1
            free = f"{name}_{number}"
        return free

    def _node_of(self, value: Any) -> str:
        if not isinstance(value, Ref):
            raise UnknownError(f"an argument {type(value).__name__} where a tensor was expected")
        if not value.is_parameter:
            return value.name
        known = [n.name for n in self.nodes.values() if n.kind == "table" and n.weights["value"] == value.name]
        if known:
            return known[0]
        first = self.first(value.name)
        return self.part(value.name, value.shapes, "table", weights={"value": value.name}, **first).name

    def slots(self, *slots: str) -> dict[str, str]:
        """Slot -> weight of the same name in the module that is being translated, of those that it has."""
        return {slot: name for slot in slots if (name := f"{self.path}.{slot}") in self.weights}

    def parameters(self, **values: Any) -> dict[str, str]:
        """Slot -> name of the parameter that is its value, but for those that are None."""
        for slot, value in values.items():
            own = isinstance(value, Ref) and value.is_parameter and value.name in self.weights
            needs(value is None or own, f"a {slot} that is no parameter by itself")
        return {slot: value.name for slot, value in values.items() if value is not None}

    def layer_of(self, weight: str) -> str:
        """What a layer is called whose weight this is."""
        return weight.removesuffix(".weight") if "." in weight else self.name


def pair(value: Any) -> list[int]:
    """torch's size for both axes, or one for each."""
    both = [value, value] if isinstance(value, int) else list(value)
    if len(both) != 2 or not all(isinstance(side, int) for side in both):
        raise UnknownError(f"the size {value}")
    return both


def axis_of(axis: Any, rank: int) -> int:
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise UnknownError(f"the axis {axis}")
    return axis % rank


def needs(holds: bool, what: str) -> None:
    if not holds:
        raise UnknownError(what)
