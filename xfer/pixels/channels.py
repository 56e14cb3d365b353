"""How many channels the pixels have that leave the augmentations: three colours, or one grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from xfer.arrays import Pixels
from xfer.section import Section

Count = Literal[1, 3]
COLOURS: Literal[3] = 3
GREY: Literal[1] = 1


class Channels(Section):
    """Pixels leave a list of augmentations in so many channels, wherever in it this stands: 1 is grey.

    `data.channels` puts it first, so that a checkpoint sees later pictures as it saw those of its data set.
    """

    op: Literal["Channels"] = "Channels"
    count: Literal[1]


def channels_of(transforms: Sequence[Any]) -> Count:
    """Of the pixels that leave a list of augmentations."""
    return GREY if any(isinstance(transform, Channels) for transform in transforms) else COLOURS


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
