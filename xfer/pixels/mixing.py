"""Two pictures as one: something of both everywhere (mixup), or a box of one in the other (cutmix).

In whole numbers, so that no machine rounds otherwise than another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LEVELS = 256
"""Into so many parts a blend is divided: with more, 8 bits would show no other picture."""


@dataclass(frozen=True)
class Blend:
    """mixup (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"): `parts` of LEVELS are the other's.

    Halves are rounded up.
    """

    parts: int

    @property
    def share(self) -> float:
        """Of the other picture."""
        return self.parts / LEVELS

    def apply(self, image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) of both."""
        blended: NDArray[np.uint16] = np.multiply(image, LEVELS - self.parts, dtype=np.uint16)
        blended += np.multiply(other, self.parts, dtype=np.uint16)
        blended += LEVELS // 2  # 255 * LEVELS + LEVELS // 2 at most, which fits
        blended //= LEVELS
        return blended.astype(np.uint8)


@dataclass(frozen=True)
class Patch:
    """cutmix (Yun et al. 2019, "CutMix"): rows top to bottom, columns left to right, are the other's; ends excluded.

    The share is that of the box inside of the picture of (height, width) `size`, as in the authors' code.
    """

    top: int
    left: int
    bottom: int
    right: int
    size: tuple[int, int]

    @property
    def share(self) -> float:
        """Of the other picture."""
        return (self.bottom - self.top) * (self.right - self.left) / (self.size[0] * self.size[1])

    def apply(self, image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) of both."""
        patched, box = image.copy(), np.s_[self.top : self.bottom, self.left : self.right]
        patched[box] = other[box]
        return patched


def draw_blend(alpha: float, rng: Generator) -> Blend:
    """The other's share by Beta(alpha, alpha)."""
    return Blend(round(LEVELS * rng.beta(alpha, alpha)))


def draw_patch(alpha: float, size: tuple[int, int], rng: Generator) -> Patch:
    """A box of the picture's shape, its share by Beta(alpha, alpha) before it is cut off at the edges."""
    side = np.sqrt(rng.beta(alpha, alpha))
    (top, bottom), (left, right) = (_span(length, int(length * side), rng) for length in size)
    return Patch(top, left, bottom, right, size)


def _span(length: int, extent: int, rng: Generator) -> tuple[int, int]:
    """Around a middle anywhere in [0, length)."""
    middle = int(rng.integers(length))
    return max(middle - extent // 2, 0), min(middle + extent // 2, length)
