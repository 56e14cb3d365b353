"""The nodes of a stage of both backends held against each other: the first that is off, with its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfer.porting.floors import ABOVE_FLOOR
from xfer.porting.gaps import Array, gap_of
from xfer.porting.nodes import Place
from xfer.porting.task import NODES, Measurement


@dataclass(frozen=True)
class NodeRow:
    """What one node gives on both backends, of the picture that is furthest apart and the one behind it.

    relative, floor  as of `Row`
    """

    place: Place
    max_abs: float
    relative: float
    floor: float | None
    passes: bool
    note: str = ""


def compare_nodes(reference: Measurement, candidate: Measurement, tolerance: float) -> tuple[NodeRow, ...]:
    """In the order of the computation. A difference within ABOVE_FLOOR times the reference's floor is none."""
    a, b = (measurement.arrays[NODES] for measurement in (reference, candidate))
    rows, floors = [], reference.floors.get(NODES, {})
    for place in reference.nodes:
        gap = gap_of(a[place.name], b.get(place.name))
        floor = float(floors[place.name][0]) if place.name in floors else None
        within = tolerance if floor is None or not np.isfinite(floor) else max(tolerance, ABOVE_FLOOR * floor)
        rows.append(NodeRow(place, gap.max_abs, gap.relative, floor, gap.relative <= within, gap.note))
    return tuple(rows)


def furthest(a: Array, b: Array) -> int:
    """The picture whose values are furthest apart, of two arrays of as many; one that is no number is the furthest."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b).reshape(len(a), -1).max(axis=1)
    return int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
