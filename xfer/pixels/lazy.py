"""A JPEG picture that waits until it is known which of its pixels are needed, and how many."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from PIL import Image

from xfer.errors import DataError
from xfer.pixels.bounds import Share
from xfer.pixels.faults import reason_for
from xfer.pixels.jpeg import Header, first_rows, refuse_endless_jpeg
from xfer.pixels.mending import completed


@dataclass(frozen=True, repr=False)
class Jpeg:
    """An upright RGB picture, or a part of one, that is decoded when its pixels are needed, and no further.

    It has what a crop and a resizing need of Pillow's Image, and gives the same pixels. With `draft` a resizing to
    half the size or less takes a decoder's shortcut: blocks of 2, 4 or 8 pixels become one while they are decoded.
    The same part is shown; values are 1.2 of 255 off on the average of the ants and bees, and 5.2 in the worst picture.
    Raises DataError, without the name of the file, where it turns out to be damaged.
    """

    content: bytes
    header: Header
    box: tuple[int, int, int, int]  # left, upper, right and lower edge, in pixels
    draft: bool
    share: Share

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    def crop(self, box: tuple[int, int, int, int]) -> Jpeg:
        left, upper, *_ = self.box
        return replace(self, box=(left + box[0], upper + box[1], left + box[2], upper + box[3]))

    def resize(self, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        fits = (s for s in (8, 4, 2) if size[0] * s <= self.width and size[1] * s <= self.height)
        shrink = next(fits, 1) if self.draft else 1
        if shrink == 1:
            return self.decode().resize(size, resample)
        left, upper, right, lower = (edge / shrink for edge in self.box)
        x, y = floor(left), floor(upper)
        part = self._rows(shrink).crop((x, y, ceil(right), ceil(lower)))  # or else the filter reaches further out
        return part.resize(size, resample, (left - x, upper - y, right - x, lower - y))

    def decode(self) -> Image.Image:
        image = self._rows()
        return image if self.box == (0, 0, *image.size) else image.crop(self.box)

    def _rows(self, shrink: int = 1) -> Image.Image:
        """From the uppermost to the lowest that is needed, and perhaps some more."""
        content: Any  # Pillow's types know bytes alone
        content, height = first_rows(self.content, self.header, self.box[3])
        size = ceil(self.header.width / shrink), ceil(height / shrink)
        image = _decoded(content, size, shrink)  # what it gives up on is let go of, before another is made
        return _opened(bytes(content), shrink, self.share) if image is None else image


def _decoded(content: Any, size: tuple[int, int], shrink: int) -> Image.Image | None:
    """By the decoder alone: Image.open reads a header that is known by now, in ten times as long.

    None where it fails: Image.open knows more, or says what is wrong.
    """
    unset: Any = None  # a colour would be painted first
    try:
        image = Image.new("RGB", size, unset)
        image.frombytes(content, "jpeg", ("RGB", "", shrink, 0))
    except Exception:
        return None
    return image


def _opened(content: bytes, shrink: int, share: Share) -> Image.Image:
    """A JPEG file at 1 / `shrink` of its size. Raises DataError."""
    refuse_endless_jpeg(content)
    try:
        return _loaded(content, shrink)
    except Exception as error:
        reason = reason_for(error)
    # Not in the clause above: until it ends, the error holds what was decoded.
    if (whole := completed(content, share)) is None:
        raise DataError(reason)
    return _loaded(whole, shrink)


def _loaded(content: bytes, shrink: int) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(content), formats=("JPEG",))
    if shrink > 1:
        image.draft("RGB", (image.width // shrink, image.height // shrink))
    image.load()
    return image
