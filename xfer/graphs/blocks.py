"""Blocks of a network: what a person would count as one layer of it, as a residual block or an encoder layer of a ViT.

A block is one unit or several, from cut to cut. A unit of more than one layer, as a residual branch is, cannot be
divided: where the module behind it has a number in its path, it is a repeated one, and every module whose path differs
from it in numbers alone is a block: `layer1.0`, `encoder.layers.encoder_layer_3`; and in MobileNetV2, for the sake of
`features.3.conv`, which has no cuts, `features.1.conv`, which has some. Of such modules one within another, the outer
one counts. Elsewhere each convolution, linear layer and attention begins a block. Units without any, as norms and
position embeddings are, go with their neighbour of the same parent, or else with what comes before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from xfer.graphs.units import Unit

LAYERS = frozenset({"conv", "linear", "attention", "window_attention", "cosine_window_attention"})

Path = tuple[str, ...]


@dataclass
class _Run:
    """Units one behind the other. `module`: path of what they are parts of; `whole`: whether that is a block.

    layered  whether one of them has a layer
    """

    units: list[Unit]
    module: Path
    whole: bool
    layered: bool

    def takes(self, other: _Run) -> bool:
        """Whether the other one, which comes next, is of the same block."""
        same = (self.module, self.whole) == (other.module, other.whole)
        return same and (self.whole or not (self.layered and other.layered))

    def opens(self, other: _Run, before: _Run | None) -> bool:
        """Whether it has no layer and is of the parent of the other one, which comes next, as what is `before` is not.

        So ConvNeXt's norm before a strided convolution goes with it.
        """
        sisters = not self.layered and self.whole and other.whole and self.module[:-1] == other.module[:-1]
        return sisters and (before is None or before.module[:-1] != self.module[:-1])

    def absorb(self, other: _Run) -> None:
        self.units += other.units
        self.layered |= other.layered


def blocks_of(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units that have weights, those of one block together, in order."""
    weighted = [unit for unit in units if unit.weights]
    repeated = _repeated(weighted)
    lengths = sorted({len(pattern) for pattern in repeated})
    runs = list[_Run]()
    for run in (_alone(unit, repeated, lengths) for unit in weighted):
        if runs and runs[-1].takes(run):
            runs[-1].absorb(run)
        else:
            runs.append(run)
    blocks, opening = list[_Run](), False
    for run, behind in zip_longest(runs, runs[1:]):
        joined, opening = opening, behind is not None and run.opens(behind, blocks[-1] if blocks else None)
        if blocks and not opening and (joined or not (run.layered and blocks[-1].layered)):
            blocks[-1].absorb(run)
        else:
            blocks.append(run)
    return [block.units for block in blocks]


def _alone(unit: Unit, repeated: frozenset[Path], lengths: Sequence[int]) -> _Run:
    path, layered = _path(unit), any(node.kind in LAYERS for node in unit.nodes)
    pattern = _pattern(unit)
    for length in lengths:
        if pattern[:length] in repeated:
            return _Run([unit], path[:length], True, layered)
    return _Run([unit], path if _is_compound(unit) else path[:-1], False, layered)


def _repeated(units: Iterable[Unit]) -> frozenset[Path]:
    """Paths of the modules that are blocks, with `#` for each number."""
    patterns = {_pattern(unit) for unit in units if _is_compound(unit)}
    return frozenset(pattern for pattern in patterns if any("#" in part for part in pattern))


def _is_compound(unit: Unit) -> bool:
    return sum(bool(node.weights) for node in unit.nodes) > 1


def _path(unit: Unit) -> Path:
    return tuple(unit.module.split("."))


def _pattern(unit: Unit) -> Path:
    return tuple(re.sub(r"\d+", "#", unit.module).split("."))
