"""What a JPEG 2000 file asks of a decoder, which takes memory for all of it at once: ITU-T T.800, annex A."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from xfer.errors import DataError
from xfer.pixels.faults import too_large

MOST_TILES = 2**12
"""Times components: the largest pictures of satellites have a hundred tiles."""

MOST_PARTS = 2**18
"""Precincts and code blocks of a component. The largest pictures have 44,000 blocks of the usual 64 pixels a side."""

_SIGNATURE, _CODESTREAM = b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"
_STYLES = ((b"\xff\x52", 9), (b"\xff\x53", 6))  # of all components, and of one; where the number of levels stands


def refuse_endless_jpeg2000(content: bytes) -> None:
    """Raises DataError."""
    if not content.startswith((_SIGNATURE, _CODESTREAM)):
        return
    at = content.find(_CODESTREAM)
    if at < 0 or len(content) < at + 42:
        return
    width, height, left, top, across, down, *_ = struct.unpack_from(">IIIIIIII", content, at + 8)
    (components,) = struct.unpack_from(">H", content, at + 40)
    if reason := too_large(max(width - left, 1), max(height - top, 1)):
        raise DataError(reason)
    if components > 4 or not across or not down:
        raise DataError(f"JPEG 2000 with {components} components, which is not read. Cure: save it as PNG")
    if -(-width // across) * -(-height // down) * components > MOST_TILES:
        raise DataError("JPEG 2000 in too many small tiles. Cure: save it as PNG")
    if any(_parts(*style, width - left, height - top) > MOST_PARTS for style in _styles(content, at)):
        raise DataError("JPEG 2000 in too many small parts. Cure: save it as PNG")


def _styles(content: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """The sizes of precincts, and of code blocks, in any header, also of a tile: wherever such a segment may stand."""
    for marker, levels in _STYLES:
        at = content.find(marker, start)
        while 0 <= at < len(content) - levels - 5:
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            sizes = content[at + levels + 5 : end]
            if len(sizes) in (0, content[at + levels] + 1):
                yield sizes, (content[at + levels + 1] & 15) + (content[at + levels + 2] & 15) + 4
            at = content.find(marker, at + 2)


def _parts(precincts: bytes, block: int, width: int, height: int) -> int:
    """How many a component has; each resolution has half the width of the next, and sizes are powers of two."""
    count = width * height >> block
    for halved, size in enumerate(reversed(precincts)):
        across, down = (side >> min(halved + bits, 32) for side, bits in ((width, size & 15), (height, size >> 4)))
        count += (across + 1) * (down + 1)
    return count
