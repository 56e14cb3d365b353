"""One picture of a split, from its file to the pixels that a network gets: what threads and processes do alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xxhash

from xfer.arrays import Pixels
from xfer.errors import DataError
from xfer.pixels.augment import Transform, is_random, pixels_after
from xfer.pixels.bounds import Share
from xfer.pixels.channels import FOUR, channels_of
from xfer.pixels.content import has_changed
from xfer.pixels.images import open_lazily
from xfer.pixels.levels import levels_of

Place: TypeAlias = tuple[int, str, tuple[tuple[int, int], bytes] | None]
"""A picture of a split: its position, its file, and that file's stamp and digest where it was read before.

Where it is read again with random numbers of its own, its position lies beyond the split: see `xfer.data.order.Source`.
"""


@dataclass(frozen=True)
class Reader:
    """Reads pictures of a split. One's random numbers come from (seed, view, its position) and nothing else.

    `draft`: see `xfer.pixels.lazy.Jpeg`.
    """

    transforms: tuple[Transform, ...]
    seed: int
    view: int
    draft: bool

    def __call__(self, place: Place) -> tuple[Pixels, bytes]:
        """Its pixels (H, W, C), and their digest. Raises DataError, with the file."""
        position, path, known = place
        if known and has_changed(path, *known):
            raise DataError(
                f"data {path}: changed since it was checked. "
                "Cure: bring it back as it was, or train anew on what is there now"
            )
        random = is_random(self.transforms)
        rng = np.random.default_rng((self.seed, self.view, position)) if random else None
        pixels = _read_picture(path, self.transforms, rng, self.draft)
        return pixels, picture_digest(pixels)

    def name_of(self, place: Place) -> str:
        return place[1]


@dataclass(frozen=True)
class Tolerant:
    """Likewise, but what cannot be used is no error."""

    reader: Reader

    def __call__(self, place: Place) -> tuple[Pixels | bytes, str]:
        """The pixels, and nothing; or none of them, and why."""
        try:
            return self.reader(place)[0], ""
        except DataError as error:
            return b"", str(error).removeprefix(f"{place[1]}: ")

    def name_of(self, place: Place) -> str:
        return self.reader.name_of(place)


def _read_picture(path: str, transforms: Sequence[Transform], rng: np.random.Generator | None, draft: bool) -> Pixels:
    """One picture (H, W, C). Raises DataError, with the file."""
    with Share() as share:
        image = open_lazily(path, draft, levels_of(transforms), share, channels_of(transforms) == FOUR)
        try:
            return pixels_after(image, transforms, rng)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def picture_digest(pixels: Pixels) -> bytes:
    """16 bytes of XXH3-128 over shape and pixels (H, W, C) uint8."""
    # Against chance, not against forgers: SHA-256 takes a twentieth of the time of reading a picture, this a hundredth.
    digest = xxhash.xxh3_128(np.array(pixels.shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
