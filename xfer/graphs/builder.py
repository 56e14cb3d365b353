"""A graph, put together one node after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from xfer.graphs.graph import Graph, Node

Pads = int | Literal["same"]
"""Pixels of padding on every side, or TensorFlow's SAME."""

IMAGE = "image"


@dataclass
class Builder:
    """What was put together so far. Each method gives the name of its node, which takes what `x` gives.

    A weight is called after its node and its slot: `layer1.0.conv1.weight`.
    """

    nodes: list[Node] = field(default_factory=lambda: [Node(IMAGE, IMAGE)])
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(
        self, name: str, kind: str, *inputs: str, slots: Mapping[str, tuple[int, ...]] | None = None, **attributes: Any
    ) -> str:
        """A node of any kind. `slots`: slot -> shape of the weight in it."""
        names = {slot: f"{name}.{slot}" for slot in slots or {}}
        self.weights |= {names[slot]: shape for slot, shape in (slots or {}).items()}
        self.nodes.append(Node(name, kind, inputs, attributes, names))
        return name

    def conv(
        self, name: str, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, pads: Pads = 0,
        groups: int = 1, bias: bool = False,
    ) -> str:  # fmt: skip
        """A square one."""
        slots: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs // groups, kernel, kernel)}
        sides = pads if pads == "same" else [pads] * 4
        strides = [stride, stride]
        slots |= {"bias": (outputs,)} if bias else {}
        return self.add(name, "conv", x, slots=slots, stride=strides, padding=sides, dilation=[1, 1], groups=groups)

    def batch_norm(self, name: str, x: str, channels: int, eps: float = 1e-5) -> str:
        slots = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
        return self.add(name, "batch_norm", x, slots=slots, eps=eps, momentum=0.1)

    def max_pool(self, name: str, x: str, kernel: int, stride: int, pads: Pads = 0) -> str:
        sides = pads if pads == "same" else [pads] * 2
        square, strides = [kernel, kernel], [stride, stride]
        return self.add(name, "max_pool", x, kernel=square, stride=strides, padding=sides, dilation=[1, 1], ceil=False)

    def linear(self, name: str, x: str, inputs: int, outputs: int) -> str:
        return self.add(name, "linear", x, slots={"weight": (outputs, inputs), "bias": (outputs,)})

    def graph(self, size: tuple[int, int], fixed: bool = False, stages: Mapping[str, str] | None = None) -> Graph:
        """The network, whose last node is the head."""
        return Graph(tuple(self.nodes), self.weights, self.nodes[-1].name, size, fixed, stages or {})
