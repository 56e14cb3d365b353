"""The figures of pictures with any number of labels as they are written down, as those of others in `record`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from xfer.scores.record import ByClass, Figure, Figures, Shares, Undefined, refuse_outside, refuse_unexplained


class ByLabel(ByClass):
    """Lists in the order of the labels, as of classes; `average_precision`: None for a label that no picture has."""

    average_precision: Shares

    @model_validator(mode="after")
    def _ranked_where_there_is_a_picture(self) -> Self:
        if [share is None for share in self.average_precision] != [count == 0 for count in self.support]:
            raise ValueError("average_precision: expected null where there is no picture to count, and there alone")
        return self


class LabelScores(Figures):
    """Figures of `n` pictures: `docs/metrics.md` has their definitions and sources.

    All but `mean_average_precision` and `log_loss` are of what the thresholds make of the probabilities.

    resamples  of the bootstrap that the intervals are of
    """

    n: Annotated[int, Field(ge=1)]
    mean_average_precision: Figure
    micro_f1: Figure
    macro_f1: Figure
    exact_match: Figure
    hamming_loss: Figure
    log_loss: Figure
    resamples: Annotated[int, Field(ge=1)]
    by_label: ByLabel
    undefined: list[Undefined]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_outside(self.figures())
        for name in ("support", "predicted"):
            if (most := max(getattr(self.by_label, name), default=0)) > self.n:
                raise ValueError(f"by_label.{name} counts {most} pictures of {self.n}, which is n")
        refuse_unexplained(self.undefined, self.figures())
        return self
