"""Colours of 16 bits, of which Pillow keeps the upper 8: their extent, and the lower 8 where they are needed.

The layout of the values names an order of their bytes, by which Pillow finds the upper one. The other order gives the
lower one.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from xfer.errors import DataError
from xfer.pixels.levels import Extent

_DEEP = re.compile(r".*;16[BLN]")
_SWAPPED = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
_GREY = "LA;16B"  # of PNG, and read as RGBA; taken for 8 bits, its lower grey byte is in the place of green


def is_deep(image: Image.Image) -> bool:
    """Whether an opened picture, before it is loaded, has colours of 16 bits."""
    tiles = getattr(image, "tile", [])
    return image.mode in ("RGB", "RGBA") and any(_DEEP.fullmatch(_layout(tile)) for tile in tiles)


def extent_of_deep(image: Image.Image) -> Extent:
    """Of a loaded picture with such colours: its upper bytes leave the last 8 bits open."""
    extrema: Any = image.getextrema()[:3]
    return Extent("u", 256 * min(low for low, _ in extrema), 256 * max(high for _, high in extrema) + 255)


def keep_lower(image: ImageFile.ImageFile) -> bool:
    """Make a picture that `is_deep` give lower bytes when it is loaded; whether they are all in green.

    Raises DataError where Pillow finds its own way to the upper ones, or has already multiplied by alpha.
    """
    layouts = [_layout(tile) for tile in image.tile]
    planes = image.tile[0].codec_name == "libtiff" and getattr(image, "tag_v2", {}).get(284) == 2
    if planes or any("a" in layout for layout in layouts):
        raise DataError("16-bit colours are not scaled to data.depth in such a TIFF file. Cure: save it as PNG")
    lower = ["RGBA" if layout == _GREY else f"{layout[:-1]}{_SWAPPED[layout[-1]]}" for layout in layouts]
    image.tile = [
        tile._replace(args=new if isinstance(tile.args, str) else (new, *tile.args[1:]))  # type: ignore[index]
        for tile, new in zip(image.tile, lower, strict=True)
    ]
    return layouts[0] == _GREY


def joined(upper: Image.Image, lower: Image.Image, in_green: bool) -> NDArray[np.uint16]:
    """(H, W, 3), of a picture or of the same part of both; `in_green` as `keep_lower` says."""
    low = np.asarray(lower)[..., [1, 1, 1] if in_green else slice(3)]
    values: NDArray[np.uint16] = np.asarray(upper)[..., :3].astype(np.uint16) * 256 + low
    return values


def _layout(tile: Any) -> str:
    return str(tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0])
