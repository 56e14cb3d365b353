"""Where a network can be cut, and what lies from one cut to the next.

A cut is a node through which everything that is made of the picture passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from xfer.errors import ConfigError
from xfer.graphs.graph import MOST_NODES, Graph, Node
from xfer.graphs.shapes import Shape, shapes_of

DROPS = frozenset({"dropout", "stochastic_depth"})
"""Kinds of nodes that drop something in training."""


@dataclass(frozen=True)
class Unit:
    """From one cut to the next. `level`: the logarithm to base 2 of the stride at its end; None behind the pooling."""

    nodes: tuple[Node, ...]
    level: int | None

    @cached_property
    def weights(self) -> tuple[str, ...]:
        return tuple(name for node in self.nodes for name in node.weights.values())

    @cached_property
    def module(self) -> str:
        """The innermost module that has all of its weights; empty where that is the network itself."""
        paths = [name.split(".")[:-1] for name in self.weights]
        common = []
        for parts in zip(*paths, strict=False):
            if len({*parts}) > 1:
                break
            common.append(parts[0])
        return ".".join(common)


class Hashable:
    """A graph, told from others by what it is and not by what it says: of one that is used again, units are known."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __hash__(self) -> int:
        return id(self.graph)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashable) and other.graph is self.graph


def cuts(graph: Graph) -> tuple[Node, ...]:
    """Nodes through which everything that is made of the picture passes, in order; the picture is the first."""
    dependent = made_of_picture(graph)
    last = {name: max((graph.places[reader.name] for reader in of), default=-1) for name, of in graph.readers().items()}
    found, reach = [], 0  # the last place where something is read that an earlier node gives
    for place, node in enumerate(graph.nodes):
        if node.name in dependent:
            if reach <= place < last[node.name]:
                found.append(node)
            reach = max(reach, last[node.name])
    return tuple(found)


def made_of_picture(graph: Graph) -> frozenset[str]:
    """Names of the nodes that are made of the picture; all others are constants."""
    found = set[str]()
    for node in graph.nodes:
        if node.kind == "image" or not found.isdisjoint(node.inputs):
            found.add(node.name)
    return frozenset(found)


def with_constants(graph: Graph, nodes: Sequence[Node], dependent: frozenset[str]) -> tuple[Node, ...]:
    """These nodes, and those that they need and that are made of no picture, in the order of the computation."""
    needed, left = {node.name for node in nodes}, list(nodes)
    while left:
        more = {name for name in left.pop().inputs if name not in dependent} - needed
        needed |= more
        left += [graph[name] for name in more]
    return tuple(sorted((graph[name] for name in needed), key=lambda node: graph.places[node.name]))


def units_of(graph: Graph) -> tuple[Unit, ...]:
    """From the picture to what the head takes, in the order of the computation.

    Of what is at rest before a cut nothing is dropped. So no unit ends between what drops and the weights behind it:
    the cut lies before both, and what drops goes on doing so where these weights are trained. One whose stride cannot
    be told is no unit where stages are derived.

    Raises ConfigError where the head does not get all that is made of the picture.
    """
    return _units_of(Hashable(graph))


@lru_cache(maxsize=32)
def _units_of(key: Hashable) -> tuple[Unit, ...]:
    graph, units, left = key.graph, list[Unit](), 2 * MOST_NODES
    dependent = made_of_picture(graph)
    for nodes, level in _between_cuts(graph, dependent):
        units.append(Unit(with_constants(graph, nodes, dependent), level))
        if (left := left - len(units[-1].nodes)) < 0:
            name = nodes[-1].name
            raise ConfigError(f"{name}: too much is made without the picture. Cure: tables of what it comes to")
    return tuple(units)


def _between_cuts(graph: Graph, dependent: frozenset[str]) -> Iterator[tuple[list[Node], int | None]]:
    """The nodes of each unit that are made of the picture, and its level."""
    shapes, places, enters = shapes_of(graph), graph.places, graph[graph.head].inputs[0]
    ends = {node.name for node in cuts(graph) if places[node.name] <= places[enters]}
    if enters not in ends:
        raise ConfigError(f"the head {graph.head} does not get all that is made of the picture")
    nodes, drops = list[Node](), False
    for node in graph.nodes[1 : places[enters] + 1]:
        if node.name not in dependent:
            continue
        nodes.append(node)
        drops = drops and not (node.weights or set(node.inputs) - dependent)
        if node.name not in ends:
            continue
        drops = drops or node.kind in DROPS
        is_flat, level = _level(shapes[node.name], graph.size[0])
        known = level is not None or is_flat or bool(graph.stages)
        if node.name == enters or (known and not drops):
            yield nodes, level
            nodes = []


def _level(shape: Shape, side: int) -> tuple[bool, int | None]:
    """Whether nothing of height and width is left, or else the logarithm of the stride; None where there is no telling.

    Maps are (N, C, H, W) or (N, H, W, C), tokens (N, L, C): a square of them, and one or two more.
    """
    if len(shape) == 2 or (len(shape) == 4 and (shape[2:] == (1, 1) or shape[1:3] == (1, 1))):
        return True, None
    if len(shape) == 4:
        small = shape[2] if shape[2] == shape[3] else shape[1] if shape[1] == shape[2] else 0
        return False, round(math.log2(side / small)) if small else None
    if len(shape) != 3:
        return False, None
    roots = (math.isqrt(shape[1] - more) for more in (0, 1, 2) if shape[1] > more)
    small = next((r for more, r in enumerate(roots) if r > 1 and r * r == shape[1] - more), 0)
    exact = math.log2(side / small) if small else 0.5
    return False, round(exact) if abs(exact - round(exact)) < 0.25 else None


def head_dropout(graph: Graph) -> Node | None:
    """The dropout of what enters the head: right before it, or before what only puts values elsewhere."""
    node = graph[graph.head]
    while node.kind in ("flatten", "reshape", "permute") or node.name == graph.head:
        node = graph[node.inputs[0]]
    return node if node.kind == "dropout" else None
