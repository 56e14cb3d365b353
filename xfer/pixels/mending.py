"""Files that decoders refuse and viewers show: JPEG and PNG without their last bytes, PNG with more than its picture.

Markers of JPEG: ITU-T T.81, annex B. Chunks of PNG: W3C PNG, 5.3 and 11.3.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from xfer.errors import DataError
from xfer.pixels.bounds import Share
from xfer.pixels.chunks import PNG, chunks_of
from xfer.pixels.faults import too_large
from xfer.pixels.jpeg import NEXT_MARKER, coefficient_bytes
from xfer.pixels.strips import strips_of

MAX_LOST = 4096
"""Pixels at the end of a JPEG picture that may be missing, if they are not more than a hundredth or one block of it."""

_BLOCK = 256  # pixels: 16 x 16, the usual number that is coded together

CUT_SHORT = "without its last bytes"

_END = b"\xff\xd9"
_OTHER_CODES = bytes(range(1, 255)) * 8
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_SCAN = 0xDA
_BESIDES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT"})  # the last three: an animation


def mended(content: bytes, share: Share) -> tuple[bytes, str] | None:
    """A file of the same picture that can be decoded, and what is wrong with this one; None where that is not known.

    The second is empty where nothing that is wrong is of use: in a PNG file large texts and profiles, the end, and a
    damaged animation, behind which it holds a picture as well.
    """
    if content.startswith(b"\xff\xd8"):
        whole = completed(content, share)
        return None if whole is None else (whole, CUT_SHORT)
    return _mended_png(content) if content.startswith(PNG) else None


def completed(content: bytes, share: Share) -> bytes | None:
    """A JPEG file with an end marker; None where more is missing than that and a corner, see MAX_LOST.

    A decoder makes up what it finds no codes for. Hence what is missing is what changes with other codes behind the
    last: nothing where only the marker is missing.
    """
    codes = content.rstrip(b"\xff")
    if not _has_all_scans(codes):
        return None
    try:
        lost, size = _lost(codes, share)
    except Exception:  # damaged in another way too
        return None
    return codes + _END if lost <= min(max(_BLOCK, size // 100), MAX_LOST, size // 2) else None


def _lost(codes: bytes, share: Share) -> tuple[int, int]:
    """How many pixels change with other codes behind the last, and how many there are."""
    with (
        Image.open(io.BytesIO(codes + _END), formats=("JPEG",)) as image,
        Image.open(io.BytesIO(codes + _OTHER_CODES + _END), formats=("JPEG",)) as other,
    ):
        if reason := too_large(*image.size):
            raise DataError(reason)
        size = image.width * image.height
        share.hold(2 * (4 * size + coefficient_bytes(codes)))
        image.load()
        other.load()
        return sum(_count_unlike(*parts) for parts in strips_of(image, other)), size


def _count_unlike(image: Image.Image, other: Image.Image) -> int:
    pixels, others = (np.asarray(i, np.uint8).reshape(i.height, i.width, -1) for i in (image, other))
    return int(np.count_nonzero((pixels != others).any(axis=2)))


def _has_all_scans(content: bytes) -> bool:
    """Whether the last codes of every component have begun: a progressive file shows a coarse picture before."""
    at, components, refined = 2, 0, set[int]()
    while len(content) > at + 4 and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at + 4 : at + 2 + length]
        at += 2 + length
        if marker in _FRAMES and len(segment) > 5:
            components = segment[5]
        if marker == _SCAN and len(segment) > 3:
            if segment[-2] == 63 and not segment[-1] & 15:  # up to the last coefficient and down to the last bit
                refined.update(segment[1 : 1 + 2 * segment[0] : 2])
            following = NEXT_MARKER.search(content, at)
            at = following.start() if following else len(content)
    return 0 < components == len(refined)


def _mended_png(content: bytes) -> tuple[bytes, str] | None:
    """With whole chunks alone. Whether the last values of the picture are missing, a decoder will tell."""
    kept, others = [PNG], False
    for name, place in chunks_of(content):
        whole = place.stop <= len(content)
        if whole and name not in _BESIDES:
            kept.append(content[place])
        else:
            others = True
            if name == b"IDAT":
                data = content[place.start + 8 : place.stop - 4]
                kept.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return (b"".join(kept), "") if others else None
