"""Any picture that Pillow has decoded, whatever its colours, its depth and its transparency -> 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.pixels.levels import WIDE, Levels, extent_of, range_of
from xfer.pixels.stored import declared_values, is_white_zero


def to_rgb(image: Image.Image, levels: Levels | None = None, colours: NDArray[np.uint16] | None = None) -> Image.Image:
    """On white where it is transparent; wide values as `to_bytes` makes them.

    `colours` (H, W, 3): those of the picture, where it holds but their upper bytes.
    """
    if colours is not None:
        return _on_white(Image.fromarray(to_bytes(colours, levels=levels)), image.convert("RGBA"))
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if image.format == "JPEG" else image.copy()  # others may want their file again
    if (values := wide_values(image)) is not None:
        grey = to_bytes(values, is_white_zero(image), levels)
        if isinstance(key := image.info.get("transparency"), int):
            grey[values == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data and not _is_unset(image):
        visible = image.convert("RGBA")
        return _on_white(visible, visible)
    return image.convert("RGB")


def _on_white(visible: Image.Image, alpha: Image.Image) -> Image.Image:
    """`alpha`: an RGBA image."""
    white = Image.new("RGB", visible.size, "white")
    white.paste(visible, mask=alpha)
    return white


def wide_values(image: Image.Image) -> NDArray[np.generic] | None:
    """(H, W) of a picture that has more than 8 bits a value, or a sign: of any type but uint8."""
    if (declared := declared_values(image)) is not None:
        return declared
    if not image.mode.startswith(("I", "F")):
        return None
    values = np.asarray(image)
    wide = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow's I for what is 16-bit in these
    return values.astype(np.uint16) if wide else values


def _is_unset(image: Image.Image) -> bool:
    """Programs that know no transparency leave the fourth byte of a 32-bit BMP pixel 0; others show it all the same."""
    return image.format in ("BMP", "DIB") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def to_bytes(values: NDArray[np.generic], negative: bool = False, levels: Levels | None = None) -> NDArray[np.uint8]:
    """Grey values of any type as 0..255, rounded; with `negative` from white to black.

    uint16 has the range of `levels`, [0, 65535] without; floats too, and otherwise that which `range_of` finds for
    their own, as whole numbers always have. What is beyond it is cut off. Values that are not finite become 0.
    """
    kind = values.dtype.kind
    if kind == "u":
        low, high = 0.0, 2.0 ** (levels.depth if levels else WIDE) - 1
    elif kind == "f" and levels and levels.floats:
        low, high = levels.floats
    else:
        low, high = range_of(*extent_of(values)[1:], floats=kind == "f")
    known = np.where(np.isfinite(values), values, low).astype(np.float64).clip(low, high)
    scaled: NDArray[np.float64] = (known - low) * (255 / (high - low) if high > low else 0.0)
    return np.rint(np.where(np.isfinite(values), 255 - scaled, 0) if negative else scaled).astype(np.uint8)
