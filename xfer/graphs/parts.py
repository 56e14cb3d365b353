"""What lies between two boundaries of a network, and the same at rest, with its normalisations merged.

At a boundary one tensor says everything. Each stage is one, by its own name, and so is each cut within a stage, by the
innermost module that has all weights up to the next cut (`layer3.1`), unless it has some before the cut too; `logits`
lies behind the last node. Where a part ends it may end at any node, too: `node:NAME`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.errors import ConfigError, expected, nearest
from xfer.graphs.graph import Graph, Node
from xfer.graphs.stages import HEAD, named_units
from xfer.graphs.units import Hashable

NODE = "node:"
"""Before the name of a node, where a part is to end at what that node gives: a boundary may be called like one."""


@dataclass(frozen=True)
class Part:
    """Nodes in the order of the computation, from the value of the node `source`, which is given, to that of `result`.

    Where nothing lies between two boundaries there are no nodes, and both names are the same.
    """

    source: str
    nodes: tuple[Node, ...]
    result: str


def boundaries(graph: Graph) -> Mapping[str, str]:
    """Name of a boundary -> the node whose value crosses it, in the order of the computation."""
    return _boundaries(Hashable(graph))


@lru_cache(maxsize=32)
def _boundaries(key: Hashable) -> Mapping[str, str]:
    graph = key.graph
    entered = {name: before for name, _, before in _entries(graph)}
    return {**entered, HEAD: graph[graph.head].inputs[0], LOGITS: graph.nodes[-1].name}


def begun_by(graph: Graph) -> Mapping[str, str]:
    """Name of a module -> the boundary where it begins, of those that no boundary is called after."""
    return {module: name for name, modules, _ in _entries(graph) for module in modules if module != name}


def _entries(graph: Graph) -> Iterator[tuple[str, Sequence[str], str]]:
    """Name of each boundary up to the head, the modules that begin there, outermost first, and the node before it."""
    units = named_units(graph)
    taken, stage, before = {HEAD, LOGITS, *(name for name, _ in units)}, "", graph.nodes[0].name
    for own, unit in units:
        begun = [module for module in _prefixes(unit.module) if module not in taken]
        if name := own if own != stage else begun[-1] if begun else "":
            yield name, begun, before
        taken |= {module for name in unit.weights for module in _prefixes(name)}
        stage, before = own, unit.nodes[-1].name


def _prefixes(path: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`; none of an empty one."""
    return accumulate(path.split("."), "{}.{}".format) if path else iter(())


def part_of(graph: Graph, start: str, stop: str) -> Part:
    """From one boundary to another, or to `node:NAME`.

    Raises ConfigError for a name that is none, and for a stop that comes before.
    """
    known = list(boundaries(graph))
    if start not in known:
        raise ConfigError(expected("boundary", start, known))
    source, result = boundaries(graph)[start], _stop(graph, stop)
    if graph.places[source] > graph.places[result] or (stop in known and known.index(start) > known.index(stop)):
        raise ConfigError(f"from {start!r} to {stop!r}: comes before it")
    # Those before the source that are needed are made of no picture: every path from it goes through the source.
    needed, left = set[str](), [result]
    while left:
        name = left.pop()
        if name != source and name not in needed:
            needed.add(name)
            left += graph[name].inputs
    return Part(source, tuple(node for node in graph.nodes if node.name in needed), result)


def _stop(graph: Graph, name: str) -> str:
    """The node at whose value a part ends. Raises ConfigError for a name of none."""
    known, node = boundaries(graph), name.removeprefix(NODE)
    if name in known:
        return known[name]
    if node == name:
        raise ConfigError(expected("boundary", name, known))
    if node not in graph.places:
        raise ConfigError(f"{name!r}: the network has no such node.{nearest(node, graph.places)}")
    return node


@dataclass(frozen=True)
class Merge:
    """A convolution and the batch normalisation behind it, which are one convolution at rest.

    `norm(conv(x))` is `conv'(x)` with `w' = w * s` and `b' = shift + (b - mean) * s`, where
    `s = scale / sqrt(variance + eps)` for each output channel, and `b` is 0 where the convolution has no bias.

    sources   names of weight, scale, shift, mean, variance and perhaps b
    weight    name of w', and `bias` of b', which no other weight of the network has
    """

    sources: tuple[str, ...]
    weight: str
    bias: str
    eps: float

    def values(self, weights: Mapping[str, Float32]) -> tuple[Float32, Float32]:
        """w' (O, I, h, w) and b' (O,), of the sources as they are now."""
        weight, scale, shift, mean, variance, *bias = (weights[name].astype(np.float64) for name in self.sources)
        factor = scale / np.sqrt(variance + self.eps)
        merged = weight * factor.reshape(-1, 1, 1, 1), shift + (sum(bias) - mean) * factor
        return merged[0].astype(np.float32), merged[1].astype(np.float32)


def at_rest(graph: Graph, part: Part) -> tuple[Part, tuple[Merge, ...]]:
    """The same part for inference: each normalisation is merged into the convolution that it alone follows.

    The weights in the new convolutions are those of the merges; all others are the network's.
    """
    inside = {node.name for node in part.nodes} - {part.source}
    uses = Counter(name for node in graph.nodes for name in node.weights.values())
    merges, gone, made = list[Merge](), set[str](), dict[str, Node]()
    for conv, norm in graph.pairs():
        names = (*conv.weights.values(), *norm.weights.values())
        if not inside >= {conv.name, norm.name} or part.result == conv.name or any(uses[name] > 1 for name in names):
            continue
        merge = _merge(conv, norm)
        merges.append(merge)
        gone.add(conv.name)
        made[norm.name] = Node(
            norm.name, "conv", conv.inputs, conv.attributes, {"weight": merge.weight, "bias": merge.bias}
        )
    nodes = tuple(made.get(node.name, node) for node in part.nodes if node.name not in gone)
    return replace(part, nodes=nodes), tuple(merges)


def _merge(conv: Node, norm: Node) -> Merge:
    bias = (conv.weights["bias"],) if "bias" in conv.weights else ()
    slots = ("weight", "bias", "running_mean", "running_var")
    sources = (conv.weights["weight"], *(norm.weights[slot] for slot in slots), *bias)
    return Merge(sources, f"{sources[0]} merged", f"{norm.weights['bias']} merged", norm.attributes["eps"])
