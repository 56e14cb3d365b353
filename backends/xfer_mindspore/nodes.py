"""Nodes of a network that is data, computed one after another."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor

from xfer.graphs.graph import Graph, Node
from xfer_mindspore.kinds import function_of
from xfer_mindspore.layers import Layer, Scope


class Nodes(Layer):
    """From one tensor, which stands for the node `source`, to what the last of the nodes gives.

    It is for PyNative mode alone: graph mode does not compile a loop over Python's objects.
    """

    def __init__(self, scope: Scope, graph: Graph, source: str, nodes: Sequence[Node]) -> None:
        super().__init__()
        self.graph, self.source, self.nodes = graph, source, tuple(nodes)
        self.functions = {node.name: function_of(scope, graph, node) for node in nodes}
        self.used_up = _used_up(self.nodes)

    def construct(self, x: Tensor) -> Tensor:
        values = {self.source: x}
        for node, used_up in zip(self.nodes, self.used_up, strict=True):
            values[node.name] = self.functions[node.name](*(values[name] for name in node.inputs))
            for name in used_up:
                del values[name]
        return values[self.nodes[-1].name]


def _used_up(nodes: Sequence[Node]) -> list[list[str]]:
    """The inputs that no later node takes: without gradients, their memory is free behind it."""
    last = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    return [[name for name in dict.fromkeys(node.inputs) if last[name] == place] for place, node in enumerate(nodes)]
