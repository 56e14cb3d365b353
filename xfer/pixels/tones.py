"""Augmentations that give every pixel another value by a rule for values alone, as in `xfer.pixels.geometry`."""

from __future__ import annotations

from typing import Annotated, Literal

from numpy.random import Generator
from PIL import ImageOps
from pydantic import Field

from xfer.pixels.boxes import Picture
from xfer.pixels.fields import Probability
from xfer.section import Section

Bits = Annotated[int, Field(ge=1, le=8)]
Threshold = Annotated[float, Field(ge=0, le=255)]


class Sometimes(Section):
    """What is done with probability `p`, and has no other luck."""

    p: Probability = 0.5

    def draw(self, height: int, width: int, rng: Generator) -> bool:
        return rng.random() < self.p


class Grayscale(Section):
    """Luma of ITU-R 601 in all three channels, which is as many as networks see."""

    op: Literal["Grayscale"] = "Grayscale"
    num_output_channels: Literal[3] = 3

    def apply(self, image: Picture) -> Picture:
        return image.convert("L").convert("RGB")


class RandomGrayscale(Sometimes):
    op: Literal["RandomGrayscale"] = "RandomGrayscale"
    p: Probability = 0.1

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return Grayscale().apply(image) if chosen else image


class AutoContrast(Sometimes):
    """The darkest value of each channel becomes 0 and the brightest 255."""

    op: Literal["AutoContrast"] = "AutoContrast"

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return ImageOps.autocontrast(image) if chosen else image


class Equalize(Sometimes):
    """Each channel's histogram becomes as even as a map of its values can make it."""

    op: Literal["Equalize"] = "Equalize"

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return ImageOps.equalize(image) if chosen else image


class Invert(Sometimes):
    op: Literal["Invert"] = "Invert"

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return ImageOps.invert(image) if chosen else image


class Posterize(Sometimes):
    """`bits` of each value are kept, the highest."""

    op: Literal["Posterize"] = "Posterize"
    bits: Bits

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return posterized(image, self.bits) if chosen else image


class Solarize(Sometimes):
    """Values from `threshold` on are inverted."""

    op: Literal["Solarize"] = "Solarize"
    threshold: Threshold

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return solarized(image, self.threshold) if chosen else image


def posterized(image: Picture, bits: int) -> Picture:
    """Of 0 bits too, which Pillow does not have."""
    return image.point([value & -(1 << (8 - bits)) for value in range(256)] * 3)


def solarized(image: Picture, threshold: float) -> Picture:
    return image.point([value if value < threshold else 255 - value for value in range(256)] * 3)
