"""What there is to say of a network before it is built: its size, its work, its stages and the weights to be had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import boundaries
from xfer.graphs.shapes import Shapes, shapes_of, work_of
from xfer.graphs.stages import stages_of
from xfer.graphs.units import made_of_picture, with_constants


@dataclass(frozen=True)
class StageFacts:
    """`gives`: shape of what leaves it, without the batch, for a picture of the network's own size."""

    name: str
    gives: tuple[int, ...]
    tensors: int
    parameters: int


@dataclass(frozen=True)
class CutFacts:
    """A boundary of the network, for a picture of its own size.

    name        what `train_from` calls it: of a stage, or of a cut within the stage
    takes       shape of what crosses it, without the batch
    size        bytes of that in float32, as the cache of features keeps it
    work        multiplications behind it
    parameters  numbers behind it that training may move; those that are also used before it are none
    """

    stage: str
    name: str
    takes: tuple[int, ...]
    size: int
    work: int
    parameters: int


@dataclass(frozen=True)
class Facts:
    """Of a network with the classes that it was published for.

    parameters  numbers that training may move; running statistics are none
    work        multiplications of weights with values, for one picture of its own size
    size        (height, width) in pixels; `fixed` where it takes no other
    weights     tags of published ones
    kinds       of its nodes, sorted: what a backend needs in order to build it
    """

    name: str
    parameters: int
    work: int
    size: tuple[int, int]
    fixed: bool
    weights: tuple[str, ...]
    stages: tuple[StageFacts, ...]
    kinds: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def facts_of_graph(name: str, graph: Graph, tags: tuple[str, ...] = ()) -> Facts:
    shapes = shapes_of(graph)
    stages = tuple(
        StageFacts(s.name, shapes[s.nodes[-1].name][1:], len(s.weights), _parameters(graph, s.weights))
        for s in stages_of(graph)
    )
    count = _parameters(graph, tuple(graph.weights))
    kinds = tuple(sorted({node.kind for node in graph.nodes}))
    return Facts(name, count, work_of(graph, shapes), graph.size, graph.fixed, tags, stages, kinds)


def cuts_of(graph: Graph) -> tuple[CutFacts, ...]:
    """Every boundary at which training may begin, in the order of the computation."""
    shapes, entered = shapes_of(graph), boundaries(graph)
    stages, stage = {each.name for each in stages_of(graph)}, ""
    parts = _parts(graph, tuple(entered.values()))
    parameters, before, found = _parameters(graph, tuple(graph.weights)), set[str](), list[CutFacts]()
    for (name, source), part, work in zip(entered.items(), parts, _work_behind(graph, shapes, parts), strict=False):
        stage = name if name in stages else stage
        takes = shapes[source][1:]
        found.append(CutFacts(stage, name, takes, 4 * math.prod(takes), work, parameters))
        here = {weight for node in part for weight in node.weights.values()} - before
        parameters -= _parameters(graph, tuple(here))
        before |= here
    return tuple(found)


def _parts(graph: Graph, sources: Sequence[str]) -> list[tuple[Node, ...]]:
    """The nodes from each of the sources to the next, with the constants that they need."""
    dependent, places = made_of_picture(graph), graph.places
    between = (graph.nodes[places[a] + 1 : places[b] + 1] for a, b in pairwise(sources))
    return [with_constants(graph, [n for n in part if n.name in dependent], dependent) for part in between]


def _work_behind(graph: Graph, shapes: Shapes, parts: Sequence[Sequence[Node]]) -> list[int]:
    """Multiplications in each part and in all behind it; of a constant that several need, once."""
    total, counted, found = 0, set[str](), list[int]()
    for part in reversed(parts):
        total += work_of(graph, shapes, [node for node in part if node.name not in counted])
        counted.update(node.name for node in part)
        found.append(total)
    return found[::-1]


def _parameters(graph: Graph, names: tuple[str, ...]) -> int:
    statistics = (".running_mean", ".running_var")
    return sum(math.prod(graph.weights[name]) for name in names if not name.endswith(statistics))
