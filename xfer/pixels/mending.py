"""Files that decoders refuse and viewers show: JPEG and PNG without their last bytes, PNG with more than its picture.

Markers of JPEG: ITU-T T.81, annex B. Chunks of PNG: W3C PNG, 5.3 and 11.3.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

MAX_LOST = 4096
"""Pixels at the end of a JPEG picture that may be missing, if they are not more than a hundredth or one block of it."""

_BLOCK = 256  # pixels: 16 x 16, the usual number that is coded together

CUT_SHORT = "without its last bytes"

_END = b"\xff\xd9"
_OTHER_CODES = bytes(range(1, 255)) * 8
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a value of 255 among the codes nor a restart
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_SCAN = 0xDA
_PNG = b"\x89PNG\r\n\x1a\n"
_BESIDES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT"})  # the last three: an animation


def mended(content: bytes) -> tuple[bytes, str] | None:
    """A file of the same picture that can be decoded, and what is wrong with this one; None where that is not known.

    The second is empty where nothing that is wrong is of use: in a PNG file large texts and profiles, the end, and a
    damaged animation, behind which it holds a picture as well.
    """
    if content.startswith(b"\xff\xd8"):
        whole = completed(content)
        return None if whole is None else (whole, CUT_SHORT)
    return _mended_png(content) if content.startswith(_PNG) else None


def completed(content: bytes) -> bytes | None:
    """A JPEG file with an end marker; None where more is missing than that and a corner, see MAX_LOST.

    A decoder makes up what it finds no codes for. Hence what is missing is what changes with other codes behind the
    last: nothing where only the marker is missing.
    """
    codes = content.rstrip(b"\xff")
    if not _has_all_scans(codes):
        return None
    try:
        pixels, others = (_decoded(codes + more + _END) for more in (b"", _OTHER_CODES))
    except Exception:  # damaged in another way too
        return None
    lost, size = np.count_nonzero((pixels != others).any(axis=2)), pixels.shape[0] * pixels.shape[1]
    return codes + _END if lost <= min(max(_BLOCK, size // 100), MAX_LOST, size // 2) else None


def _decoded(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image, np.uint8).reshape(image.height, image.width, -1)


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
            following = _NEXT_MARKER.search(content, at)
            at = following.start() if following else len(content)
    return 0 < components == len(refined)


def _mended_png(content: bytes) -> tuple[bytes, str] | None:
    """With whole chunks alone. Whether the last values of the picture are missing, a decoder will tell."""
    kept, others = [_PNG], False
    for name, place in _chunks(content):
        whole = place.stop <= len(content)
        if whole and name not in _BESIDES:
            kept.append(content[place])
        else:
            others = True
            if name == b"IDAT":
                data = content[place.start + 8 : place.stop - 4]
                kept.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return (b"".join(kept), "") if others else None


def _chunks(content: bytes) -> Iterator[tuple[bytes, slice]]:
    """The name and the place of each chunk of a PNG file, as far as it goes."""
    at = len(_PNG)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], slice(at, end)
        at = end
