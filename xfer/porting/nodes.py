"""What every node of a stage gives, from boundary to boundary: where in the stage something is off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xfer.archs import LOGITS
from xfer.graphs.graph import Node
from xfer.graphs.parts import NODE, boundaries, part_of
from xfer.nets.net import Net
from xfer.porting.gaps import Array


@dataclass(frozen=True)
class Place:
    """Of a node in its network. `module`: by its weights or its own name, empty for the network itself."""

    name: str
    kind: str
    stage: str
    module: str
    inputs: tuple[str, ...]


def values_of(net: Net, stages: Sequence[str], images: Array) -> Iterator[tuple[Place, Array]]:
    """What every node in these stages gives that is made of the picture, in the order of the computation.

    Each runs from the last boundary before it, of what the network itself has there: in a residual block that is a
    handful of nodes again, and not all before it.
    """
    names, of_stages = list(boundaries(net.graph)), [*net.arch.stage_names, LOGITS]
    for stage, end in pairwise(of_stages):
        if stage in stages:
            x = images if stage == net.first else net.predict_step(stop=stage)(images)
            for start, stop in pairwise(names[names.index(stage) : names.index(end) + 1]):
                for node in _made_of_pictures(net, start, stop):
                    given = net.predict_step(start, f"{NODE}{node.name}")(x)
                    yield _place(node, stage), given
                if part_of(net.graph, start, stop).nodes:
                    x = net.predict_step(start, stop)(x)


def _made_of_pictures(net: Net, start: str, stop: str) -> Iterator[Node]:
    """Tables, and what is made of them alone, are left out: they are weights, and compared as such."""
    part = part_of(net.graph, start, stop)
    known = {part.source}
    for node in part.nodes:
        if known.intersection(node.inputs):
            known.add(node.name)
            yield node


def _place(node: Node, stage: str) -> Place:
    named = next(iter(node.weights.values()), node.name)
    return Place(node.name, node.kind, stage, named.rpartition(".")[0], node.inputs)
