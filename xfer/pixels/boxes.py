"""A picture, parts of it, and how the augmentations that need one draw it."""

from __future__ import annotations

import math
from typing import NamedTuple

from numpy.random import Generator
from PIL import Image

from xfer.pixels.fields import HeightWidth, Pair

Picture = Image.Image
"""An RGB image, 8 bits a channel."""


class Box(NamedTuple):
    """A part of a picture, in pixels from its upper left corner."""

    top: int
    left: int
    height: int
    width: int

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, upper, right and lower, as Pillow has them."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def draw_sides(area: int, scale: Pair, ratio: Pair, rng: Generator) -> HeightWidth:
    """Two sides (a, b) in pixels, with a * b uniform in `scale * area` and a / b log-uniform in `ratio`."""
    share = area * rng.uniform(*scale)
    shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    return round(math.sqrt(share * shape)), round(math.sqrt(share / shape))


def draw_place(h: int, w: int, height: int, width: int, rng: Generator) -> Box:
    """A box of (h, w) pixels anywhere in a picture of (height, width)."""
    return Box(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
