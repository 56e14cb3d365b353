"""What a request brings: its bytes, bounded as they come, and the pictures among them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np

from xfer.arrays import Pixels
from xfer.errors import DataError, XferError
from xfer.pixels.augment import Transform, apply
from xfer.pixels.bounds import Share
from xfer.pixels.channels import FOUR, channels_of
from xfer.pixels.faults import reason_for
from xfer.pixels.images import decode
from xfer.pixels.levels import levels_of

MOST_PICTURES = 64
"""Of one request."""


class TooLargeError(XferError):
    """More bytes than a request may have."""


async def read_body(chunks: AsyncIterator[bytes], headers: Mapping[str, str], most: int) -> bytes:
    """All of a request. Raises TooLargeError as soon as it is too large, whatever its headers claim."""
    too_large = TooLargeError(f"more than {most:,} bytes. Cure: fewer or smaller pictures, or xfer serve --max-upload")
    claimed = headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed[:20]) > most:
        raise too_large
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > most:
            raise too_large
    return bytes(content)


async def pictures_in(body: bytes, headers: Any) -> list[tuple[str, bytes]]:
    """Name -> bytes of each picture, from a form (multipart/form-data) or from the body itself.

    Raises DataError for a form that is none, and for none or too many pictures.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if not body:
            raise DataError("no picture: expected its bytes, or a form with files")
        return [("picture", body)]
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def whole() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await MultiPartParser(headers, whole(), max_files=MOST_PICTURES, max_fields=MOST_PICTURES).parse()  # type: ignore[arg-type]
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        reason = getattr(error, "message", None) or str(error) or type(error).__name__
        raise DataError(f"the form cannot be read ({reason})") from None
    try:
        files = [value for _, value in form.multi_items() if not isinstance(value, str)]
        found = [(file.filename or f"picture {i}", await file.read()) for i, file in enumerate(files)]
    finally:
        await form.close()  # what it has put into files goes with it
    if not found:
        raise DataError("no picture: expected files in the form")
    return found


def pixels_of(name: str, content: bytes, transforms: tuple[Transform, ...], whole: bool) -> Pixels:
    """What the transforms make of a file's bytes, the same pixels as of the file; `whole`: the picture as it is.

    Raises DataError with the name and the reason, where it cannot be used.
    """
    levels = levels_of(transforms)
    try:
        with Share() as share:
            alpha = channels_of(transforms) == FOUR and not whole
            image = decode(content, share, levels=levels, alpha=alpha).image
            steps = [step for step in transforms if step is levels] if whole else transforms
            return apply(image, steps, np.random.default_rng((0, 0, 0)))
    except Exception as error:  # a decoder fed with garbage can raise anything
        raise DataError(f"{name}: {reason_for(error)}") from None
