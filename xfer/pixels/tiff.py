"""Whether a TIFF file says all of what its values are, and so that Pillow knows it: TIFF 6.0, section 2.

Pillow goes on with what it has read of a directory that breaks off, and shows other pixels than the file's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes, of each type
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_BITS, _PHOTOMETRIC, _CHANNELS = 258, 262, 277
_OF_PIXELS = frozenset({*range(256, 260), 262, 273, *range(277, 280), 284, 320, *range(322, 326), 338, 339})
"""Tags that decide the pixels; a file whose comments are cut off shows the same without them."""

_BIG_ORDERS = {b"II+\0": "<", b"MM\0+": ">"}
_DIRECTORIES = frozenset({34665, 34853})  # EXIF and GPS

MOST_OVERLAP = 2**24
"""Bytes that tags may claim above those of the file: damaged ones claim anything."""

MOST_ENTRIES = 2**12
"""Of a directory; usual are 10 to 60."""

MOST_OF_A_TAG = 2**18
"""Values of a tag: strips, or tiles of 26 pixels a side in the largest picture. A colour table has fewer."""


def ends_early(content: bytes) -> bool:
    """Whether a TIFF file ends inside of its first directory, or before values of _OF_PIXELS. Not known of BigTIFF."""
    order = _ORDERS.get(content[:4])
    if order is None:
        return False
    if len(content) < 8:
        return True
    (at,) = struct.unpack_from(f"{order}I", content, 4)
    if len(content) < at + 2:
        return True
    (count,) = struct.unpack_from(f"{order}H", content, at)
    if len(content) < at + 2 + 12 * count:
        return True
    for i in range(count):
        tag, kind, n, value = struct.unpack_from(f"{order}HHII", content, at + 2 + 12 * i)
        size = n * _SIZES.get(kind, 0)
        if tag in _OF_PIXELS and size > 4 and value + size > len(content):
            return True
    return False


def with_black_zero(content: bytes) -> bytes | None:
    """A file of the same values that calls zero black; None for all but what Pillow knows only so.

    That is a single channel of 16 bits, big-endian, whose zero is white.
    """
    if not content.startswith(b"MM\0*") or ends_early(content):
        return None
    (at,) = struct.unpack_from(">I", content, 4)
    (count,) = struct.unpack_from(">H", content, at)
    entries = {struct.unpack_from(">H", content, i)[0]: i for i in range(at + 2, at + 2 + 12 * count, 12)}

    def value(tag: int, default: int) -> int:
        kind, _, short = struct.unpack_from(">HIH", content, entries[tag] + 2) if tag in entries else (3, 1, default)
        return int(short) if kind == 3 else -1

    if (value(_BITS, 1), value(_CHANNELS, 1), value(_PHOTOMETRIC, 1)) != (16, 1, 0):
        return None
    changed = bytearray(content)
    struct.pack_into(">H", changed, entries[_PHOTOMETRIC] + 8, 1)
    return bytes(changed)


def overclaims(content: bytes, start: int = 0) -> bool:
    """Whether the tags of the first directory, or of those for EXIF and GPS, claim far more bytes than there are.

    All of them may point at the same bytes, and a reader copies those for each. `start`: of the header, from which
    places are counted. False for what is no such header.
    """
    order = _ORDERS.get(content[start : start + 4]) or _BIG_ORDERS.get(content[start : start + 4])
    if order is None:
        return False
    big = content[start : start + 4] in _BIG_ORDERS
    places = [*_unpacked(content, f"{order}{'Q' if big else 'I'}", start + (8 if big else 4))]
    seen, claimed, most = set[int](), 0, len(content) - start + MOST_OVERLAP
    while places and (at := places.pop() + start) not in seen:
        seen.add(at)
        for i, (tag, kind, n, value) in enumerate(_entries(content, order, big, at)):
            claimed += min(n * _SIZES.get(kind, 0), max(len(content) - start - value, 0))
            if claimed > most or i > MOST_ENTRIES or (tag in _OF_PIXELS and n > MOST_OF_A_TAG):
                return True
            if tag in _DIRECTORIES:
                places.append(value)
    return False


def _entries(content: bytes, order: str, big: bool, at: int) -> Iterator[tuple[int, ...]]:
    """Tag, type, number of values, and the place of these, as far as the content goes."""
    head, entry = (f"{order}Q", f"{order}HHQQ") if big else (f"{order}H", f"{order}HHII")
    size = struct.calcsize(entry)
    for (count,) in filter(None, [_unpacked(content, head, at)]):
        for i in range(count):
            if not (found := _unpacked(content, entry, at + struct.calcsize(head) + i * size)):
                return
            yield found


def _unpacked(content: bytes, layout: str, at: int) -> tuple[int, ...]:
    """Nothing where the content ends before."""
    return struct.unpack_from(layout, content, at) if 0 <= at <= len(content) - struct.calcsize(layout) else ()
