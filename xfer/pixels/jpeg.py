"""The header of a JPEG file, and how to have only its first rows decoded.

Rows are stored from top to bottom, and their codes can only be read in that order: what lies above a crop or beside
it has to be decoded too, but what lies below need not be. A header that claims fewer rows makes any decoder stop there.
Markers and their layout: ITU-T T.81, annex B.
"""

from __future__ import annotations

from typing import NamedTuple

_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman codes: baseline, extended, progressive
_BEFORE_FRAME = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})  # tables, restarts, comments, applications
_EXIF_OR_XMP = 0xE1


class Header(NamedTuple):
    """Of three components, 8 bits each.

    at         where in the file the height stands, two bytes
    reach      rows below a row that its pixels can depend on: those to the first of the next row of colours
    annotated  there is EXIF or XMP data, which may say that the picture is to be turned
    """

    height: int
    width: int
    at: int
    reach: int
    annotated: bool


def read_header(content: bytes) -> Header | None:
    """None where anything is unusual, or wrong: a full decoder knows what to do with it."""
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
    return Header(height, width, at + 1, coarsest, annotated)


def first_rows(content: bytes, header: Header, rows: int) -> tuple[bytes | bytearray, int]:
    """A file with the same first `rows` rows, bit for bit, and its height: it may have some more, not to be used."""
    height = rows + header.reach
    if height >= header.height:
        return content, header.height
    shorter = bytearray(content)
    shorter[header.at : header.at + 2] = height.to_bytes(2, "big")
    return shorter, height
