"""Augmentations that put something around a picture, as in `xfer.pixels.geometry`."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from xfer.errors import DataError
from xfer.pixels.bounds import picture_limits
from xfer.pixels.boxes import Picture
from xfer.pixels.fields import Fill, HeightWidth, Interpolation, Pads, Size
from xfer.pixels.geometry import both, colour_of, resized
from xfer.pixels.lazy import Jpeg
from xfer.section import Section

PaddingMode = Literal["constant", "edge", "reflect", "symmetric"]


class Pad(Section):
    """`padding` pixels around: of all sides, [left and right, above and below], or [left, top, right, bottom].

    They are `fill`, or the picture goes on in them: its edge pixels, or its mirror image without (`reflect`) or with
    (`symmetric`) the edge itself.
    """

    op: Literal["Pad"] = "Pad"
    padding: Pads
    fill: Fill = 0
    padding_mode: PaddingMode = "constant"

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        if isinstance(self.padding, int):
            return (self.padding,) * 4
        return self.padding if len(self.padding) == 4 else (*self.padding, *self.padding)

    def apply(self, image: Picture) -> Picture:
        """Raises DataError where the picture would become larger than any may be."""
        self.refuse_large(image.height, image.width)
        if self.padding_mode == "constant":
            return ImageOps.expand(image, self.sides, colour_of(self.fill))
        left, top, right, bottom = self.sides
        rows = positions(image.height, top, bottom, self.padding_mode)
        columns = positions(image.width, left, right, self.padding_mode)
        return Image.fromarray(np.asarray(image)[rows][:, columns])

    def size_of(self, height: int, width: int) -> HeightWidth:
        """(height, width) that a picture of that size gets."""
        left, top, right, bottom = self.sides
        return height + top + bottom, width + left + right

    def refuse_large(self, height: int, width: int) -> None:
        high, wide = self.size_of(height, width)
        if high * wide > (most := picture_limits().pixels):
            raise DataError(
                f"Pad of {height} x {width} to {high} x {wide}: more than {most:,} pixels. "
                "Cure: a smaller padding, or a Resize before it"
            )


class Letterbox(Section):
    """The whole picture, in proportion and as large as fits into `size`, in the middle of `fill`. Antialiased.

    Where what is missing is odd, the larger half goes below and to the right. Sizes, places and the grey of 114 are
    those of Ultralytics' letter boxes.
    """

    op: Literal["Letterbox"] = "Letterbox"
    size: Size
    fill: Fill = 114
    interpolation: Interpolation = "bilinear"

    def apply(self, image: Picture | Jpeg) -> Picture:
        height, width = both(self.size)
        share = min(height / image.height, width / image.width)
        high, wide = max(round(image.height * share), 1), max(round(image.width * share), 1)
        inner = resized(image, (high, wide), self.interpolation)
        if (high, wide) == (height, width):
            return inner
        framed = Image.new("RGB", (width, height), colour_of(self.fill))
        framed.paste(inner, ((width - wide) // 2, (height - high) // 2))
        return framed


def positions(count: int, before: int, after: int, how: PaddingMode) -> NDArray[np.intp]:
    """Which of `count` pixels in a row stands in each place of a row with so many places before and after it.

    `how`: none for `constant`, of which no pixel of the row stands there.
    """
    places = np.arange(-before, count + after)
    if how == "edge":
        return places.clip(0, count - 1)
    period = 2 * count if how == "symmetric" else max(2 * count - 2, 1)
    places %= period
    back = period - (how == "symmetric")  # the way back repeats the last pixel, or does not
    return np.where(places < count, places, back - places)
