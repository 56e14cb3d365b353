"""Augmentations that move every pixel by one map of the plane, as in `xfer.pixels.geometry`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image

from xfer.pixels.boxes import Picture
from xfer.pixels.fields import Degrees, Fill, Interpolation, Pair, Probability, Shear, Two, Zoom
from xfer.pixels.geometry import RESAMPLING, colour_of
from xfer.section import Section

Corner = tuple[int, int]
"""(x, y) in pixels, from the upper left."""


class Motion(NamedTuple):
    """Degrees, clockwise; (x, y) in pixels; a factor; degrees along (x, y)."""

    angle: float = 0.0
    translate: Pair = (0, 0)
    scale: float = 1.0
    shear: Pair = (0.0, 0.0)


class Affine(Section):
    """A random turn, shift, scale and shear around the middle; what comes from outside is `fill`.

    `degrees`, clockwise, and `scale` are ranges; `translate` is the farthest shift, shares of (width, height); `shear`
    is s for [-s, s] degrees along x, a range of them, or one for x and one for y.
    """

    op: Literal["Affine"] = "Affine"
    degrees: Degrees
    translate: Two[Probability] = (0.0, 0.0)
    scale: Zoom = (1.0, 1.0)
    shear: Shear = 0.0
    interpolation: Interpolation = "nearest"
    fill: Fill = 0

    def draw(self, height: int, width: int, rng: Generator) -> Motion:
        angle = rng.uniform(*_around_0(self.degrees))
        far = self.translate[0] * width, self.translate[1] * height
        translate = round(rng.uniform(-far[0], far[0])), round(rng.uniform(-far[1], far[1]))
        scale = rng.uniform(*self.scale)
        shears = self.shear if isinstance(self.shear, tuple) else _around_0(self.shear)
        along_x = rng.uniform(*shears[:2])
        return Motion(angle, translate, scale, (along_x, rng.uniform(*shears[2:]) if len(shears) == 4 else 0.0))

    def apply(self, image: Picture, motion: Motion) -> Picture:
        return moved(image, motion, (image.width * 0.5, image.height * 0.5), self.interpolation, self.fill)


class Perspective(Section):
    """With probability `p`, each corner moves to a random place towards the middle, at most by `distortion_scale`.

    That is a share of half a side. Where three of them come to lie on a line, the picture stays as it is.
    """

    op: Literal["Perspective"] = "Perspective"
    distortion_scale: Probability = 0.5
    p: Probability = 0.5
    interpolation: Interpolation = "bilinear"
    fill: Fill = 0

    def draw(self, height: int, width: int, rng: Generator) -> tuple[Corner, ...] | None:
        """Where the corners go, clockwise from the upper left; None: they stay."""
        if rng.random() >= self.p:
            return None
        far_x, far_y = (int(self.distortion_scale * (side // 2)) + 1 for side in (width, height))
        corners = ((0, 0), (width - far_x, 0), (width - far_x, height - far_y), (0, height - far_y))
        return tuple((x + int(rng.integers(far_x)), y + int(rng.integers(far_y))) for x, y in corners)

    def apply(self, image: Picture, corners: Sequence[Corner] | None) -> Picture:
        coefficients = corners and projection(corners, image.height, image.width)
        if not coefficients:
            return image
        how, colour = RESAMPLING[self.interpolation], colour_of(self.fill)
        return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, how, fillcolor=colour)


def moved(
    image: Picture, motion: Motion, centre: Pair, interpolation: Interpolation, fill: int | tuple[int, int, int]
) -> Picture:
    """A picture of the same size, turned, scaled and sheared around `centre`, (x, y) in pixels, and shifted."""
    matrix, how = _back(motion, centre), RESAMPLING[interpolation]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=colour_of(fill))


def _around_0(degrees: float | Pair) -> Pair:
    return degrees if isinstance(degrees, tuple) else (-degrees, degrees)


def _back(motion: Motion, centre: Pair) -> tuple[float, ...]:
    """Two rows of the matrix that leads from a place in the moved picture to that in the picture.

    The way there is T C R H C^-1: from the middle, shear, turn and scale, back, and shift. The terms stand in the order
    of torchvision.transforms.v2: in another one, some pixels at the edges would be rounded to others.
    """
    (x, y), (shift_x, shift_y) = centre, motion.translate
    turn, along_x, along_y = map(math.radians, (motion.angle, *motion.shear))
    a = math.cos(turn - along_y) / math.cos(along_y)
    b = -(a * math.tan(along_x) + math.sin(turn))
    c = math.sin(turn - along_y) / math.cos(along_y)
    d = math.cos(turn) - c * math.tan(along_x)
    rows = []
    for p, q, own in ((d, -b, x), (-c, a, y)):  # the inverse of [a b; c d], whose determinant is 1
        p, q = p / motion.scale, q / motion.scale
        rows += [p, q, own - p * (x + shift_x) - q * (y + shift_y)]
    return tuple(rows)


def projection(corners: Sequence[Corner], height: int, width: int) -> list[float] | None:
    """(a .. h) of (ax + by + c, dx + ey + f) / (gx + hy + 1), from the picture with moved corners to the picture.

    None where three of these corners, clockwise from the upper left, lie on a line, and where (0, 0) would come from
    infinitely far away. In whole numbers up to the last division, so that it is exact; rounded to float32, as
    torchvision's are. After Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989, 2.2: the map of a square
    to the corners, and its adjugate.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    right, below, rest = (x1 - x2, y1 - y2), (x3 - x2, y3 - y2), (x0 - x1 + x2 - x3, y0 - y1 + y2 - y3)
    i = _cross(right, below)
    g, h = _cross(rest, below), _cross(right, rest)
    a, b, c = (x1 - x0) * i + g * x1, (x3 - x0) * i + h * x3, x0 * i
    d, e, f = (y1 - y0) * i + g * y1, (y3 - y0) * i + h * y3, y0 * i
    to_x = (e * i - f * h, c * h - b * i, b * f - c * e)
    to_y = (f * g - d * i, a * i - c * g, c * d - a * f)
    below_x, below_y, whole = d * h - e * g, b * g - a * h, a * e - b * d
    if not whole or not a * to_x[0] + b * to_y[0] + c * below_x:  # the second: the determinant
        return None
    rows = [n * (width - 1) for n in to_x] + [n * (height - 1) for n in to_y] + [below_x, below_y]
    return [float(np.float32(n / whole)) for n in rows]


def _cross(one: Corner, other: Corner) -> int:
    return one[0] * other[1] - other[0] * one[1]
