"""The header of a JPEG file, what its decoder is asked for, and how to have only its first rows decoded.

Rows are stored from top to bottom, and their codes can only be read in that order: what lies above a crop or beside
it has to be decoded too, but what lies below need not be. A header that claims fewer rows makes any decoder stop there.
Where the codes come in several scans, each over the whole picture, a decoder keeps the coefficients of all of it.
Markers and their layout: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from xfer.errors import DataError
from xfer.pixels.bounds import picture_limits
from xfer.pixels.tiff import overclaims
from xfer.system.limits import variable_of

_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman codes: baseline, extended, progressive
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BEFORE_FRAME = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})  # tables, restarts, comments, applications
_EXIF_OR_XMP, _MPF, _SCAN, _END = 0xE1, 0xE2, 0xDA, 0xD9
_ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9), 0xFF})  # no length follows them; fill bytes and restarts

NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Neither a value of 255 among the codes nor a restart."""

_SCANS = re.compile(rb"\xff\xda")  # found five times as fast as by bytes.count

MOST_SEGMENTS = 2**12
"""Before the codes, and bytes between them that are none: what photographs have by the dozen."""


class Header(NamedTuple):
    """Of three components, 8 bits each.

    at         where in the file the height stands, two bytes
    reach      rows below a row that its pixels can depend on: those to the first of the next row of colours
    annotated  there is EXIF or XMP data, which may say that the picture is to be turned
    memory     bytes to decode all of it
    """

    height: int
    width: int
    at: int
    reach: int
    annotated: bool
    memory: int


def read_header(content: bytes) -> Header | None:
    """None where anything is unusual, or wrong: a full decoder knows what to do with it.

    Raises DataError for more scans than the limit.
    """
    if not content.startswith(b"\xff\xd8"):
        return None
    at, annotated = 2, False
    while len(content) > at + 19 and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _PLAIN_FRAMES:
            return _frame(content, at + 4, annotated)
        if marker not in _BEFORE_FRAME:
            return None
        annotated |= marker == _EXIF_OR_XMP
        at += 2 + length
    return None


def _frame(content: bytes, at: int, annotated: bool) -> Header | None:
    bits, components = content[at], content[at + 5]
    height, width = (int.from_bytes(content[i : i + 2], "big") for i in (at + 1, at + 3))
    if bits != 8 or components != 3 or not height or not width:
        return None
    coarsest = max(content[at + 7 + 3 * i] & 15 for i in range(components))  # vertical sampling factors
    memory = 4 * width * height + (_coefficients(content, at - 4) if _in_scans(content, at - 4) else 0)
    return Header(height, width, at + 1, coarsest, annotated, memory)


def refuse_endless_jpeg(content: bytes) -> None:
    """Raises DataError for what makes a decoder go on and on: segments, directories in them, scans."""
    exif, steps, at = bytearray(), 0, 2
    while at + 4 <= len(content):
        if (steps := steps + 1) > MOST_SEGMENTS:
            raise DataError(f"JPEG with more than {MOST_SEGMENTS:,} segments before its picture. Cure: save it anew")
        if content[at] != 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            _in_scans(content, at)
        if marker in (_SCAN, _END):
            break
        start, at = at + 4, at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        data = content[start:at] if marker in (_EXIF_OR_XMP, _MPF) else b""
        if data.startswith(b"Exif\0\0"):
            exif += data[6:]
        elif data.startswith(b"MPF\0") and overclaims(data, 4):
            raise DataError("JPEG whose index of pictures claims more than it holds. Cure: save it anew")
    if overclaims(bytes(exif)):
        raise DataError("EXIF data that claims more than it holds. Cure: save the picture anew")


def coefficient_bytes(content: bytes) -> int:
    """What a decoder keeps of a JPEG picture besides its pixels."""
    at = 2
    while at + 12 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            return _coefficients(content, at) if _first_scan(content, at) else 0
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + length
    return 0


def _coefficients(content: bytes, at: int) -> int:
    """Two bytes for each, as many as pixels in each component; `at`: of the frame's marker."""
    height, width = (int.from_bytes(content[i : i + 2], "big") for i in (at + 5, at + 7))
    factors = [content[i] for i in range(at + 11, min(at + 10 + 3 * content[at + 9], len(content)), 3)]
    across, down = (max((max(f >> shift & 15, 1) for f in factors), default=1) for shift in (4, 0))
    return 2 * width * height * sum((f >> 4) * (f & 15) for f in factors) // (across * down)


def _in_scans(content: bytes, at: int) -> bool:
    """Whether the codes come in more than one scan; `at`: of the frame's marker. Raises DataError for too many."""
    if not (start := _first_scan(content, at)):
        return False
    most = picture_limits().scans
    found = sum(1 for _ in islice(_SCANS.finditer(content, start), most + 1))
    if found > most and _scans(content, start, most) > most:
        raise DataError(f"JPEG with more than {most} scans. Cure: save it anew, or {variable_of('picture_scans')}")
    return True


def _first_scan(content: bytes, at: int) -> int:
    """Where, or before, the first of several scans begins; 0 where there is one alone. `at`: of the frame's marker."""
    progressive, components = content[at + 1] in _PROGRESSIVE, content[at + 9] if len(content) > at + 9 else 0
    at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    while not progressive and at + 5 <= len(content) and content[at] == 0xFF and content[at + 1] != _SCAN:
        at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at if progressive or content[at + 4 : at + 5] != bytes([components]) else 0


def _scans(content: bytes, at: int, most: int) -> int:
    """Up to one more than `most`; not those of what stands behind the picture, or in a segment."""
    count = 0
    while count <= most and (marker := NEXT_MARKER.search(content, at)) and content[marker.end() - 1] != _END:
        at = marker.start() + 2 + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        count += content[marker.end() - 1] == _SCAN
    return count


def first_rows(content: bytes, header: Header, rows: int) -> tuple[bytes | bytearray, int]:
    """A file with the same first `rows` rows, bit for bit, and its height: it may have some more, not to be used."""
    height = rows + header.reach
    if height >= header.height:
        return content, header.height
    shorter = bytearray(content)
    shorter[header.at : header.at + 2] = height.to_bytes(2, "big")
    return shorter, height
