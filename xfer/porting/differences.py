"""Two measurements held against each other: a row for each tensor, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from xfer.archs import LOGITS
from xfer.porting.curve import Point, curve_of
from xfer.porting.floors import ABOVE_FLOOR, Floors
from xfer.porting.gaps import gap_of
from xfer.porting.node_rows import NodeRow
from xfer.porting.not_finite import NotFinite, first_not_finite
from xfer.porting.task import (
    ACTIVATIONS,
    GRADIENTS,
    LOGITS_OF_ALL,
    LOSS,
    NO_STAGE,
    ONE_STEP,
    PICTURES,
    REST_GRADIENTS,
    REST_LOSS,
    START,
    STATISTICS,
    UPDATE,
    Arrays,
    Measurement,
    Task,
)  # fmt: skip

GRADIENT_LIKE = (REST_GRADIENTS, GRADIENTS, UPDATE, ONE_STEP)
"""Judged by their squared difference, that is, by their length. A gradient jumps where rounding turns a ReLU, in two
faultless frameworks too: single elements say little then."""
BACKWARD = (REST_GRADIENTS, GRADIENTS)
"""Computed from the last stage to the first: what is off in one stage is off in all before it."""
FORWARD = (ACTIVATIONS, LOGITS_OF_ALL)
"""Inference, which can be looked at node by node."""
JUDGED = (
    START,
    ACTIVATIONS,
    LOGITS_OF_ALL,
    REST_LOSS,
    REST_GRADIENTS,
    STATISTICS,
    LOSS,
    GRADIENTS,
    UPDATE,
    ONE_STEP,
)
"""In the order in which a fault shows: each is computed from those before it.

Judged by the largest element, but for GRADIENT_LIKE.

Tensors after many steps are reported only, beside their floors; of the training, the losses are judged. Rounding grows
with every step when everything is trained, so that two faultless frameworks come to different weights.
"""


@dataclass(frozen=True)
class Row:
    """One tensor of both backends. The first is the reference.

    what      the quantity: one of JUDGED, or what is there after many steps
    relative  the largest difference over the largest absolute value of the reference
    squared   the squared length of the difference over that of the reference
    note      why the two cannot be subtracted, where that is so; the differences are then infinite
    floor     what the figure `verdict_on` comes to between the reference and itself, with every weight moved to a
              neighbouring float32, at most of some draws. None where it was not measured
    """

    stage: str
    tensor: str
    what: str
    max_abs: float
    mean_abs: float
    relative: float
    squared: float
    cosine: float
    judged: bool
    passes: bool
    note: str = ""
    floor: float | None = None

    @property
    def verdict_on(self) -> float:
        """What is held against the tolerance. See GRADIENT_LIKE."""
        return self.squared if self.what in GRADIENT_LIKE else self.relative

    def by_floor(self, tolerance: float) -> bool:
        """Whether it passes for its floor alone."""
        return self.judged and self.passes and self.verdict_on > bound(self.what, tolerance)

    def undecided(self, tolerance: float) -> bool:
        """Whether it passes by a floor within which zeros would pass too: there is nothing but rounding in it."""
        wide = self.floor is not None and 1 <= times_floor(self.what) * self.floor < math.inf
        return wide and self.by_floor(tolerance)


@dataclass(frozen=True)
class Side:
    """A backend as it was run."""

    backend: str
    device: str
    versions: Mapping[str, str]
    weights: str


@dataclass(frozen=True)
class ParityReport:
    """`top1_agree` of `images` images have their largest logit at the same class. No images: nothing was run.

    curve       the losses of the training, step by step
    not_finite  of each backend, where its first value is that is no finite number; None where all are
    nodes       of the stages where the inference is off, or not finite, what each node gives
    nodes_note  why there are none, where they were asked for
    settings    what else was asked for
    """

    arch: str
    sides: tuple[Side, ...]
    tolerance: float
    steps: int
    images: int
    top1_agree: int
    rows: tuple[Row, ...]
    curve: tuple[Point, ...] = ()
    not_finite: tuple[NotFinite | None, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    nodes_note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        return all(row.passes for row in self.rows if row.judged) and self.first_step is None

    @property
    def first_node(self) -> NodeRow | None:
        """The first node that is off: all that it takes is not."""
        return next((row for row in self.nodes if not row.passes), None)

    @property
    def first_step(self) -> Point | None:
        """The first whose loss is further off than the band of rounding allows."""
        return next((point for point in self.curve if point.judged and not point.passes), None)

    @property
    def first_difference(self) -> Row | None:
        """The first judged row past the tolerance, in the order of the computation."""
        off = [row for row in self.rows if row.judged and not row.passes]
        first = [row for row in off if row.what == off[0].what]
        return first[-1 if first[0].what in BACKWARD else 0] if first else None

    def worst(self) -> Iterator[Row]:
        """For each stage and each thing measured, the tensor furthest apart, of those that differ where some do."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.what, row.stage), []).append(row)
        for rows in groups.values():
            yield max(rows, key=_badness)

    def as_json(self) -> dict[str, Any]:
        """Plain records; null for numbers that JSON has not."""
        first = self.first_difference
        content = asdict(self) | {"passes": self.passes, "first_difference": first and first.stage}
        content["first_node"] = self.first_node and self.first_node.place.name
        content["first_step"] = self.first_step and self.first_step.step
        for listed in ("rows", "curve", "nodes"):
            content[listed] = [{k: _plain(v) for k, v in row.items()} for row in content[listed]]
        return content


