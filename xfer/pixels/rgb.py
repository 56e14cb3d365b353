"""Any picture that Pillow has decoded, whatever its colours, its depth and its transparency -> 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.pixels.stored import is_white_zero

SLACK = 0.05
"""Rounding, and the overshoot of filters that sharpen or resize, leave floats a little outside of their range."""


def to_rgb(image: Image.Image) -> Image.Image:
    """On white where it is transparent; wide values as `to_bytes` makes them."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if image.format == "JPEG" else image.copy()  # others may want their file again
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        wide = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow's I for what is 16-bit in these
        grey = to_bytes(values.astype(np.uint16) if wide else values, negative=is_white_zero(image))
        if isinstance(key := image.info.get("transparency"), int):
            grey[values == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data and not _is_unset(image):
        visible = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(visible, mask=visible)
        return white
    return image.convert("RGB")


def _is_unset(image: Image.Image) -> bool:
    """Programs that know no transparency leave the fourth byte of a 32-bit BMP pixel 0; others show it all the same."""
    return image.format in ("BMP", "DIB") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def extremes(values: NDArray[np.generic]) -> tuple[float, float]:
    """The lowest and the highest of the finite values; 0 and 0 where there are none."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def range_of(low: float, high: float, floats: bool) -> tuple[float, float]:
    """What stands for black and for white where values go from `low` to `high`: see `to_bytes`."""
    slack, tops = (SLACK, (1.0, 255.0, 65535.0)) if floats else (0.0, (255.0, 65535.0))
    fitting = (top for top in tops if low >= -slack * high and high <= (1 + slack) * top)
    top = next(fitting, None)
    return (low, high) if top is None else (0.0, top)


def to_bytes(values: NDArray[np.generic], negative: bool = False) -> NDArray[np.uint8]:
    """Grey values of any type as 0..255, rounded; with `negative` from white to black.

    The range they have is the smallest of [0, 1] (floats only), [0, 255] and [0, 65535] that holds them all; values
    that none of them holds are stretched from their lowest to their highest. uint16 always has [0, 65535]. Floats may
    be beyond a range by SLACK of it, and are cut off there. Values that are not finite become 0.
    """
    low, high = (0.0, 65535.0) if values.dtype.kind == "u" else range_of(*extremes(values), values.dtype.kind == "f")
    known = np.where(np.isfinite(values), values, low).astype(np.float64).clip(low, high)
    scaled: NDArray[np.float64] = (known - low) * (255 / (high - low) if high > low else 0.0)
    return np.rint(np.where(np.isfinite(values), 255 - scaled, 0) if negative else scaled).astype(np.uint8)
