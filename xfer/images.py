"""Reading pictures: any file that Pillow knows -> 8-bit RGB, the way a person would see it."""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from xfer.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture by its name, upper case or lower: torchvision's list."""

MAX_PIXELS = 178_956_970
"""Larger pictures are refused as decompression bombs: the size at which Pillow refuses them too."""

PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow opens by running another program on them. No data set is worth that."""

# Pillow warns of pictures that are large or have damaged EXIF data, and they can be used all the same. This stands at
# import because warnings.catch_warnings would change the filters of every thread that is decoding.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The picture as RGB, 8 bits a channel: upright by its EXIF orientation, on white where it is transparent.

    16-bit and 32-bit values become 8-bit ones as `to_bytes` says; of an animation, the first frame. Colour profiles
    are not applied, as in torchvision. Raises DataError, with the file and the reason, where it cannot be used.
    """
    try:
        return _decode(path)
    except Exception as error:  # a decoder fed with garbage can raise anything
        raise DataError(f"{os.fspath(path)}: {_reason(error)}") from error


def check_image(path: str | os.PathLike[str]) -> str | None:
    """Decode the whole picture. The reason why it cannot be used, in one line, or None."""
    try:
        _decode(path)
    except Exception as error:
        return _reason(error)
    return None


def to_bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of any type as 0..255, rounded.

    The range they have is the smallest of [0, 1] (floats only), [0, 255] and [0, 65535] that holds them all; values
    that none of them holds are stretched from their lowest to their highest. uint16 always has [0, 65535]. Values that
    are not finite become 0.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    tops = {"u": (65535.0,), "f": (1.0, 255.0, 65535.0)}.get(values.dtype.kind, (255.0, 65535.0))
    fitting = [top for top in tops if low >= 0 and high <= top]
    low, high = (0.0, fitting[0]) if fitting else (low, high)
    known = np.where(np.isfinite(values), values, low).astype(np.float64)
    scaled: NDArray[np.float64] = (known - low) * (255 / (high - low) if high > low else 0.0)
    return np.rint(scaled).astype(np.uint8)


def _decode(path: str | os.PathLike[str]) -> Image.Image:
    if os.path.getsize(path) == 0:
        raise OSError(errno.EINVAL, "empty file")
    with open(path, "rb") as file, Image.open(file) as image:
        if image.format in PROGRAMS:
            raise UnidentifiedImageError
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        with suppress(Exception):  # damaged EXIF data makes no picture unusable
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        wide = image.mode == "I" and image.format in ("PNG", "PPM")  # Pillow's I for what is 16-bit in these
        return Image.fromarray(to_bytes(values.astype(np.uint16) if wide else values)).convert("RGB")
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(visible, mask=visible)
        return white
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "truncated"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be decoded ({text})"