def _badness(row: Row) -> tuple[bool, float]:
    """A difference that is no number is worse than any."""
    return row.judged and not row.passes, math.inf if math.isnan(row.verdict_on) else row.verdict_on


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(reference: Measurement, candidate: Measurement, tasks: Sequence[Task], tolerance: float) -> ParityReport:
    """The report on two measurements; of each tensor the differences, and whether they are within the tolerance."""
    measurements = (reference, candidate)
    stages = {**candidate.stages, **reference.stages}
    rows: list[Row] = []
    copied = tasks[0].source == tasks[-1].source
    for quantity in [*JUDGED, *(name for name in reference.arrays if name not in JUDGED)]:
        within = 0.0 if quantity == START and copied else tolerance
        found = compare_arrays(quantity, *_of_both(quantity, *measurements), stages, within)
        rows += (with_floor(row, reference.floors) for row in found)
    top1, candidate_top1 = (m.arrays[LOGITS_OF_ALL][LOGITS].argmax(axis=1) for m in measurements)
    sides = [
        Side(measurement.backend, measurement.device, dict(measurement.versions), task.source)
        for measurement, task in zip(measurements, tasks, strict=True)
    ]
    task, agree = tasks[0], int((top1 == candidate_top1).sum())
    return ParityReport(
        task.arch, tuple(sides), tolerance, task.steps, len(top1), agree, tuple(rows),
        curve_of(reference, candidate, tolerance), tuple(map(first_not_finite, measurements)),
    )  # fmt: skip


def _of_both(quantity: str, reference: Measurement, candidate: Measurement) -> tuple[Arrays, Arrays]:
    """The arrays of each. The gradient of the pictures is compared where both backends give it."""
    a, b = (dict(measurement.arrays.get(quantity, {})) for measurement in (reference, candidate))
    if (PICTURES in a) != (PICTURES in b):
        a, b = ({name: array for name, array in side.items() if name != PICTURES} for side in (a, b))
    return a, b


def alike(reference: Measurement, candidate: Measurement, tolerance: float) -> bool:
    """Whether everything that is judged is within the tolerance: no floor would change a verdict then."""
    for quantity in JUDGED:
        rows = compare_arrays(quantity, *_of_both(quantity, reference, candidate), reference.stages, tolerance)
        if not all(row.passes for row in rows):
            return False
    return all(point.passes for point in curve_of(reference, candidate, tolerance))


def with_floor(row: Row, floors: Floors) -> Row:
    """The row with what rounding may do to its figure, and the verdict that follows.

    Floors are the reference's alone: a backend that gives another result each time would excuse itself.
    """
    if row.note or row.what == START or row.tensor not in floors.get(row.what, {}):  # weights are copied, not computed
        return row
    relative, squared, moved = floors[row.what][row.tensor].tolist()
    floor = squared if row.what in GRADIENT_LIKE else relative
    within = row.verdict_on <= times_floor(row.what) * floor < math.inf
    if floor == math.inf:  # of a reference that is 0 throughout
        within = row.max_abs <= ABOVE_FLOOR * moved < math.inf
    return replace(row, floor=floor, passes=row.passes or within)


def times_floor(quantity: str) -> float:
    """What `Row.verdict_on` may come to, in floors."""
    return ABOVE_FLOOR**2 if quantity in GRADIENT_LIKE else ABOVE_FLOOR


def compare_arrays(quantity: str, a: Arrays, b: Arrays, stages: Mapping[str, str], tolerance: float) -> Iterator[Row]:
    """A row for each tensor of either, in the order of the computation."""
    order = {stage: i for i, stage in enumerate(dict.fromkeys((*stages.values(), NO_STAGE)))}
    for name in sorted(a | b, key=lambda n: order[stages.get(n, NO_STAGE)]):
        gap = asdict(gap_of(a.get(name), b.get(name)))
        row = Row(stages.get(name, NO_STAGE), name, quantity, judged=quantity in JUDGED, passes=False, **gap)
        yield replace(row, passes=row.verdict_on <= bound(quantity, tolerance))


def bound(quantity: str, tolerance: float) -> float:
    """What `Row.verdict_on` may come to, whatever its floor."""
    return tolerance**2 if quantity in GRADIENT_LIKE else tolerance
