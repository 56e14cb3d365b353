"""The figures of a classifier as they are written down: in `result.json`, and by `xfer evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from xfer.section import Section

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Shares = list[Share | None]

BOUNDS = {"log_loss": (0.0, math.inf), "brier": (0.0, 2.0), "kappa": (-1.0, 1.0), "mcc": (-1.0, 1.0)}
"""Of figures that are no shares."""


class Figure(Section):
    """A figure with the ends of its 95 % interval. None: not defined, or no interval; `Scores.undefined` says why."""

    value: float | None
    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _an_interval_has_two_ends(self) -> Self:
        ends = [self.low, self.high]
        if (None in ends and ends != [None, None]) or (self.value is None and ends != [None, None]):
            raise ValueError("expected two ends of an interval, or none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g}, expected at most {self.high:g}, which is high")
        return self


class ByClass(Section):
    """Lists in the order of the classes. `support` counts the pictures of a class, `predicted` those taken for it.

    precision   None for a class that no picture was taken for; recall and f1: for one that has no picture
    """

    support: list[Count]
    predicted: list[Count]
    precision: Shares
    recall: Shares
    f1: Shares

    @model_validator(mode="after")
    def _of_the_same_classes(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in type(self).model_fields}
        for name, length in lengths.items():
            if length != lengths["support"]:
                raise ValueError(f"{name} has {length} entries, expected {lengths['support']}, as support")
        for name, shares, counts in (
            ("precision", self.precision, self.predicted),
            ("recall", self.recall, self.support),
            ("f1", self.f1, self.support),
        ):
            if [share is None for share in shares] != [count == 0 for count in counts]:
                raise ValueError(f"{name}: expected null where there is no picture to count, and there alone")
        return self


class Confused(Section):
    """How many pictures of a class were taken for another one."""

    label: str
    predicted: str
    pictures: Annotated[int, Field(ge=1)]


class Undefined(Section):
    """Why a figure is None, or has no interval. `figure` is its name, `macro_f1`, or `macro_f1.interval`."""

    figure: str
    why: str


def refuse_outside(figures: Iterable[tuple[str, Figure]]) -> None:
    """Raises ValueError for a figure, or an end of its interval, that is outside of its bounds."""
    for name, figure in figures:
        low, high = BOUNDS.get(name, (0.0, 1.0))
        for end in (figure.value, figure.low, figure.high):
            if end is not None and not low <= end <= high:
                raise ValueError(f"{name} = {end:g}, expected {low:g} to {high:g}")


def refuse_unexplained(reasons: Iterable[Undefined], figures: Iterable[tuple[str, Figure]]) -> None:
    """Raises ValueError where the reasons are not one for each figure or interval that is None, in their order."""
    lacking = [(name, figure) for name, figure in figures if figure.low is None]
    wanted = [name if figure.value is None else f"{name}.interval" for name, figure in lacking]
    if (named := [reason.figure for reason in reasons]) != wanted:
        raise ValueError(f"undefined names {', '.join(named) or 'nothing'}, and other figures are null")


class Figures(Section):
    """What has figures, each by its name."""

    def figures(self) -> Iterator[tuple[str, Figure]]:
        for name in type(self).model_fields:
            if isinstance(figure := getattr(self, name), Figure):
                yield name, figure

    def as_json(self) -> dict[str, object]:
        return self.model_dump()


class Scores(Figures):
    """Figures of `n` labelled pictures: `docs/metrics.md` has their definitions and sources.

    top        how many classes count for `top_k`
    resamples  of the bootstrap that the intervals are of; `accuracy` alone has Wilson's
    confused   the pairs of classes confused most, those of most pictures first
    """

    n: Annotated[int, Field(ge=1)]
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    weighted_f1: Figure
    top: Annotated[int, Field(ge=1)]
    top_k: Figure
    roc_auc: Figure
    average_precision: Figure
    log_loss: Figure
    brier: Figure
    ece: Figure
    kappa: Figure
    mcc: Figure
    resamples: Annotated[int, Field(ge=1)]
    by_class: ByClass
    confused: list[Confused]
    undefined: list[Undefined]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_outside(self.figures())
        for name in ("support", "predicted"):
            if (counted := sum(getattr(self.by_class, name))) != self.n:
                raise ValueError(f"by_class.{name} counts {counted} pictures, expected {self.n}, which is n")
        refuse_unexplained(self.undefined, self.figures())
        return self
