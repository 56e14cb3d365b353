"""Why a picture cannot be used, in one line: limits to its size, and what any decoder's error means."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

from xfer.errors import ConfigError, DataError
from xfer.pixels.bounds import picture_limits
from xfer.pixels.unread import NOT_AN_IMAGE
from xfer.system.limits import variable_of

_ENDED = ("truncated", "cannot load this", "not enough image data", "reached eof while", "bytes but only got")
"""What Pillow says of a file that breaks off; the second where its header is there, and none of its pixels."""


def too_large(width: int, height: int) -> str | None:
    """The limit that a size is beyond. Resized by its shorter side, a line of pixels would fill the memory."""
    limits = picture_limits()
    if width * height > limits.pixels:
        return _too_many()
    if max(width, height) > limits.ratio * min(width, height):
        return f"more than {limits.ratio} times as long as wide ({variable_of('picture_ratio')})"
    return None


def _too_many() -> str:
    return f"more than {picture_limits().pixels:,} pixels ({variable_of('picture_pixels')})"


def reason_for(error: Exception) -> str:
    """What an error raised by reading or decoding a picture says to its owner. A ConfigError is none: it is raised."""
    if isinstance(error, ConfigError):
        raise error
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return _too_many()
    if isinstance(error, UnidentifiedImageError):
        return NOT_AN_IMAGE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    said = str(error).lower()
    if isinstance(error, EOFError) or any(words in said for words in _ENDED):
        return "truncated"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be decoded ({text})"
