"""Any picture that Pillow has decoded, whatever its colours, its depth and its transparency -> 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.errors import DataError
from xfer.pixels.deep import joined
from xfer.pixels.levels import WIDE, Extent, Levels, extent_of, range_of
from xfer.pixels.stored import declared_values, is_white_zero
from xfer.pixels.strips import by_strips, strips_of

Values = NDArray[np.generic]

_OWN = frozenset({"JPEG", "PNG", "BMP", "PPM", "TIFF"})
"""Formats whose decoders leave nothing behind in a loaded image that would be worth a copy to be rid of."""


def to_rgb(image: Image.Image, levels: Levels | None = None) -> Image.Image:
    """On white where it is transparent; wide values as `to_bytes` makes them. It may be the image itself."""
    seen = to_8_bits(image, levels)
    return seen if seen.mode == "RGB" else seen.convert("RGB")


def to_rgba(
    image: Image.Image, levels: Levels | None = None, lower: tuple[Image.Image, bool] | None = None
) -> Image.Image:
    """Colours as they are stored under their transparency, which is the fourth channel: 255 where there is none.

    `lower` as in `to_8_bits`. Raises DataError for what would be lost: transparency of pictures read by both bytes.
    """
    transparent = image.has_transparency_data and not _is_unset(image)
    if transparent and lower is not None:
        raise DataError("transparency of 16 bits is not scaled to data.depth. Cure: data.depth = 16, or 8-bit files")
    if transparent and wide_values(image) is None:
        return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return to_8_bits(image, levels, lower).convert("RGB").convert("RGBA")


def to_8_bits(
    image: Image.Image, levels: Levels | None = None, lower: tuple[Image.Image, bool] | None = None
) -> Image.Image:
    """As `to_rgb`, but of wide values in grey (L): as RGB they take four times as much, beside those that they are of.

    `lower`: the lower bytes of a picture that holds but the upper ones, and whether they are all in green.
    """
    if lower is not None:
        low, in_green = lower

        def of_16_bits(upper: Image.Image, low: Image.Image) -> Image.Image:
            grey = to_bytes(joined(upper, low, in_green), levels=levels)
            return _on_white(Image.fromarray(grey), upper.convert("RGBA"))

        return by_strips(of_16_bits, image, low)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if image.format in _OWN else image.copy()
    if (read := wide_values(image)) is not None:
        return _of_wide(image, read, levels)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data and not _is_unset(image):
        return by_strips(_visible, image)
    return image.convert("RGB")


def wide_values(image: Image.Image) -> Callable[[Image.Image], Values] | None:
    """What reads the values (H, W) of a picture that has more than 8 bits each, or a sign, or those of a part of it.

    They are of any type but uint8. None for other pictures.
    """
    declared = declared_values(image)
    if declared is None and not image.mode.startswith(("I", "F")):
        return None
    wide = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow's I for what is 16-bit in these

    def read(part: Image.Image) -> Values:
        values: NDArray[Any] = np.asarray(part)
        if declared is not None:
            return declared(values)
        return values.astype(np.uint16) if wide else values

    return read


def extent_of_wide(image: Image.Image, read: Callable[[Image.Image], Values]) -> Extent:
    """Of a picture with such values."""
    return extent_of(read(part) for (part,) in strips_of(image))


def to_bytes(
    values: Values, negative: bool = False, levels: Levels | None = None, extent: Extent | None = None
) -> NDArray[np.uint8]:
    """Grey values of any type as 0..255, rounded; with `negative` from white to black.

    uint16 has the range of `levels`, [0, 65535] without; floats too, and otherwise that which `range_of` finds for
    `extent`, their own without, as whole numbers always have. What is beyond it is cut off. Values that are not finite
    become 0.
    """
    kind = values.dtype.kind
    if kind == "u":
        low, high = 0.0, 2.0 ** (levels.depth if levels else WIDE) - 1
    elif kind == "f" and levels and levels.floats:
        low, high = levels.floats
    else:
        low, high = range_of(*(extent or extent_of([values]))[1:], floats=kind == "f")
    if values.dtype == np.uint16:
        grey: NDArray[np.uint8] = _table(high, negative)[cast(Any, values)]
        return grey
    return _scaled(values, low, high, negative)


def _of_wide(image: Image.Image, read: Callable[[Image.Image], Values], levels: Levels | None) -> Image.Image:
    negative, key = is_white_zero(image), image.info.get("transparency")
    floats_known = levels is not None and levels.floats is not None
    of_its_own = read(image.crop((0, 0, 1, 1))).dtype.kind in ("i" if floats_known else "if")
    extent = extent_of_wide(image, read) if of_its_own else None

    def to_grey(part: Image.Image) -> Image.Image:
        values = read(part)
        grey = to_bytes(values, negative, levels, extent)
        if isinstance(key, int):
            grey[values == key] = 255
        return Image.fromarray(grey)

    return by_strips(to_grey, image)


@lru_cache(maxsize=32)
def _table(high: float, negative: bool) -> NDArray[np.uint8]:
    """(65536,), what becomes of each value of 16 bits."""
    return _scaled(np.arange(2**WIDE, dtype=np.uint16), 0.0, high, negative)


def _scaled(values: Values, low: float, high: float, negative: bool) -> NDArray[np.uint8]:
    known = np.where(np.isfinite(values), values, low).astype(np.float64).clip(low, high)
    scaled: NDArray[np.float64] = (known - low) * (255 / (high - low) if high > low else 0.0)
    return np.rint(np.where(np.isfinite(values), 255 - scaled, 0) if negative else scaled).astype(np.uint8)


def _visible(image: Image.Image) -> Image.Image:
    seen = image.convert("RGBA")
    return _on_white(seen, seen)


def _on_white(visible: Image.Image, alpha: Image.Image) -> Image.Image:
    """`alpha`: an RGBA image."""
    white = Image.new("RGB", visible.size, "white")
    white.paste(visible, mask=alpha)
    return white


def _is_unset(image: Image.Image) -> bool:
    """Programs that know no transparency leave the fourth byte of a 32-bit BMP pixel 0; others show it all the same."""
    return image.format in ("BMP", "DIB") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
