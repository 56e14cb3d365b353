"""The losses of a training on both backends, step by step, beside the band in which rounding moves them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from xfer.porting.floors import ABOVE_FLOOR
from xfer.porting.task import Measurement


@dataclass(frozen=True)
class Point:
    """The loss before a step, of both backends.

    band    how far the reference's own loss moves up to here when every weight starts at a neighbouring float32. None
            where that was not measured: what is beyond the tolerance is not judged then
    """

    step: int
    reference: float
    candidate: float
    band: float | None
    passes: bool

    @property
    def apart(self) -> float:
        return abs(self.reference - self.candidate)

    @property
    def judged(self) -> bool:
        return self.passes or self.band is not None


def curve_of(reference: Measurement, candidate: Measurement, tolerance: float) -> tuple[Point, ...]:
    """Each within the relative tolerance, or within ABOVE_FLOOR times the band."""
    points = []
    for i, (a, b) in enumerate(zip(reference.losses.tolist(), candidate.losses.tolist(), strict=True)):
        band = float(reference.band[i]) if len(reference.band) else None
        apart = abs(a - b) if isfinite(a) and isfinite(b) else float("inf")
        passes = apart <= tolerance * abs(a) or (band is not None and apart <= ABOVE_FLOOR * band < float("inf"))
        points.append(Point(i + 1, a, b, band, passes))
    return tuple(points)
