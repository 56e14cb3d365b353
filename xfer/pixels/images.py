"""Reading pictures: any file that Pillow knows -> 8-bit RGB, the way a person would see it."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from xfer.errors import DataError
from xfer.pixels.bounds import Share
from xfer.pixels.content import read_content
from xfer.pixels.deep import extent_of_deep, is_deep, keep_lower
from xfer.pixels.endless import refuse_endless
from xfer.pixels.faults import reason_for, too_large
from xfer.pixels.jpeg import Header, read_header
from xfer.pixels.lazy import Jpeg
from xfer.pixels.levels import WIDE, Extent, Levels
from xfer.pixels.memory import memory_for, memory_to_open
from xfer.pixels.mending import mended
from xfer.pixels.orientation import SIDEWAYS, TURNS, orientation_of, turn_upright
from xfer.pixels.rgb import extent_of_wide, to_8_bits, to_rgb, to_rgba, wide_values
from xfer.pixels.stored import call_zero_white, prepare
from xfer.pixels.tiff import ends_early, with_black_zero
from xfer.pixels.unread import is_cut_webp, reason_undecoded, reason_unread

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".jfif", ".jpe")
"""What counts as a picture by its name, upper case or lower: torchvision's list, and two more names of JPEG."""

MORE_SUFFIXES = (".avif", ".gif", ".ico", ".jp2", ".pbm", ".pcx", ".pnm", ".sgi", ".tga")
"""Pictures that can be read, and count only where a recipe says so."""

_AT_ONCE = ("JPEG", "PNG", "BMP", "PPM", "GIF")  # Pillow imports the others when one of them is asked for
FORMATS = (*_AT_ONCE, "TIFF", "WEBP", "AVIF", "DIB", "ICO", "JPEG2000", "PCX", "SGI", "TGA")
"""What is opened at all, whatever its name: the pictures of both lists of suffixes.

Pillow knows thirty formats more, in which nobody keeps pictures for training: EPS runs another program, others are
films, containers, or decoded by Python.
"""


def open_image(path: str | os.PathLike[str], levels: Levels | None = None) -> Image.Image:
    """The picture as RGB, 8 bits a channel: upright by its EXIF orientation, on white where it is transparent.

    Values of more than 8 bits become 8-bit ones as `xfer.pixels.rgb.to_bytes` says; of an animation, the first frame.
    Colour profiles are not applied, as in torchvision. Raises DataError, with the file and the reason, where it cannot
    be used.
    """
    try:
        with Share() as share:
            share.hold_file(path)
            return decode(read_content(path)[0], share, levels=levels).image
    except Exception as error:  # a decoder fed with garbage can raise anything
        raise DataError(f"{os.fspath(path)}: {reason_for(error)}") from error


def open_lazily(
    path: str | os.PathLike[str],
    draft: bool = False,
    levels: Levels | None = None,
    share: Share | None = None,
    alpha: bool = False,
) -> Image.Image | Jpeg:
    """As `open_image`, but of a JPEG file nothing is decoded yet. `draft`: see `Jpeg`.

    `share`: of all that are read at once, to be held until the picture is no longer needed; or else for this call.
    `alpha`: as RGBA, see `xfer.pixels.rgb.to_rgba`, and decoded.
    """
    if share is None:
        with Share() as share:
            return open_lazily(path, draft, levels, share, alpha)
    try:
        share.hold_file(path)
        content, _ = read_content(path)
        header = None if alpha else read_header(content)
        if header and not too_large(header.width, header.height) and not _turned(content, header):
            share.hold(header.memory)
            return Jpeg(content, header, (0, 0, header.width, header.height), draft, share)
        return decode(content, share, levels=levels, alpha=alpha).image
    except Exception as error:
        raise DataError(f"{os.fspath(path)}: {reason_for(error)}") from error


def upright(
    image: Image.Image, levels: Levels | None = None, share: Share | None = None, alpha: bool = False
) -> Image.Image:
    """An image that somebody else opened or made, as `open_image` would give it. It is left as it was.

    `share` and `alpha` as in `open_lazily`. Raises DataError for one that is too large, and whatever a decoder does.
    """
    if reason := too_large(*image.size):
        raise DataError(reason)
    if isinstance(image, ImageFile.ImageFile) and image.tile:  # opened and not loaded
        if levels and levels.depth < WIDE and is_deep(image):
            raise DataError("16-bit colours are scaled to data.depth from a file alone. Cure: give its name")
        prepare(image)
        image.load()
    turned, method = image, TURNS.get(orientation_of(image))
    (share or Share()).hold(image.width * image.height * (4 if method is None else 8))
    if method is not None:
        turned = image.transpose(method)
        turned.format = image.format  # a copy forgets it, and what 16-bit values mean depends on it
    if alpha:
        return to_rgba(turned, levels)
    seen = to_rgb(turned, levels)
    return seen.copy() if seen is image else seen


