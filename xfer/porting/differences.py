"""Two measurements held against each other: a row for each tensor, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from xfer.archs import LOGITS
from xfer.porting import probe
from xfer.porting.probe import Array, Arrays, Measurement, Task

GRADIENT_LIKE = (probe.REST_GRADIENTS, probe.GRADIENTS, probe.ONE_STEP)
"""Judged by their squared difference. A bias that starts at 0 is, after one step, a gradient and nothing else."""
JUMPS = 25.0
"""Tolerances that the squared difference of a gradient may come to: 25 * 1e-4 is 5 % of its length.

A gradient jumps where rounding turns a ReLU, in two faultless frameworks too. How many turn grows with the rounding,
and each adds its square: so the squared difference grows with the tolerance, and it is the one that is judged. For a
ResNet-50 in torch and MindSpore, at 224 pixels, it was 3e-6 to 1.7e-4 at worst, in ten batches of 8 pictures.
"""
ABOVE_FLOOR = 10.0
"""Times the floor that a difference may come to, whatever the tolerance: what one draw of rounding shows of the next.

Where the true value is 0, as the mean behind a normalised map, or the gradient of a bias before a normalisation, all
that there is of it is rounding, and no two frameworks have the same. A fault is far above: rounding is 6e-8.
"""
BACKWARD = (probe.REST_GRADIENTS, probe.GRADIENTS)
"""Computed from the last stage to the first: what is off in one stage is off in all before it."""
JUDGED = (
    probe.START,
    probe.ACTIVATIONS,
    probe.LOGITS_OF_ALL,
    probe.REST_LOSS,
    probe.REST_GRADIENTS,
    probe.STATISTICS,
    probe.LOSS,
    probe.GRADIENTS,
    probe.ONE_STEP,
)
"""In the order in which a fault shows: each is computed from those before it.

Judged by the largest element, but for GRADIENT_LIKE: see JUMPS.

What is there after many steps is reported only. Rounding grows with every step when everything is trained, so that
two faultless frameworks come to different weights.
"""


@dataclass(frozen=True)
class Row:
    """One tensor of both backends. The first is the reference.

    what      the quantity: one of JUDGED, or what is there after many steps
    relative  the largest difference over the largest absolute value of the reference
    squared   the squared length of the difference over that of the reference
    note      why the two cannot be subtracted, where that is so; the differences are then infinite
    floor     what the figure that is judged comes to between the reference and itself, with every weight moved to a
              neighbouring float32. None where it was not measured
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


@dataclass(frozen=True)
class Side:
    """A backend as it was run."""

    backend: str
    device: str
    versions: Mapping[str, str]
    weights: str


