"""What there is to say of a network before it is built: its size, its work, its stages and the weights to be had."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from xfer.errors import ConfigError, nearest
from xfer.graphs import packaged
from xfer.graphs.graph import Graph
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


def matching(pattern: str) -> tuple[str, ...]:
    """Names that hold the pattern, in any case, in order. Raises ConfigError where there is none."""
    names = tuple(name for name in packaged.names() if pattern.lower() in name)
    if not names:
        near = nearest(pattern, packaged.names())
        raise ConfigError(f"network = {pattern!r}: no name holds this. Cure: xfer models lists them.{near}")
    return names


@lru_cache(maxsize=128)
def facts_of(name: str) -> Facts:
    """Raises ConfigError for a name that there is not."""
    return facts_of_graph(name, packaged.load(name), tuple(published.tag for published in packaged.published(name)))


def facts_of_graph(name: str, graph: Graph, tags: tuple[str, ...] = ()) -> Facts:
    shapes = shapes_of(graph)
    stages = tuple(
        StageFacts(s.name, shapes[s.nodes[-1].name][1:], len(s.weights), _parameters(graph, s.weights))
        for s in stages_of(graph)
    )
    count = _parameters(graph, tuple(graph.weights))
    return Facts(name, count, work_of(graph, shapes), graph.size, graph.fixed, tags, stages)


def _parameters(graph: Graph, names: tuple[str, ...]) -> int:
    statistics = (".running_mean", ".running_var")
    return sum(math.prod(graph.weights[name]) for name in names if not name.endswith(statistics))