class Decoded(NamedTuple):
    """A picture, and of the file its width and height as a person sees it, and its kind: `JPEG RGB`.

    `flaw`: what is wrong with the file, where that spoils nothing. `extent`: of values of more than 8 bits.
    """

    image: Image.Image
    size: tuple[int, int]
    kind: str
    flaw: str = ""
    extent: Extent | None = None


def decode(
    content: bytes, share: Share, smallest: bool = False, levels: Levels | None = None, alpha: bool = False
) -> Decoded:
    """Raises whatever a decoder does; see `reason_for`. With `smallest` a JPEG picture comes out at an eighth.

    `alpha` as in `open_lazily`.
    """
    if ends_early(content):
        raise DataError("truncated")
    refuse_endless(content)
    try:
        return _decode(content, share, smallest, levels, alpha)
    except DataError:
        raise
    except UnidentifiedImageError:
        if (negative := with_black_zero(content)) is not None:
            return _decode(negative, share, smallest, levels, alpha, white_zero=True)
        reason = ""
    except Exception as error:
        reason = "truncated" if is_cut_webp(content) else reason_for(error)
    # Not in the clauses above: until they end, the error holds all that was read and decoded.
    if (repaired := mended(content, share)) is None:
        raise DataError(reason or reason_unread(content))
    try:
        return _decode(repaired[0], share, smallest, levels, alpha)._replace(flaw=repaired[1])
    except UnidentifiedImageError as error:
        raise DataError(reason_unread(content)) from error


def _decode(
    content: bytes, share: Share, smallest: bool, levels: Levels | None, alpha: bool, white_zero: bool = False
) -> Decoded:
    """`white_zero`: whatever the file says of it."""
    share.hold(memory_to_open(content))
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if reason := too_large(*image.size):
            raise DataError(reason)
        size, kind = image.size, f"{image.format} {image.mode}"
        if smallest:
            image.draft(image.mode, (1, 1))
        shrunk = image.size != size
        prepare(image)
        deep = is_deep(image)
        both_bytes = deep and levels is not None and levels.depth < WIDE
        whole_needs = memory_for(image, content, size, both_bytes)
        if alpha:  # the colours and the fourth channel by themselves, and the image that has both
            whole_needs += 12 * image.width * image.height
        share.hold(memory_for(image, content, image.size, both_bytes) if shrunk else whole_needs, whole_needs)
        turned = _load_upright(image)
        if white_zero:
            call_zero_white(image)
        lower, read = _lower(content) if both_bytes else None, wide_values(image)
        whole = to_rgba(image, levels, lower) if alpha else to_8_bits(image, levels, lower)
        seen = (size[::-1] if turned else size) if shrunk else whole.size
        extent = extent_of_deep(image) if deep else None if read is None else extent_of_wide(image, read)
        if not alpha and whole.mode != "RGB":
            image.close()  # gives back its values, before as much again is taken
            whole = whole.convert("RGB")
        return Decoded(whole, seen, kind, extent=extent)


def _load_upright(image: Image.Image) -> bool:
    """Whether rows and columns have changed places."""
    try:  # before its orientation: to find that, Pillow may load it too, and errors would be lost
        image.load()
    except Exception as error:
        if reason := reason_undecoded(image):
            raise DataError(reason) from error
        raise
    return turn_upright(image) in SIDEWAYS


def _lower(content: bytes) -> tuple[Image.Image, bool]:
    """The lower bytes of a picture, as `to_8_bits` takes them."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as lower:
        prepare(lower)
        in_green = keep_lower(lower)
        _load_upright(lower)
        return lower, in_green


def _turned(content: bytes, header: Header) -> bool:
    """Whether the picture is seen otherwise than it is stored."""
    if not header.annotated:
        return False
    refuse_endless(content)
    with suppress(Exception), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return orientation_of(image) in TURNS
    return False
