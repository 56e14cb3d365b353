"""Augmentations that draw what they do from a list of operations, as in `xfer.pixels.geometry`.

RandAugment: Cubuk et al. 2020, arXiv:1909.13719. TrivialAugment: Müller and Hutter 2021, arXiv:2103.10158.
AutoAugment: Cubuk et al. 2019, arXiv:1805.09501. Operations, magnitudes and signs are torchvision's: an operation and a
magnitude give the pixels that they give there, on a Pillow image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import ImageOps
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from xfer.pixels.boxes import Picture
from xfer.pixels.colour import ADJUST
from xfer.pixels.fields import Fill, Interpolation
from xfer.pixels.focus import sharpened
from xfer.pixels.geometry import RESAMPLING, colour_of
from xfer.pixels.policy_tables import POLICIES, Policy
from xfer.pixels.tones import posterized, solarized
from xfer.pixels.warps import Motion, moved
from xfer.section import Section

Bins = Annotated[int, Field(ge=2, le=1000)]


class Strengths(NamedTuple):
    """How far operations go at the highest magnitude: a shift in pixels of a side, and bits that Posterize drops.

    `all_bits`: what it keeps at the lowest.
    """

    shear: float
    shift: Callable[[int], float]
    degrees: float
    factor: float
    bits: int
    all_bits: int = 8


CUBUK = Strengths(shear=0.3, shift=lambda side: 150.0 / 331.0 * side, degrees=30.0, factor=0.9, bits=4)
WIDE = Strengths(shear=0.99, shift=lambda side: 32.0, degrees=135.0, factor=0.99, bits=6)

SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")
"""Half of the time their magnitudes are negative."""

OPERATIONS = ("Identity", *SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize")
"""Of RandAugment and TrivialAugment; AutoAugment's policies have Invert too."""

Operation = tuple[str, float]
"""Its name and its magnitude, with its sign; 0 where it has none."""


class _Policy(Section):
    """How pixels that move are found, and what comes from outside."""

    interpolation: Interpolation = "nearest"
    fill: Fill = 0

    def apply(self, image: Picture, operations: Sequence[Operation]) -> Picture:
        for name, magnitude in operations:
            image = perform(image, name, magnitude, self.interpolation, self.fill)
        return image


class RandAugment(_Policy):
    """`num_ops` operations, any of 14 each, at `magnitude` of `num_magnitude_bins`, counted from 0."""

    op: Literal["RandAugment"] = "RandAugment"
    num_ops: Annotated[int, Field(ge=0, le=100)] = 2
    magnitude: Annotated[int, Field(ge=0, le=999)] = 9
    num_magnitude_bins: Bins = 31

    @model_validator(mode="after")
    def _within_the_bins(self) -> RandAugment:
        if self.magnitude >= self.num_magnitude_bins:
            raise PydanticCustomError(
                "magnitude",
                "magnitude {magnitude}: expected at most {last}, the last of num_magnitude_bins = {bins}. "
                "Cure: a smaller one, or more bins",
                {"magnitude": self.magnitude, "last": self.num_magnitude_bins - 1, "bins": self.num_magnitude_bins},
            )
        return self

    def draw(self, height: int, width: int, rng: Generator) -> tuple[Operation, ...]:
        return tuple(self._operation(height, width, rng) for _ in range(self.num_ops))

    def _operation(self, height: int, width: int, rng: Generator) -> Operation:
        name = OPERATIONS[rng.integers(len(OPERATIONS))]
        return name, signed(name, magnitude(name, self.magnitude, self.num_magnitude_bins, height, width, CUBUK), rng)


class TrivialAugmentWide(_Policy):
    """One operation, any of 14, at any magnitude; they go farther than RandAugment's."""

    op: Literal["TrivialAugmentWide"] = "TrivialAugmentWide"
    num_magnitude_bins: Bins = 31

    def draw(self, height: int, width: int, rng: Generator) -> tuple[Operation, ...]:
        name, bin_ = OPERATIONS[rng.integers(len(OPERATIONS))], int(rng.integers(self.num_magnitude_bins))
        return ((name, signed(name, magnitude(name, bin_, self.num_magnitude_bins, height, width, WIDE), rng)),)


