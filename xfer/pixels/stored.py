"""What a file says of its values and Pillow passes over: planes of 16 bits, transparent colours, white as zero."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageFile

from xfer.errors import DataError

_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF tags: of each channel; what zero means; 2 for separate planes

_KEY_FACTORS = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 1 / 256}
"""What Pillow multiplies the values of a PNG picture by, and not its transparent colour; the last it rounds down."""


def prepare(image: ImageFile.ImageFile) -> None:
    """To be called on an opened picture before it is loaded. Raises DataError for what Pillow would decode wrongly."""
    if image.format == "TIFF" and _tags(image).get(_PLANAR) == 2:
        _widen_planes(image)
    elif image.format == "PNG" and "transparency" in image.info:
        _scale_key(image)


def is_white_zero(image: Image.Image) -> bool:
    """Whether the values of a loaded picture are wide and 0 is white: with narrower ones, Pillow sees to that."""
    wide = image.mode.startswith(("I", "F"))
    return wide and image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC) == 0


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _widen_planes(image: ImageFile.ImageFile) -> None:
    """Of the layout `RGB;16L` Pillow keeps one letter for each plane, and so reads 8 bits a value."""
    if set(_tags(image).get(_BITS, ())) != {16} or any(tile.codec_name != "raw" for tile in image.tile):
        return
    if image.mode not in ("RGB", "RGBA"):
        raise DataError(f"separate planes of 16-bit {image.mode} are not read. Cure: save it with 8 bits a channel")
    order = "L" if _tags(image).prefix == b"II" else "B"
    image.tile = [tile._replace(args=_widened(tile.args, order)) for tile in image.tile]


def _widened(layout: Any, order: str) -> tuple[Any, ...]:
    channel, *others = layout
    return f"{channel};16{order}", *others


def _scale_key(image: ImageFile.ImageFile) -> None:
    key, layout = image.info["transparency"], image.tile[0].args
    if (factor := _KEY_FACTORS.get(str(layout))) is None:
        return
    image.info["transparency"] = tuple(int(v * factor) for v in key) if isinstance(key, tuple) else int(key * factor)
