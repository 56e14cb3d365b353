"""Dropout as data: what a step multiplies values with, drawn in the core, so that every framework drops the same.

Each sample has generators of its own, so neither the batch size nor the framework changes a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from xfer.archs import LOGITS
from xfer.arrays import Float32, Float64, Int64
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import part_of
from xfer.graphs.shapes import shapes_of
from xfer.graphs.units import head_dropout

_HEAD, _DEPTH, _INNER = 2, 3, 4  # set these generators apart from each other, and from those of pictures and of order


@dataclass(frozen=True)
class Dropped:
    """What enters a node, without the axis of the batch, and the share of it that is dropped."""

    node: str
    shape: tuple[int, ...]
    p: float


@dataclass(frozen=True)
class Masks:
    """All that is dropped in training.

    head    inverted dropout (Srivastava et al. 2014) of what enters the head
    inner   the same further in front
    depth   stochastic depth (Huang et al. 2016): all that enters a node, or nothing. `number` counts the nodes of this
            kind in the whole network, `by_row` is whether each sample has a draw of its own
    draws   how many such nodes there are
    """

    head: Dropped | None = None
    inner: tuple[Dropped, ...] = ()
    depth: tuple[tuple[Dropped, int, bool], ...] = ()
    draws: int = 0

    def draw(self, seed: int, epoch: int, indices: Int64) -> dict[str, Float32]:
        """Node -> mask of a batch of the samples `indices`, which are 0 or 1 / (1 - p). The head's comes first."""
        found: dict[str, Float32] = {}
        if self.head is not None:
            found[self.head.node] = _each(self.head, [(seed, epoch, int(i), _HEAD) for i in indices])
        for dropped in self.inner:
            code = crc32(dropped.node.encode())
            found[dropped.node] = _each(dropped, [(seed, epoch, int(i), _INNER, code) for i in indices])
        if self.depth:
            rows = [np.random.default_rng((seed, epoch, int(i), _DEPTH)).random(self.draws) for i in indices]
            drawn = np.stack(rows)
            for dropped, number, by_row in self.depth:
                column = drawn[:, number] if by_row else np.repeat(drawn[:1, number], len(indices))
                found[dropped.node] = _kept(column.reshape(-1, *dropped.shape), dropped.p)
        return found


def _each(dropped: Dropped, seeds: Sequence[tuple[int, ...]]) -> Float32:
    return _kept(np.stack([np.random.default_rng(seed).random(dropped.shape) for seed in seeds]), dropped.p)


def _kept(drawn: Float64, p: float) -> Float32:
    """Of numbers drawn from [0, 1). Where everything is dropped, zeros."""
    kept: Float32 = ((drawn >= p) / (1 - p if p < 1 else 1)).astype(np.float32)
    return kept


def masks_of(graph: Graph, size: tuple[int, int], cut: str, dropout: float) -> Masks:
    """What is dropped behind the boundary `cut`, in pictures of (height, width) `size`.

    `dropout` is of what enters the head, in place of the network's own node for that (`head_dropout`).
    """
    shapes, head, own = shapes_of(graph, size), graph[graph.head], head_dropout(graph)
    active = {node.name for node in part_of(graph, cut, LOGITS).nodes}

    def dropped(node: Node, depth: bool = False) -> Dropped:
        _, *shape = shapes[node.inputs[0]]
        return Dropped(node.name, (1,) * len(shape) if depth else tuple(shape), node.attributes["p"])

    inner, deep = (
        [node for node in graph.nodes if node.kind == kind and node.attributes["p"] > 0]
        for kind in ("dropout", "stochastic_depth")
    )
    return Masks(
        head=Dropped(head.name, shapes[head.inputs[0]][1:], dropout) if dropout else None,
        inner=tuple(dropped(node) for node in inner if node.name in active and node is not own),
        depth=tuple(
            (dropped(node, depth=True), number, node.attributes["mode"] == "row")
            for number, node in enumerate(deep)
            if node.name in active
        ),
        draws=len(deep),
    )
