"""What there is to say of a network before it is built: its size, its work, its stages and the weights to be had."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from xfer.archs import LOGITS
from xfer.graphs.graph import Graph
from xfer.graphs.parts import boundaries, part_of
from xfer.graphs.shapes import shapes_of, work_of
from xfer.graphs.stages import stages_of


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
    """

    name: str
    parameters: int
    work: int
    size: tuple[int, int]
    fixed: bool
    weights: tuple[str, ...]
    stages: tuple[StageFacts, ...]

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def facts_of_graph(name: str, graph: Graph, tags: tuple[str, ...] = ()) -> Facts:
    shapes = shapes_of(graph)
    stages = tuple(
        StageFacts(s.name, shapes[s.nodes[-1].name][1:], len(s.weights), _parameters(graph, s.weights))
        for s in stages_of(graph)
    )
    count = _parameters(graph, tuple(graph.weights))
    return Facts(name, count, work_of(graph, shapes), graph.size, graph.fixed, tags, stages)


def cuts_of(graph: Graph) -> tuple[CutFacts, ...]:
    """Every boundary at which training may begin, in the order of the computation."""
    shapes, entered = shapes_of(graph), boundaries(graph)
    stages, found = {stage.name for stage in stages_of(graph)}, list[CutFacts]()
    first = stage = next(iter(entered))
    for name, source in entered.items():
        stage = name if name in stages else stage
        before = {weight for node in part_of(graph, first, name).nodes for weight in node.weights.values()}
        behind = part_of(graph, name, LOGITS).nodes
        takes = shapes[source][1:]
        parameters = _parameters(graph, tuple(weight for weight in graph.weights if weight not in before))
        found.append(CutFacts(stage, name, takes, 4 * math.prod(takes), work_of(graph, shapes, behind), parameters))
    return tuple(found[:-1])


def _parameters(graph: Graph, names: tuple[str, ...]) -> int:
    statistics = (".running_mean", ".running_var")
    return sum(math.prod(graph.weights[name]) for name in names if not name.endswith(statistics))
