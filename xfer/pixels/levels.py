"""What is black and what is white in pictures of more than 8 bits: one decision for all pictures of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xfer.section import Section

SLACK = 0.05
"""Rounding, and the overshoot of filters that sharpen or resize, leave floats a little outside of their range."""

LEAST_BITS, WIDE = 8, 16
DARK_BITS = 14  # of 16, at most a quarter of the brightness
Depth = Annotated[int, Field(ge=LEAST_BITS, le=WIDE)]


class Extent(NamedTuple):
    """The lowest and the highest finite value of a picture; `kind` is NumPy's: f, u, i."""

    kind: str
    low: float
    high: float

    def with_those_of(self, other: Extent) -> Extent:
        """Of both pictures together, which are of one kind."""
        return Extent(self.kind, min(self.low, other.low), max(self.high, other.high))


class Levels(Section):
    """Floats from the first of `floats` to the second, and 16-bit values from 0 to 2^`depth` - 1, go from 0 to 255.

    First in a list of augmentations: training puts it there, so that a checkpoint sees later pictures as it saw those
    of its data set. `floats` None: each picture by its own values, see `range_of`.
    """

    op: Literal["Levels"] = "Levels"
    floats: Annotated[tuple[float, float], Field(strict=False)] | None = None
    depth: Depth = WIDE

    def text(self) -> str:
        """For people."""
        floats = [] if self.floats is None else [f"floats {self.floats[0]:g} to {self.floats[1]:g}"]
        whole = [] if self.depth == WIDE else [f"16-bit values 0 to {2**self.depth - 1:,}"]
        return f"{' and '.join(floats + whole)} are black to white"


def all_levels(extents: Iterable[Extent | None], depth: int) -> Levels | None:
    """One decision for the pictures of a data set, None for those of 8 bits; None where there is none to be made."""
    wide = [extent for extent in extents if extent]
    floats = [extent for extent in wide if extent.kind == "f"]
    if not floats and (depth == WIDE or all(extent.kind != "u" for extent in wide)):
        return None
    low, high = min((e.low for e in floats), default=0.0), max((e.high for e in floats), default=0.0)
    return Levels(floats=range_of(low, high, floats=True) if floats else None, depth=depth)


def misfit_of(extents: Iterable[Extent | None], depth: int) -> tuple[str, str] | None:
    """What is wrong with a `depth` for the 16-bit values of a data set, and the cure."""
    top = int(max((e.high for e in extents if e and e.kind == "u"), default=0))
    cure = f"data.depth = {max(top.bit_length(), LEAST_BITS)}"
    if depth == WIDE and 0 < top < 2**DARK_BITS:
        return f"16-bit pictures are near black: none has a value above {top:,} of {2**WIDE - 1:,}", cure
    if top >= 2**depth:
        return f"values of 16-bit pictures up to {top:,} are cut off at {2**depth - 1:,}", cure
    return None


def levels_of(transforms: Sequence[Any]) -> Levels | None:
    """The decision that a list of augmentations carries."""
    return next((transform for transform in transforms if isinstance(transform, Levels)), None)


def extent_of(parts: Iterable[NDArray[np.generic]]) -> Extent:
    """Of the values of all parts of a picture. 0 and 0 where none is finite."""
    kind, ends = "", list[float]()
    for values in parts:
        kind = values.dtype.kind
        known = values[np.isfinite(values)] if kind == "f" else values
        if known.size:
            ends += float(known.min()), float(known.max())
    return Extent(kind, min(ends, default=0.0), max(ends, default=0.0))


def range_of(low: float, high: float, floats: bool) -> tuple[float, float]:
    """What stands for black and for white where values go from `low` to `high`.

    The smallest of [0, 1] (floats only), [0, 255] and [0, 65535] that holds them; their own where none does. Floats may
    be beyond a range by SLACK of it.
    """
    slack, tops = (SLACK, (1.0, 255.0, 65535.0)) if floats else (0.0, (255.0, 65535.0))
    fitting = (top for top in tops if low >= -slack * high and high <= (1 + slack) * top)
    top = next(fitting, None)
    return (low, high) if top is None else (0.0, top)
