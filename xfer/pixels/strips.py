"""A large picture strip by strip: what is made of it on the way takes the memory of a strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

STRIP = 2**18
"""Pixels. Pictures of the usual sizes for training are one strip, and are not copied for it."""


def strips_of(*images: Image.Image) -> Iterator[tuple[Image.Image, ...]]:
    """The same rows of images of one size, from the top; the images themselves where they are small."""
    width, height = images[0].size
    rows = max(STRIP // max(width, 1), 1)
    if height <= rows:
        yield images
        return
    for top in range(0, height, rows):
        yield tuple(image.crop((0, top, width, min(top + rows, height))) for image in images)


def by_strips(convert: Callable[..., Image.Image], *images: Image.Image) -> Image.Image:
    """What `convert` makes of the strips of the images, which have one size, put together."""
    unset: Any = None  # a colour would be painted first
    whole, top = None, 0
    for parts in strips_of(*images):
        made = convert(*parts)
        if made.height == images[0].height:
            return made
        whole = whole or Image.new(made.mode, images[0].size, unset)
        whole.paste(made, (0, top))
        top += made.height
    assert whole is not None, "no image is without rows"
    return whole
