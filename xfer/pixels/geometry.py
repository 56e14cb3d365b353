"""Augmentations that move pixels: each one's spec, and its one meaning in Pillow and NumPy.

A random spec keeps its luck and its work apart: `draw` makes parameters from a NumPy generator, by the distributions
of torchvision.transforms.v2; `apply` is a pure function of a picture and parameters, and gives the same bits as
torchvision's on a Pillow image. A new augmentation is one more class, here or in a file beside this one, and one more
name in `Fixed` or `Random` of `xfer.pixels.augment`, or in `SizeKept` of `xfer.pixels.choices`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from numpy.random import Generator
from PIL import Image, ImageOps

from xfer.errors import DataError
from xfer.pixels.bounds import picture_limits
from xfer.pixels.boxes import Box, Picture, draw_place, draw_sides
from xfer.pixels.fields import Degrees, Fill, HeightWidth, Interpolation, Padding, Probability, Ratio, Scale, Size
from xfer.pixels.lazy import Jpeg
from xfer.section import Section

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


class Resize(Section):
    """`size` is the shorter side, the other following in proportion (rounded down), or [height, width]. Antialiased."""

    op: Literal["Resize"] = "Resize"
    size: Size
    interpolation: Interpolation = "bilinear"

    def apply(self, image: Picture | Jpeg) -> Picture:
        """Raises DataError where the other side of a long picture would become larger than any picture may be."""
        height, width = self.size_of(image.height, image.width)
        if isinstance(self.size, int) and height * width > (most := picture_limits().pixels):
            raise DataError(
                f"Resize of {image.height} x {image.width} to {height} x {width}: more than {most:,} pixels. "
                "Cure: a smaller size, or without this picture"
            )
        return resized(image, (height, width), self.interpolation)

    def size_of(self, height: int, width: int) -> HeightWidth:
        """(height, width) that a picture of that size gets."""
        if not isinstance(self.size, int):
            return self.size
        longer = int(self.size * max(height, width) / min(height, width))
        return (longer, self.size) if height > width else (self.size, longer)


class CenterCrop(Section):
    """The middle of a picture; black is added around a smaller one."""

    op: Literal["CenterCrop"] = "CenterCrop"
    size: Size

    def apply(self, image: Picture) -> Picture:
        height, width = both(self.size)
        image = extended(image, height, width)
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        return image.crop(Box(top, left, height, width).edges)


class RandomResizedCrop(Section):
    """A box of random area (`scale`, shares of the picture's) and shape (`ratio`, width / height), resized."""

    op: Literal["RandomResizedCrop"] = "RandomResizedCrop"
    size: Size
    scale: Scale = (0.08, 1.0)
    ratio: Ratio = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"

    def draw(self, height: int, width: int, rng: Generator) -> Box:
        """Ten tries to find a box that fits, then the largest central one whose shape is within `ratio`."""
        for _ in range(10):
            w, h = draw_sides(height * width, self.scale, self.ratio, rng)
            if 0 < w <= width and 0 < h <= height:
                return draw_place(h, w, height, width, rng)
        low, high = self.ratio
        h = max(round(width / low), 1) if width / height < low else height
        w = max(round(height * high), 1) if width / height > high else width
        return Box((height - h) // 2, (width - w) // 2, h, w)

    def apply(self, image: Picture | Jpeg, box: Box) -> Picture:
        # Not resize(box=...): its filter reaches over the edges of the box, and other numbers come out.
        return resized(image.crop(box.edges), both(self.size), self.interpolation)


class Cut(NamedTuple):
    """How far a picture is extended on each side (rows, columns), and the box to keep of that."""

    rows: int
    columns: int
    box: Box


class RandomCrop(Section):
    """A box of a fixed size, anywhere in the picture with `padding` around it.

    `pad_if_needed` extends smaller pictures by what is missing, on both sides; without it they raise DataError.
    """

    op: Literal["RandomCrop"] = "RandomCrop"
    size: Size
    padding: Padding = 0
    pad_if_needed: bool = False
    fill: Fill = 0

    def draw(self, height: int, width: int, rng: Generator) -> Cut:
        if not self.fits(height, width):
            raise DataError(self.too_small(height, width))
        rows, columns = (
            self.padding + max(wanted - 2 * self.padding - have, 0)
            for wanted, have in zip(both(self.size), (height, width), strict=True)
        )
        return Cut(rows, columns, draw_place(*both(self.size), height + 2 * rows, width + 2 * columns, rng))

    def apply(self, image: Picture, cut: Cut) -> Picture:
        if cut.rows or cut.columns:
            image = ImageOps.expand(image, (cut.columns, cut.rows), colour_of(self.fill))
        return image.crop(cut.box.edges)

    def fits(self, height: int, width: int) -> bool:
        wanted_height, wanted_width = both(self.size)
        padded = height + 2 * self.padding >= wanted_height and width + 2 * self.padding >= wanted_width
        return padded or self.pad_if_needed

    def too_small(self, height: int, width: int) -> str:
        wanted = " x ".join(map(str, both(self.size)))
        return (
            f"RandomCrop of {wanted} with padding = {self.padding}: a picture of {height} x {width} pixels is smaller. "
            "Cure: pad_if_needed = true, or a Resize before it"
        )


class HorizontalFlip(Section):
    op: Literal["HorizontalFlip"] = "HorizontalFlip"
    p: Probability = 0.5

    def draw(self, height: int, width: int, rng: Generator) -> bool:
        return rng.random() < self.p

    def apply(self, image: Picture, flip: bool) -> Picture:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image


class VerticalFlip(Section):
    op: Literal["VerticalFlip"] = "VerticalFlip"
    p: Probability = 0.5

    def draw(self, height: int, width: int, rng: Generator) -> bool:
        return rng.random() < self.p

    def apply(self, image: Picture, flip: bool) -> Picture:
        return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if flip else image


class Rotation(Section):
    """By a random angle, counter-clockwise, within [-degrees, degrees] or a range; the corners become `fill`."""

    op: Literal["Rotation"] = "Rotation"
    degrees: Degrees
    interpolation: Interpolation = "nearest"
    fill: Fill = 0

    def draw(self, height: int, width: int, rng: Generator) -> float:
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        return rng.uniform(low, high)

    def apply(self, image: Picture, angle: float) -> Picture:
        return image.rotate(angle, RESAMPLING[self.interpolation], fillcolor=colour_of(self.fill))


def extended(image: Picture, height: int, width: int) -> Picture:
    """At least of that size, by black on both sides; where what is missing is odd, the larger half goes below."""
    more_y, more_x = max(height - image.height, 0), max(width - image.width, 0)
    if not more_y and not more_x:
        return image
    return ImageOps.expand(image, (more_x // 2, more_y // 2, (more_x + 1) // 2, (more_y + 1) // 2), 0)


def both(size: int | HeightWidth) -> HeightWidth:
    """(height, width); a single number stands for a square."""
    return (size, size) if isinstance(size, int) else size


def colour_of(fill: int | tuple[int, int, int]) -> tuple[int, int, int]:
    """(red, green, blue); a single number stands for a grey."""
    return (fill, fill, fill) if isinstance(fill, int) else fill


def resized(image: Picture | Jpeg, size: HeightWidth, interpolation: Interpolation) -> Picture:
    """To (height, width) in pixels, antialiased."""
    return image.resize((size[1], size[0]), RESAMPLING[interpolation])