@dataclass(frozen=True)
class ParityReport:
    """`top1_agree` of `images` images have their largest logit at the same class. No images: nothing was run."""

    arch: str
    sides: tuple[Side, ...]
    tolerance: float
    steps: int
    images: int
    top1_agree: int
    rows: tuple[Row, ...]

    @property
    def passes(self) -> bool:
        return all(row.passes for row in self.rows if row.judged)

    @property
    def first_difference(self) -> Row | None:
        """The first judged row past the tolerance, in the order of the computation."""
        off = [row for row in self.rows if row.judged and not row.passes]
        first = [row for row in off if row.what == off[0].what]
        return first[-1 if first[0].what in BACKWARD else 0] if first else None

    def worst(self) -> Iterator[Row]:
        """For each stage and each thing measured, the tensor furthest apart."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.what, row.stage), []).append(row)
        for rows in groups.values():
            # A difference that is no number is worse than any.
            yield max(rows, key=lambda row: math.inf if math.isnan(row.verdict_on) else row.verdict_on)

    def as_json(self) -> dict[str, Any]:
        """Plain records; null for numbers that JSON has not."""
        first = self.first_difference
        content = asdict(self) | {"passes": self.passes, "first_difference": first and first.stage}
        content["rows"] = [{k: _plain(v) for k, v in row.items()} for row in content["rows"]]
        return content


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare(reference: Measurement, candidate: Measurement, tasks: Sequence[Task], tolerance: float) -> ParityReport:
    """The report on two measurements; of each tensor the differences, and whether they are within the tolerance."""
    measurements = (reference, candidate)
    stages = {**candidate.stages, **reference.stages}
    rows: list[Row] = []
    for quantity in [*JUDGED, *(name for name in reference.arrays if name not in JUDGED)]:
        a, b = (measurement.arrays.get(quantity, {}) for measurement in measurements)
        rows.extend(compare_arrays(quantity, a, b, stages, tolerance))
    top1, candidate_top1 = (m.arrays[probe.LOGITS_OF_ALL][LOGITS].argmax(axis=1) for m in measurements)
    sides = [
        Side(measurement.backend, measurement.device, dict(measurement.versions), task.source)
        for measurement, task in zip(measurements, tasks, strict=True)
    ]
    task, agree = tasks[0], int((top1 == candidate_top1).sum())
    return ParityReport(task.arch, tuple(sides), tolerance, task.steps, len(top1), agree, tuple(rows))


def with_floors(report: ParityReport, reference: Measurement, shaken: Measurement) -> ParityReport:
    """The report with what rounding may do to each figure that is judged, and the verdict that follows.

    `shaken`: of the reference's task, shaken. The other backend's is not asked for: one that gives another result each
    time would excuse itself.
    """
    rows = [
        replace(row, floor=_floor(row, reference, shaken)) if row.judged and not row.note else row
        for row in report.rows
    ]
    return replace(report, rows=tuple(_judged_anew(row) for row in rows))


def _floor(row: Row, reference: Measurement, shaken: Measurement) -> float | None:
    if row.what == probe.START:  # copied, not computed
        return None
    (*_, relative, squared, _), _ = _differences(*(m.arrays[row.what][row.tensor] for m in (reference, shaken)))
    return squared if row.what in GRADIENT_LIKE else relative


def _judged_anew(row: Row) -> Row:
    if row.floor is None:
        return row
    times = ABOVE_FLOOR**2 if row.what in GRADIENT_LIKE else ABOVE_FLOOR
    return replace(row, passes=row.passes or row.verdict_on <= times * row.floor)


def compare_arrays(quantity: str, a: Arrays, b: Arrays, stages: Mapping[str, str], tolerance: float) -> Iterator[Row]:
    """A row for each tensor of either, in the order of the computation."""
    order = {stage: i for i, stage in enumerate(dict.fromkeys(stages.values()))}
    for name in sorted(a | b, key=lambda n: order[stages[n]]):
        numbers, note = _differences(a.get(name), b.get(name))
        row = Row(stages[name], name, quantity, *numbers, judged=quantity in JUDGED, passes=False, note=note)
        yield replace(row, passes=row.verdict_on <= bound(quantity, tolerance))


def bound(quantity: str, tolerance: float) -> float:
    """What `Row.verdict_on` may come to."""
    return tolerance * JUMPS if quantity in GRADIENT_LIKE else tolerance


def _differences(a: Array | None, b: Array | None) -> tuple[tuple[float, float, float, float, float], str]:
    """Largest, mean, relative and squared difference and cosine; and why there are none."""
    apart = (math.inf, math.inf, math.inf, math.inf, math.nan)
    if a is None or b is None:
        return apart, f"only in the {'second' if a is None else 'first'}"
    if a.shape != b.shape:
        return apart, f"shapes {a.shape} and {b.shape}"
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):  # inf - inf: the result, no number, fails
        gap = np.abs(x - y)
        largest, squared = float(gap.max()), float(gap @ gap)
        relative = _share(largest, float(np.abs(x).max()))
        return (largest, float(gap.mean()), relative, _share(squared, float(x @ x)), _cosine(x, y)), ""


def _share(part: float, whole: float) -> float:
    return part / whole if whole else (math.inf if part else 0.0)


def _cosine(x: Array, y: Array) -> float:
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms else float(np.array_equal(x, y))