class AutoAugment(_Policy):
    """Any of 25 pairs of operations that were found for a data set, each with a probability and a magnitude."""

    op: Literal["AutoAugment"] = "AutoAugment"
    policy: Policy = "imagenet"

    def draw(self, height: int, width: int, rng: Generator) -> tuple[Operation, ...]:
        pairs = POLICIES[self.policy]
        drawn = []
        for name, probability, bin_ in pairs[rng.integers(len(pairs))]:
            if rng.random() < probability:
                drawn.append((name, signed(name, magnitude(name, bin_, 10, height, width, CUBUK), rng)))
        return tuple(drawn)


def magnitude(name: str, number: int, bins: int, height: int, width: int, most: Strengths) -> float:
    """That with this number of so many, from the weakest to the strongest; 0 where an operation has none."""
    if name == "Posterize":  # the bits that are kept
        return float(np.rint(np.float32(most.all_bits) - np.float32(number) / np.float32((bins - 1) / most.bits)))
    if name == "Solarize":
        return _step(1.0, 0.0, number, bins)
    return _step(0.0, _strongest(name, height, width, most), number, bins)


def _strongest(name: str, height: int, width: int, most: Strengths) -> float:
    match name:
        case "ShearX" | "ShearY":
            return most.shear
        case "TranslateX" | "TranslateY":
            return most.shift(width if name == "TranslateX" else height)
        case "Rotate":
            return most.degrees
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return most.factor
    return 0.0


def _step(first: float, last: float, number: int, count: int) -> float:
    """One of `count` equal steps, in float32 and from the nearer end, as torch.linspace has them with fused products.

    In float64 they would differ in the last place, and shifts are cut off to whole pixels: some would be one less.
    """
    one = float((np.float32(last) - np.float32(first)) / np.float32(count - 1))
    near, steps = (first, number) if number < count // 2 else (last, number - (count - 1))
    return float(np.float32(float(np.float32(near)) + one * steps))


def signed(name: str, size: float, rng: Generator) -> float:
    return -size if name in SIGNED and rng.random() < 0.5 else size


def perform(image: Picture, name: str, magnitude: float, interpolation: Interpolation, fill: Fill) -> Picture:
    """What an operation makes of a picture. Raises KeyError for another name."""
    if (motion := _MOTIONS.get(name)) is not None:
        centre = (0.0, 0.0) if name.startswith("Shear") else (image.width * 0.5, image.height * 0.5)
        return moved(image, motion(magnitude), centre, interpolation, fill)
    if name == "Rotate":
        return image.rotate(magnitude, RESAMPLING[interpolation], fillcolor=colour_of(fill))
    return _VALUES[name](image, magnitude)


_MOTIONS: dict[str, Callable[[float], Motion]] = {  # shears are given as pixels in each pixel
    "ShearX": lambda m: Motion(shear=(math.degrees(math.atan(m)), 0.0)),
    "ShearY": lambda m: Motion(shear=(0.0, math.degrees(math.atan(m)))),
    "TranslateX": lambda m: Motion(translate=(int(m), 0)),
    "TranslateY": lambda m: Motion(translate=(0, int(m))),
}
_VALUES: dict[str, Callable[[Picture, float], Picture]] = {
    "Identity": lambda image, _: image,
    "Brightness": lambda image, m: ADJUST["brightness"](image, 1.0 + m),
    "Color": lambda image, m: ADJUST["saturation"](image, 1.0 + m),
    "Contrast": lambda image, m: ADJUST["contrast"](image, 1.0 + m),
    "Sharpness": lambda image, m: sharpened(image, 1.0 + m),
    "Posterize": lambda image, m: posterized(image, int(m)),
    "Solarize": lambda image, m: solarized(image, 255.0 * m),
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
}
