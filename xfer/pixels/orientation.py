"""How a picture is to be turned, by its EXIF or XMP data, until it is as a person sees it."""

from __future__ import annotations

from contextlib import suppress

from PIL import ExifTags, Image, ImageOps

SIDEWAYS = range(5, 9)
"""EXIF orientations in which rows and columns change places."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What is done to a picture of each of the others but 1, which is upright."""

_WHOLE = ("exif", "Raw profile type exif")
_OF_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # they may stand behind its pixels


def orientation_of(image: Image.Image) -> int:
    """1 where nothing is known of it."""
    with suppress(Exception):  # damaged EXIF data makes no picture unusable
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in TURNS else 1
    return 1


def may_be_turned(image: Image.Image, content: bytes) -> bool:
    """Whether an opened picture, before it is loaded, may turn out to be stored otherwise than it is seen."""
    if image.format == "PNG":
        return any(words in content for words in _OF_PNG)
    return orientation_of(image) in TURNS


def turn_upright(image: Image.Image) -> int:
    """Turn a loaded picture in place, and give the orientation that it had."""
    orientation = orientation_of(image)
    if orientation in TURNS:
        for name in _WHOLE:  # or else all of it would be read and written anew, without the orientation
            image.info.pop(name, None)
        with suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
    return orientation
