"""Augmentations made of others: some of the time all of them, or one of them. As in `xfer.pixels.geometry`."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import Annotated, Any, Literal

from numpy.random import Generator
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from xfer.pixels.augmix import AugMix
from xfer.pixels.boxes import Picture
from xfer.pixels.colour import ColorJitter, RandomErasing
from xfer.pixels.fields import Probability
from xfer.pixels.focus import GaussianBlur, Sharpness
from xfer.pixels.geometry import HorizontalFlip, Rotation, VerticalFlip
from xfer.pixels.policies import AutoAugment, RandAugment, TrivialAugmentWide
from xfer.pixels.tones import AutoContrast, Equalize, Invert, Posterize, RandomGrayscale, Solarize
from xfer.pixels.warps import Affine, Perspective
from xfer.section import Section

SizeKept = (
    HorizontalFlip
    | VerticalFlip
    | ColorJitter
    | Rotation
    | RandomErasing
    | RandomGrayscale
    | AutoContrast
    | Equalize
    | Invert
    | Posterize
    | Solarize
    | Sharpness
    | GaussianBlur
    | Affine
    | Perspective
    | RandAugment
    | TrivialAugmentWide
    | AutoAugment
    | AugMix
)
"""Random ones that leave a picture's size as it is: whichever happen, what leaves a list has one size."""

MOST = 100
"""As many as a list in a recipe may have."""


def _some(transforms: tuple[SizeKept, ...]) -> tuple[SizeKept, ...]:
    if not transforms:
        raise PydanticCustomError("none", "expected one or more augmentations that keep the size of a picture")
    return transforms


LEAST = 1e-6
"""Of shares together: of the smallest numbers there are, a part can be rounded up to the whole."""

Several = Annotated[
    tuple[Annotated[SizeKept, Field(discriminator="op")], ...],
    Field(strict=False, max_length=MOST),
    AfterValidator(_some),
]
Weights = Annotated[tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(strict=False, max_length=MOST)]


class RandomApply(Section):
    """With probability `p`, all `transforms`, in order; what is random in them is drawn then."""

    op: Literal["RandomApply"] = "RandomApply"
    transforms: Several
    p: Probability = 0.5

    def draw(self, height: int, width: int, rng: Generator) -> tuple[Any, ...] | None:
        """The parameters of each; None: it happens to none."""
        if rng.random() >= self.p:
            return None
        return tuple(transform.draw(height, width, rng) for transform in self.transforms)

    def apply(self, image: Picture, parameters: tuple[Any, ...] | None) -> Picture:
        if parameters is not None:
            for transform, drawn in zip(self.transforms, parameters, strict=True):
                image = transform.apply(image, drawn)
        return image


class RandomChoice(Section):
    """One of `transforms`. `p`: how probable each is, in any unit; without it, all are equally so."""

    op: Literal["RandomChoice"] = "RandomChoice"
    transforms: Several
    p: Weights | None = None

    @model_validator(mode="after")
    def _one_for_each(self) -> RandomChoice:
        if self.p is not None and (len(self.p) != len(self.transforms) or sum(self.p) < LEAST):
            raise PydanticCustomError(
                "shares",
                "p: expected one number for each of {count} transforms, not all of them 0. Cure: leave it out",
                {"count": len(self.transforms)},
            )
        return self

    def choose(self, rng: Generator) -> int:
        """The number of one, counted from 0."""
        bounds = list(accumulate(self.p or [1] * len(self.transforms)))
        return bisect(bounds, rng.random() * bounds[-1])  # a product with a number below 1 is never rounded up to all

    def draw(self, height: int, width: int, rng: Generator) -> tuple[int, Any]:
        """The number of one, and its parameters."""
        chosen = self.choose(rng)
        return chosen, self.transforms[chosen].draw(height, width, rng)

    def apply(self, image: Picture, chosen: tuple[int, Any]) -> Picture:
        number, parameters = chosen
        return self.transforms[number].apply(image, parameters)
