"""How deep in the network a weight lies, in blocks: what a decay of the rate from layer to layer goes by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from xfer.graphs.blocks import blocks_of
from xfer.graphs.graph import Graph
from xfer.graphs.stages import stages_of
from xfer.graphs.units import Hashable, units_of


def depths(graph: Graph) -> Mapping[str, int]:
    """Name of every weight and running statistic -> its depth: 0 in the first block, one more in each that follows.

    The head's is the largest. A weight that several blocks share lies in the first of them.
    Raises ConfigError as `xfer.graphs.stages.stages_of`.
    """
    return _depths(Hashable(graph))


@lru_cache(maxsize=32)
def _depths(key: Hashable) -> Mapping[str, int]:
    blocks = [[name for unit in block for name in unit.weights] for block in blocks_of(units_of(key.graph))]
    found = dict[str, int]()
    for depth, names in enumerate((*blocks, stages_of(key.graph)[-1].weights)):
        for name in names:
            found.setdefault(name, depth)
    return {name: found[name] for name in key.graph.weights}
