"""Augmentations that change the values of pixels; `draw` and `apply` as in `xfer.pixels.geometry`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from xfer.pixels.boxes import Picture, draw_place, draw_sides
from xfer.pixels.fields import Hue, Mean, Paint, Pair, Probability, Ratio, Scale, Std, Strength
from xfer.section import Section


class ColorJitter(Section):
    """Each strength is s, meaning factors in [max(0, 1 - s), 1 + s] (hue: shifts in [-s, s] turns), or their range."""

    op: Literal["ColorJitter"] = "ColorJitter"
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Hue = 0.0

    def draw(self, height: int, width: int, rng: Generator) -> tuple[tuple[str, float], ...]:
        """(adjustment, factor) in the order to apply them, itself random; without those that would change nothing."""
        names = [list(ADJUST)[i] for i in rng.permutation(len(ADJUST))]
        ranges = {name: _spread(getattr(self, name), 0.0 if name == "hue" else 1.0) for name in names}
        return tuple((name, rng.uniform(*span)) for name, span in ranges.items() if span is not None)

    def apply(self, image: Picture, adjustments: Sequence[tuple[str, float]]) -> Picture:
        for name, factor in adjustments:
            image = ADJUST[name](image, factor)
        return image


class Patch(NamedTuple):
    """New pixels (h, w, 3) uint8 for a part of a picture."""

    top: int
    left: int
    pixels: NDArray[np.uint8]


class RandomErasing(Section):
    """With probability `p`, a rectangle is painted over: `scale` its share of the area, `ratio` height / width.

    `value` is its colour, 0 to 255, before normalisation (torchvision's usual 0 comes after it, and is the mean
    colour); `random` makes every value of it uniform in 0..255. After Zhong et al., arXiv:1708.04896.
    """

    op: Literal["RandomErasing"] = "RandomErasing"
    p: Probability = 0.5
    scale: Scale = (0.02, 0.33)
    ratio: Ratio = (0.3, 3.3)
    value: Paint = 0

    def draw(self, height: int, width: int, rng: Generator) -> Patch | None:
        """None: nothing is erased, be it by `p` or because ten tries found no rectangle smaller than the picture."""
        if rng.random() >= self.p:
            return None
        for _ in range(10):
            h, w = draw_sides(height * width, self.scale, self.ratio, rng)
            if h < height and w < width:
                top, left, *_ = draw_place(h, w, height, width, rng)
                return Patch(top, left, self._paint(h, w, rng))
        return None

    def apply(self, image: Picture, patch: Patch | None) -> Picture:
        if patch is None:
            return image
        pixels = np.array(image)
        height, width, _ = patch.pixels.shape
        pixels[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
        return Image.fromarray(pixels)

    def _paint(self, height: int, width: int, rng: Generator) -> NDArray[np.uint8]:
        if self.value == "random":
            return rng.integers(0, 256, (height, width, 3), np.uint8)
        return np.full((height, width, 3), self.value, np.uint8)


class Normalize(Section):
    """(x / 255 - mean) / std, by channel. Done in the network, on the device; pictures stay uint8. Last in a list."""

    op: Literal["Normalize"] = "Normalize"
    mean: Mean
    std: Std

    @model_validator(mode="after")
    def _of_pixels_in_0_to_1(self) -> Normalize:
        """What lies in 0..1 has no mean and no std above 1: such figures are those of bytes."""
        if max(*self.mean, *self.std) > 1:
            mean, std = ([round(value / 255, 6) for value in values] for values in (self.mean, self.std))
            raise PydanticCustomError(
                "bytes",
                "mean and std are those of pixels in 0..255, expected those of 0..1. "
                "Cure: divide by 255: mean = {mean}, std = {std}",
                {"mean": str(mean), "std": str(std)},
            )
        return self


def read_normalize(mean: str, std: str) -> Normalize:
    """What JSON in the metadata of a file says. Raises ValueError, in one line, for what no recipe could say either."""
    try:
        return Normalize.model_validate({"mean": json.loads(mean), "std": json.loads(std)})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise ValueError(f"{where}{first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"mean or std: no JSON ({type(error).__name__})") from None


def _spread(strength: float | Pair, centre: float) -> Pair | None:
    """The range to draw from; None where it would change nothing."""
    if isinstance(strength, tuple):
        span = strength
    else:
        lowest = centre - strength
        span = (max(lowest, 0.0) if centre else lowest, centre + strength)
    return None if span == (centre, centre) else span


def _shift_hue(image: Picture, turns: float) -> Picture:
    hue, saturation, value = image.convert("HSV").split()
    steps = int(turns * 255)  # Pillow's hue has 256 steps; 255 is torchvision's factor
    turned = hue.point([(h + steps) % 256 for h in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


ADJUST: dict[str, Callable[[Picture, float], Picture]] = {
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "saturation": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "hue": _shift_hue,
}
"""What a factor makes of a picture: 1 leaves it as it is, and so does a hue of 0 but for the way through HSV."""
