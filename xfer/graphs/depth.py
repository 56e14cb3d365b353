"""How deep in the network a weight lies, in blocks: what a decay of the rate from layer to layer goes by.

A block is one unit or several, from cut to cut. A unit of more than one layer, as a residual branch is, cannot be
divided: where the module behind it has a number in its path, it is a repeated one, and every module whose path differs
from it in numbers alone is a block: `layer1.0`, `encoder.layers.encoder_layer_3`; and in MobileNetV2, for the sake of
`features.3.conv`, which has no cuts, `features.1.conv`, which has some. Of such modules one within another, the outer
one counts. Elsewhere each convolution, linear layer and attention begins a block. Units without any, as norms and
position embeddings are, go with their neighbour of the same parent, or else with what comes before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from xfer.graphs.graph import Graph
from xfer.graphs.parts import module_of
from xfer.graphs.stages import Hashable, Unit, stages_of, units_of

LAYERS = frozenset({"conv", "linear", "attention"})

Path = tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """Units one behind the other. `module`: path of what they are parts of; `whole`: whether that is a block."""

    units: tuple[Unit, ...]
    module: Path
    whole: bool

    @property
    def layered(self) -> bool:
        return any(node.kind in LAYERS for unit in self.units for node in unit.nodes)

    def takes(self, other: Run) -> bool:
        """Whether the other one, which comes next, is of the same block."""
        same = (self.module, self.whole) == (other.module, other.whole)
        return same and (self.whole or not (self.layered and other.layered))

    def __add__(self, other: Run) -> Run:
        return Run(self.units + other.units, self.module, self.whole)


def depths(graph: Graph) -> Mapping[str, int]:
    """Name of every weight and running statistic -> its depth: 0 in the first block, one more in each that follows.

    The head's is the largest. A weight that several blocks share lies in the first of them.
    Raises ConfigError as `xfer.graphs.stages.stages_of`.
    """
    return _depths(Hashable(graph))


@lru_cache(maxsize=32)
def _depths(key: Hashable) -> Mapping[str, int]:
    blocks = [[name for unit in run.units for name in unit.weights] for run in _blocks(units_of(key.graph))]
    found = dict[str, int]()
    for depth, names in enumerate((*blocks, stages_of(key.graph)[-1].weights)):
        found = dict.fromkeys(names, depth) | found
    return {name: found[name] for name in key.graph.weights}


def _blocks(units: Sequence[Unit]) -> list[Run]:
    weighted = [unit for unit in units if unit.weights]
    repeated = _repeated(weighted)
    runs = _joined([_alone(unit, repeated) for unit in weighted])
    blocks = list[Run]()
    for run in runs:
        if blocks and not (run.layered and blocks[-1].layered):
            blocks[-1] += run
        else:
            blocks.append(run)
    return blocks


def _joined(runs: Sequence[Run]) -> list[Run]:
    joined = list[Run]()
    for run in runs:
        if joined and joined[-1].takes(run):
            joined[-1] += run
        else:
            joined.append(run)
    return joined


def _alone(unit: Unit, repeated: frozenset[Path]) -> Run:
    module = _path(unit)
    for length in range(1, len(module) + 1):
        if _pattern(module[:length]) in repeated:
            return Run((unit,), module[:length], True)
    return Run((unit,), module if _is_compound(unit) else module[:-1], False)


def _repeated(units: Sequence[Unit]) -> frozenset[Path]:
    """Paths of the modules that are blocks, with `#` for each number."""
    patterns = {_pattern(_path(unit)) for unit in units if _is_compound(unit)}
    return frozenset(pattern for pattern in patterns if any("#" in part for part in pattern))


def _is_compound(unit: Unit) -> bool:
    return sum(bool(node.weights) for node in unit.nodes) > 1


def _path(unit: Unit) -> Path:
    return tuple(module_of(unit).split("."))


def _pattern(path: Path) -> Path:
    return tuple(re.sub(r"\d+", "#", part) for part in path)
