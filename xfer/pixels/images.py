"""Reading pictures: any file that Pillow knows -> 8-bit RGB, the way a person would see it."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from xfer.errors import DataError
from xfer.pixels.content import read_content
from xfer.pixels.deep import extent_of_deep, is_deep, joined, keep_lower
from xfer.pixels.faults import reason_for, too_large
from xfer.pixels.jpeg import Header, read_header
from xfer.pixels.lazy import Jpeg
from xfer.pixels.levels import WIDE, Extent, Levels, extent_of
from xfer.pixels.mending import mended
from xfer.pixels.rgb import to_rgb, wide_values
from xfer.pixels.stored import call_zero_white, prepare
from xfer.pixels.tiff import ends_early, with_black_zero
from xfer.pixels.unread import NOT_AN_IMAGE, is_cut_webp, reason_undecoded, reason_unread

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".jfif", ".jpe")
"""What counts as a picture by its name, upper case or lower: torchvision's list, and two more names of JPEG."""

MORE_SUFFIXES = (".avif", ".gif", ".ico", ".jp2", ".pbm", ".pcx", ".pnm", ".sgi", ".tga")
"""Pictures that can be read, and count only where a recipe says so."""

SIDEWAYS = range(5, 9)
"""EXIF orientations in which rows and columns change places."""

PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow opens by running another program on them. No data set is worth that."""


def open_image(path: str | os.PathLike[str], levels: Levels | None = None) -> Image.Image:
    """The picture as RGB, 8 bits a channel: upright by its EXIF orientation, on white where it is transparent.

    Values of more than 8 bits become 8-bit ones as `xfer.pixels.rgb.to_bytes` says; of an animation, the first frame.
    Colour profiles are not applied, as in torchvision. Raises DataError, with the file and the reason, where it cannot
    be used.
    """
    try:
        return decode(read_content(path)[0], levels=levels).image
    except Exception as error:  # a decoder fed with garbage can raise anything
        raise DataError(f"{os.fspath(path)}: {reason_for(error)}") from error


def open_lazily(path: str | os.PathLike[str], draft: bool = False, levels: Levels | None = None) -> Image.Image | Jpeg:
    """As `open_image`, but of a JPEG file nothing is decoded yet. `draft`: see `Jpeg`."""
    try:
        content, _ = read_content(path)
        header = read_header(content)
        if header and not too_large(header.width, header.height) and not _turned(content, header):
            return Jpeg(content, header, (0, 0, header.width, header.height), draft)
        return decode(content, levels=levels).image
    except Exception as error:
        raise DataError(f"{os.fspath(path)}: {reason_for(error)}") from error


def upright(image: Image.Image, levels: Levels | None = None) -> Image.Image:
    """An image that somebody else opened or made, as `open_image` would give it. It is left as it was.

    Raises DataError for one that is too large, and whatever a decoder does.
    """
    if reason := too_large(*image.size):
        raise DataError(reason)
    if isinstance(image, ImageFile.ImageFile) and image.tile:  # opened and not loaded
        if levels and levels.depth < WIDE and is_deep(image):
            raise DataError("16-bit colours are scaled to data.depth from a file alone. Cure: give its name")
        prepare(image)
        image.load()
    turned = image
    if _orientation(image) in range(2, 9):
        with suppress(Exception):  # damaged EXIF data makes no picture unusable
            turned = ImageOps.exif_transpose(image)
            turned.format = image.format  # a copy forgets it, and what 16-bit values mean depends on it
    return to_rgb(turned, levels)


class Decoded(NamedTuple):
    """A picture, and of the file its width and height as a person sees it, and its kind: `JPEG RGB`.

    `flaw`: what is wrong with the file, where that spoils nothing. `extent`: of values of more than 8 bits.
    """

    image: Image.Image
    size: tuple[int, int]
    kind: str
    flaw: str = ""
    extent: Extent | None = None


def decode(content: bytes, smallest: bool = False, levels: Levels | None = None) -> Decoded:
    """Raises whatever a decoder does; see `reason_for`. With `smallest` a JPEG picture comes out at an eighth."""
    if ends_early(content):
        raise DataError("truncated")
    try:
        return _decode(content, smallest, levels)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        if (negative := with_black_zero(content)) is not None:
            return _decode(negative, smallest, levels, white_zero=True)
        if (repaired := mended(content)) is None:
            raise DataError(reason_unread(content)) from error
    except Exception as error:
        if is_cut_webp(content):
            raise DataError("truncated") from error
        if (repaired := mended(content)) is None:
            raise
    # Not in the clause above: until it ends, the error holds all that was read of a large text.
    try:
        return _decode(repaired[0], smallest, levels)._replace(flaw=repaired[1])
    except UnidentifiedImageError as error:
        raise DataError(reason_unread(content)) from error


def _decode(content: bytes, smallest: bool, levels: Levels | None, white_zero: bool = False) -> Decoded:
    """`white_zero`: whatever the file says of it."""
    with Image.open(io.BytesIO(content)) as image:
        if image.format in PROGRAMS:
            raise DataError(NOT_AN_IMAGE)
        if reason := too_large(*image.size):
            raise DataError(reason)
        size, kind = image.size, f"{image.format} {image.mode}"
        if smallest:
            image.draft(image.mode, (1, 1))
        shrunk = image.size != size
        prepare(image)
        deep = is_deep(image)
        turned = _load_upright(image)
        if white_zero:
            call_zero_white(image)
        colours = _colours(image, content) if deep and levels and levels.depth < WIDE else None
        whole, values = to_rgb(image, levels, colours), wide_values(image)
        seen = (size[::-1] if turned else size) if shrunk else whole.size
        extent = extent_of_deep(image) if deep else None if values is None else extent_of(values)
        return Decoded(whole, seen, kind, extent=extent)


def _load_upright(image: Image.Image) -> bool:
    """Whether rows and columns have changed places."""
    try:  # before its orientation: to find that, Pillow may load it too, and errors would be lost
        image.load()
    except Exception as error:
        if reason := reason_undecoded(image):
            raise DataError(reason) from error
        raise
    turned = _orientation(image) in SIDEWAYS
    with suppress(Exception):  # damaged EXIF data makes no picture unusable
        ImageOps.exif_transpose(image, in_place=True)
    return turned


def _colours(upper: Image.Image, content: bytes) -> NDArray[np.uint16]:
    """(H, W, 3), of a file whose upper bytes are loaded."""
    with Image.open(io.BytesIO(content)) as lower:
        prepare(lower)
        in_green = keep_lower(lower)
        _load_upright(lower)
        return joined(upper, lower, in_green)


def _turned(content: bytes, header: Header) -> bool:
    """Whether the picture is seen otherwise than it is stored."""
    with suppress(Exception):
        if header.annotated:
            with Image.open(io.BytesIO(content)) as image:
                return _orientation(image) in range(2, 9)
    return False


def _orientation(image: Image.Image) -> object:
    with suppress(Exception):  # damaged EXIF data makes no picture unusable
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1
