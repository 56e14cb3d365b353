"""Chunks of PNG files: W3C PNG, 5.3."""

from __future__ import annotations

from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"


def chunks_of(content: bytes) -> Iterator[tuple[bytes, slice]]:
    """The name and the place of each chunk of a PNG file, as far as it goes."""
    at = len(PNG)
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], slice(at, end)
        at = end
