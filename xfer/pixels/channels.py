"""How many channels the pixels have that leave the augmentations: three colours, one grey, or four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from xfer.arrays import Pixels
from xfer.section import Section

Count = Literal[1, 3, 4]
COLOURS: Literal[3] = 3
GREY: Literal[1] = 1
FOUR: Literal[4] = 4


class Channels(Section):
    """Pixels leave a list of augmentations in so many channels, wherever in it this stands: 1 is grey, 4 RGBA.

    `data.channels` puts it first, so that a checkpoint sees later pictures as it saw those of its data set.
    """

    op: Literal["Channels"] = "Channels"
    count: Literal[1, 4]


def channels_of(transforms: Sequence[Any]) -> Count:
    """Of the pixels that leave a list of augmentations."""
    return next((transform.count for transform in transforms if isinstance(transform, Channels)), COLOURS)


def pixels_of(image: Image.Image, transforms: Sequence[Any]) -> Pixels:
    """(H, W, C) of an RGB image after all transforms, in as many channels as they ask for."""
    pixels = np.asarray(image)
    return pixels if channels_of(transforms) == COLOURS else in_grey(pixels)


def in_grey(pixels: Pixels) -> Pixels:
    """(..., 3) uint8 -> (..., 1): the luma of ITU-R BT.601, 0.299 red + 0.587 green + 0.114 blue, as Pillow's L.

    In Pillow's own parts of 65536, so that it is the same to the bit; grey colours keep their value.
    """
    red, green, blue = (pixels[..., i].astype(np.uint32) for i in range(COLOURS))
    luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    grey: Pixels = luma.astype(np.uint8)[..., None]
    return grey


def in_channels(pixels: Pixels, count: int) -> Pixels:
    """(..., 3) -> (..., count): in grey, as they are, or opaque."""
    if count == FOUR:
        return np.concatenate([pixels, np.full((*pixels.shape[:-1], 1), 255, np.uint8)], axis=-1)
    return in_grey(pixels) if count == GREY else pixels


def parted(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The colours of an RGBA image as they are stored, and its fourth channel as an RGB image of three equal ones."""
    return image.convert("RGB"), Image.merge("RGB", [image.getchannel("A")] * COLOURS)
