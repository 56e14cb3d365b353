"""Augmentations that blur and sharpen, as in `xfer.pixels.geometry`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from xfer.pixels.boxes import Picture
from xfer.pixels.fields import Factor, HeightWidth, Kernel, Sigma
from xfer.pixels.frames import positions
from xfer.pixels.geometry import both
from xfer.pixels.tones import Sometimes
from xfer.section import Section

STRIP = 2**14
"""Pixels that are blurred together: they and what is made of them stay in a processor's cache."""

Floats = NDArray[np.float32]


class Sharpness(Sometimes):
    """`sharpness_factor` 0 is a smoothed picture, 1 the picture itself, and what is above 1 goes on from there."""

    op: Literal["Sharpness"] = "Sharpness"
    sharpness_factor: Factor

    def apply(self, image: Picture, chosen: bool) -> Picture:
        return sharpened(image, self.sharpness_factor) if chosen else image


class GaussianBlur(Section):
    """By a kernel of `kernel_size` pixels ([width, height]) and a random standard deviation; edges are mirrored."""

    op: Literal["GaussianBlur"] = "GaussianBlur"
    kernel_size: Kernel
    sigma: Sigma = (0.1, 2.0)

    def draw(self, height: int, width: int, rng: Generator) -> float:
        low, high = self.sigma if isinstance(self.sigma, tuple) else (self.sigma, self.sigma)
        return rng.uniform(low, high)

    def apply(self, image: Picture, sigma: float) -> Picture:
        return blurred(image, both(self.kernel_size), sigma)


def sharpened(image: Picture, factor: float) -> Picture:
    return ImageEnhance.Sharpness(image).enhance(factor)


def blurred(image: Picture, kernel: HeightWidth, sigma: float) -> Picture:
    """`kernel`: (width, height), as torchvision has it. Values are rounded to the nearest, and halves to even.

    Down and then across, in float32 and in one order of sums: the same bits on every machine. torchvision's sums are
    those of a convolution in two dimensions, and come to another value in 1 of 40,000, by 1 of 255.
    """
    across, down = (_weights(size, sigma) for size in kernel)
    aside, above = len(across) // 2, len(down) // 2
    pixels = np.asarray(image)
    height, width, _ = pixels.shape
    rows, columns = positions(height, above, above, "reflect"), positions(width, aside, aside, "reflect")
    made, count = np.empty_like(pixels), max(STRIP // width, len(down))
    for top in range(0, height, count):
        high = min(count, height - top)
        strip = pixels[rows[top : top + high + 2 * above]].astype(np.float32)
        strip = _weighted([strip[i : i + high] for i in range(len(down))], down)
        strip = strip[:, columns].reshape(high, -1)
        strip = _weighted([strip[:, 3 * i : 3 * (i + width)] for i in range(len(across))], across)
        made[top : top + high] = np.rint(strip, out=strip).reshape(high, width, 3)
    return Image.fromarray(made)


def _weights(size: int, sigma: float) -> Sequence[np.float32]:
    """Of a Gaussian at whole pixels around its middle, with a sum of 1."""
    values = [math.exp(-0.5 * ((i - size // 2) / sigma) ** 2) for i in range(size)]
    return [np.float32(value / sum(values)) for value in values]


def _weighted(parts: Sequence[Floats], weights: Sequence[np.float32]) -> Floats:
    """The sum of weights[i] * parts[i], for weights that are the same from both ends."""
    middle = len(weights) // 2
    total = parts[middle] * weights[middle]
    for i in range(middle):
        pair = parts[i] + parts[-1 - i]
        pair *= weights[i]
        total += pair
    return total
