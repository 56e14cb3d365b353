"""How much memory decoding an opened picture takes, before any of it is decoded: from its size, layout and format."""

from __future__ import annotations

from typing import Any

from PIL import Image

from xfer.errors import DataError
from xfer.pixels.faults import too_large
from xfer.pixels.jpeg import coefficient_bytes
from xfer.pixels.orientation import may_be_turned

_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes of a pixel in Pillow's memory; 4 in every other mode."""

_CANVAS = {"WEBP": 12, "AVIF": 12}
"""What a decoder takes for a pixel besides: of WebP two canvases and a copy, of AVIF the planes and two copies."""

FEW = 2**20
"""Pixels that no format makes much of, so that nobody has to look."""

_BY_PYTHON = frozenset({"bmp_rle", "ppm_plain"})
MOST_BY_PYTHON = 2**23
"""Pixels of a picture whose decoder is written in Python and takes a millionth of a second for each."""

_TILE_SIZES, _ROWS_PER_STRIP = (322, 323), 278  # tags of TIFF
_BITS, _CHANNELS, _PLANAR = 258, 277, 284


def memory_to_open(content: bytes) -> int:
    """Bytes that a decoder takes before it has said how large the picture is, as that of WebP does."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) < 30:
        return 0
    if content[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif content[12:16] == b"VP8L":
        sides = int.from_bytes(content[21:25], "little")
        width, height = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if reason := too_large(width, height):
        raise DataError(reason)
    return width * height * (4 + _CANVAS["WEBP"])


def memory_for(image: Image.Image, content: bytes, size: tuple[int, int], lower: bool) -> int:
    """Bytes, until the picture is there as RGB, of this size, and its file's layout is no more.

    `lower`: its lower bytes are decoded as well. Raises DataError for layouts that take much more than their picture.
    """
    if size[0] * size[1] < FEW and image.format not in ("TIFF", "JPEG", "MPO"):
        return 0
    pixels, stored = size[0] * size[1], _NARROW.get(image.mode, 4)
    tiles: Any = getattr(image, "tile", ())
    if any(tile[0] in _BY_PYTHON for tile in tiles) and pixels > MOST_BY_PYTHON:
        raise DataError(f"more than {MOST_BY_PYTHON:,} pixels as text or in runs of a BMP file. Cure: save it as PNG")
    made = 8 if lower or image.mode == "La" else 0 if image.mode == "RGB" and "transparency" not in image.info else 4
    if image.mode.startswith(("I", "F")):  # in grey first, and in RGB once the values are given back
        made = max(1, 1 + 4 - stored)
    after = stored + max(made, stored if may_be_turned(image, content) else 0)
    decoded = stored + _CANVAS.get(image.format or "", 0)
    return max(pixels * after, pixels * decoded + _of_decoder(image, content, size))


def _of_decoder(image: Image.Image, content: bytes, size: tuple[int, int]) -> int:
    if image.format in ("JPEG", "MPO"):
        return coefficient_bytes(content)
    if image.format == "JPEG2000":
        return 8 * len(image.getbands()) * size[0] * size[1]  # of 32 bits each, and once more for a tile
    return _largest_tile(image) if image.format == "TIFF" else 0


def _largest_tile(image: Image.Image) -> int:
    """Bytes of a tile or strip, of which libtiff decodes one at a time."""
    tags: Any = getattr(image, "tag_v2", {})
    across, down = (tags.get(tag, 0) for tag in _TILE_SIZES)
    if not across or not down:
        across, down = image.width, min(tags.get(_ROWS_PER_STRIP, image.height), image.height)
    elif across * down > 4 * max(image.width, 1024) * max(image.height, 1024):
        raise DataError(f"TIFF in tiles of {across} x {down} pixels, larger than the picture. Cure: save it as PNG")
    bits = sum(tags.get(_BITS, (1,))[: tags.get(_CHANNELS, 1)])
    return int(across * down * max(bits, 8 if tags.get(_PLANAR) == 2 else bits) // 8)
