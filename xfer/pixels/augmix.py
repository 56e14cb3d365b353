"""AugMix, a mixture of a picture and what chains of operations make of it, as in `xfer.pixels.geometry`.

Hendrycks et al. 2020, arXiv:1912.02781. Operations, magnitudes, weights and rounding are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image
from pydantic import Field

from xfer.pixels.boxes import Picture
from xfer.pixels.fields import Fill, Interpolation, Shape
from xfer.pixels.policies import SIGNED, Operation, Strengths, magnitude, perform, signed
from xfer.pixels.strips import STRIP
from xfer.section import Section

BINS = 10
MIXED = Strengths(shear=0.3, shift=lambda side: side / 3.0, degrees=30.0, factor=0.9, bits=4, all_bits=4)
COLOURS = ("Brightness", "Color", "Contrast", "Sharpness")
OTHERS = (*(name for name in SIGNED if name not in COLOURS), "Posterize", "Solarize", "AutoContrast", "Equalize")


class Mixture(NamedTuple):
    """The weight of the picture itself, and of each chain of operations. They sum to 1."""

    original: float
    chains: tuple[tuple[float, tuple[Operation, ...]], ...]


class AugMix(Section):
    """`mixture_width` chains of `chain_depth` operations (-1: one to three), each at one of the `severity` lowest of
    ten magnitudes; weights by Dirichlet's distribution with `alpha`. `all_ops`: those that change colours too."""

    op: Literal["AugMix"] = "AugMix"
    severity: Annotated[int, Field(ge=1, le=BINS)] = 3
    mixture_width: Annotated[int, Field(ge=1, le=20)] = 3
    chain_depth: Annotated[int, Field(ge=-1, le=20)] = -1
    alpha: Shape = 1.0
    all_ops: bool = True
    interpolation: Interpolation = "bilinear"
    fill: Fill = 0

    def draw(self, height: int, width: int, rng: Generator) -> Mixture:
        original, mixed = rng.dirichlet([self.alpha] * 2).tolist()
        weights = rng.dirichlet([self.alpha] * self.mixture_width)
        return Mixture(original, tuple((w * mixed, self._chain(height, width, rng)) for w in weights.tolist()))

    def _chain(self, height: int, width: int, rng: Generator) -> tuple[Operation, ...]:
        names = (*OTHERS, *COLOURS) if self.all_ops else OTHERS
        drawn = []
        for _ in range(self.chain_depth if self.chain_depth > 0 else rng.integers(1, 4)):
            name, number = names[rng.integers(len(names))], int(rng.integers(self.severity))
            drawn.append((name, signed(name, magnitude(name, number, BINS, height, width, MIXED), rng)))
        return tuple(drawn)

    def apply(self, image: Picture, mixture: Mixture) -> Picture:
        parts = [(mixture.original, image)]
        for weight, chain in mixture.chains:
            made = image
            for name, strength in chain:
                made = perform(made, name, strength, self.interpolation, self.fill)
            parts.append((weight, made))
        return mixed(parts)


def mixed(parts: Sequence[tuple[float, Picture]]) -> Picture:
    """The sum of pictures of one size times their weights, in float32 and in order, cut off to whole numbers."""
    width, height = parts[0][1].size
    whole, rows = np.empty((height, width, 3), np.uint8), max(STRIP // width, 1)
    for top in range(0, height, rows):
        place = slice(top, top + rows)
        total = np.zeros(whole[place].shape, np.float32)
        for weight, picture in parts:
            total += np.asarray(picture)[place].astype(np.float32) * np.float32(weight)
        whole[place] = total
    return Image.fromarray(whole)
