"""Stages divided at cuts within them, so that training may begin at any boundary of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from xfer.archs import LOGITS, Arch
from xfer.errors import ConfigError, nearest
from xfer.graphs.graph import Graph
from xfer.graphs.parts import begun_by, boundaries, part_of


def split_at(arch: Arch, graph: Graph, names: Sequence[str]) -> Arch:
    """The network with its stages divided at these boundaries: `layer3` at `layer3.1` is `layer3` and `layer3.1`.

    What lies behind a cut, up to the next one or to the end of the stage, is a stage of the name of the cut. A weight
    that is used on both sides stays with the earlier one. Names of stages change nothing. `graph` is the network.

    Raises ConfigError for a name of no boundary.
    """
    known = [name for name in boundaries(graph) if name != LOGITS]
    for name in names:
        if name not in known:
            raise ConfigError(_unknown(name, arch, graph, known))
    wanted = [name for name in known if name in names or name in arch.stage_names]
    if len(wanted) == len(arch.stages):
        return arch
    stages, taken = list[tuple[str, tuple[str, ...]]](), set[str]()
    for start, stop in pairwise((*wanted, LOGITS)):
        behind = dict.fromkeys(name for node in part_of(graph, start, stop).nodes for name in node.weights.values())
        stages.append((start, tuple(name for name in behind if name not in taken)))
        taken |= behind.keys()
    return replace(arch, stages=tuple(stages))


def _unknown(name: str, arch: Arch, graph: Graph, known: Sequence[str]) -> str:
    begun, what = begun_by(graph), f"train_from = {name!r}:"
    if name in begun:
        return f"{what} begins where {begun[name]} does. Cure: train_from = {begun[name]!r}"
    names = [*known, *begun]
    outer = max((each for each in names if name.startswith(f"{each}.")), key=len, default="")
    if outer and any(weight.startswith(f"{name}.") for weight in graph.weights):
        return f"{what} lies within {outer}, where nothing is cut. Cure: train_from = {begun.get(outer, outer)!r}"
    stages, cure = ", ".join(arch.stage_names), f"Cure: xfer models {arch.name} --cuts lists them."
    return f"{what} expected one of {stages}, or a cut within one. {cure}{nearest(name, names)}"
