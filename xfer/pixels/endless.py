"""Files that keep a decoder busy for long before it comes to the picture, or that hide a larger picture in a small one.

Whoever opens them has lost already: they are told by their bytes. Of what is not as it should be nothing is said here,
as a decoder says it better.
"""

from __future__ import annotations

import re
import struct
from itertools import islice

from xfer.errors import DataError
from xfer.pixels.chunks import PNG, chunks_of
from xfer.pixels.jpeg import refuse_endless_jpeg
from xfer.pixels.jpeg2000 import refuse_endless_jpeg2000
from xfer.pixels.tiff import overclaims

MOST_CHUNKS = 2**18
"""Of a PNG file; with 2 kB in each, they hold a file of the largest size, and usual are 8 kB."""

MOST_NOTES = 2**10
"""Chunks of a PNG file besides its picture and its animation: texts, profiles."""

MOST_BLOCKS = 2**16
"""Of up to 255 bytes each, before the picture of a GIF file."""

MOST_COMMENTS = 2**10
"""In a picture of the PPM family that is written as text."""

_MOST_HEADER = 2**16
_PPM = re.compile(rb"P\w{1,5}(?:(?:\s|#[^\r\n]*[\r\n])+[\w.+-]+){2,3}")
_AS_TEXT = (b"P1", b"P2", b"P3")
_PIXELS, _ANIMATION = b"IDAT", frozenset({b"fcTL", b"fdAT"})
_DIRECTORIES = (b"II*\0", b"MM\0*")  # that EXIF data begins with, in whatever it lies


def refuse_endless(content: bytes) -> None:
    """Raises DataError for what makes a decoder go on and on, or take more memory than the picture's size lets fear."""
    if content.startswith(b"\xff\xd8"):
        refuse_endless_jpeg(content)
        return
    if content.startswith(PNG):
        _refuse_chunks(content)
    elif content.startswith(b"GIF8"):
        _refuse_blocks(content)
    elif content[:1] == b"P":
        _refuse_text(content)
    elif content.startswith(b"\0\0\1\0"):
        _refuse_members(content)
    elif content.startswith((*_DIRECTORIES, b"II+\0", b"MM\0+")):
        _refuse_overclaiming(content)
    elif content[8:12] == b"WEBP":
        _refuse_exif_of_webp(content)
    else:
        _refuse_boxes(content)


def _refuse_overclaiming(content: bytes) -> None:
    if overclaims(content):
        raise DataError("tags that claim more than the file holds. Cure: save the picture anew")


def _refuse_exif_of_webp(content: bytes) -> None:
    at = 12
    while len(content) >= at + 8 and content[at : at + 4] != b"EXIF":
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    _refuse_overclaiming(content[at + 8 :].removeprefix(b"Exif\0\0"))


def _refuse_boxes(content: bytes) -> None:
    """Of AVIF and JPEG 2000, whose EXIF data may lie anywhere."""
    refuse_endless_jpeg2000(content)
    for header in _DIRECTORIES:
        at = content.find(header)
        for _ in range(16):
            if at < 0:
                break
            _refuse_overclaiming(content[at:])
            at = content.find(header, at + 1)


def _refuse_chunks(content: bytes) -> None:
    notes = 0
    for count, (name, place) in enumerate(chunks_of(content)):
        if name == b"eXIf":
            _refuse_overclaiming(content[place.start + 8 : place.stop - 4])
        notes += name != _PIXELS and name not in _ANIMATION
        if count > MOST_CHUNKS or notes > MOST_NOTES:
            what = f"{MOST_NOTES:,} chunks besides its pixels" if notes > MOST_NOTES else f"{MOST_CHUNKS:,} chunks"
            raise DataError(f"PNG with more than {what}. Cure: save it anew")


def _refuse_blocks(content: bytes) -> None:
    at = 13 + (3 * 2 ** ((content[10] & 7) + 1) if len(content) > 10 and content[10] & 128 else 0)
    blocks = length = 0
    while content[at : at + 1] == b"!":
        at += 2
        while at < len(content) and content[at]:
            blocks, length = blocks + 1, length + content[at]
            if blocks > MOST_BLOCKS or length > 2**20:
                raise DataError("GIF with more than 1 MiB before its picture. Cure: save it anew")
            at += 1 + content[at]
        at += 1


def _refuse_text(content: bytes) -> None:
    if len(content) > _MOST_HEADER and not _PPM.match(content[:_MOST_HEADER]):
        raise DataError("damaged in its header")
    if content.startswith(_AS_TEXT) and content.count(b"#") > MOST_COMMENTS:
        raise DataError(f"more than {MOST_COMMENTS:,} comments in a picture as text. Cure: save it as PNG")


def _refuse_members(content: bytes) -> None:
    """Of an ICO file; the sizes that it gives for them need not be those that they have."""
    (count,) = struct.unpack_from("<H", content, 4) if len(content) > 6 else (0,)
    for i in islice(range(count), 2**10):
        if len(content) < 22 + 16 * i:
            return
        (at,) = struct.unpack_from("<I", content, 18 + 16 * i)
        member = content[at : at + 24]
        if len(member) < 24:
            continue
        width, height = (
            struct.unpack_from(">II", member, 16) if member.startswith(PNG) else struct.unpack_from("<II", member, 4)
        )
        if width * height > 2 * 1024 * 1024:
            raise DataError("ICO with a picture of more than 1,024 pixels a side. Cure: save it as PNG")
