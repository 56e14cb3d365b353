"""What a file says of its values and Pillow passes over: planes, signs, 12 bits, transparent colours, white as zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from xfer.errors import DataError
from xfer.system.own_process import quieten_tiff

_BITS, _PHOTOMETRIC, _CHANNELS, _PLANAR, _KIND = 258, 262, 277, 284, 339
"""TIFF: of each channel; what zero means; how many channels; 2 for separate planes; 1 unsigned, 2 signed, 3 floats."""

_SUBSAMPLING = 530  # of the two colours of YCbCr, across and down

_NATIVE = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}

_KEY_FACTORS = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 1 / 256}
"""What Pillow multiplies the values of a PNG picture by, and not its transparent colour; the last it rounds down."""


def prepare(image: ImageFile.ImageFile) -> None:
    """To be called on an opened picture before it is loaded. Raises DataError for what Pillow would decode wrongly."""
    if image.format == "TIFF":
        quieten_tiff()
        _prepare_tiff(image)
    elif image.format == "PNG" and "transparency" in image.info:
        _scale_key(image)


def is_white_zero(image: Image.Image) -> bool:
    """Whether the values of a loaded picture are wide and 0 is white: with narrower ones, Pillow sees to that."""
    wide = image.mode.startswith(("I", "F"))
    return wide and image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC) == 0


def call_zero_white(image: Image.Image) -> None:
    """Of a loaded TIFF picture, which `is_white_zero` from then on."""
    _tags(image)[_PHOTOMETRIC] = 0


def declared_values(image: Image.Image) -> Callable[[NDArray[Any]], NDArray[np.generic]] | None:
    """What makes of Pillow's values those of a loaded TIFF picture, where Pillow has taken them for others.

    int8, int64 for unsigned ones of 32 bits, and uint16 for 12 bits: brought to 16, as the file says what is white.
    """
    if image.format != "TIFF":
        return None
    kind, bits = (set(_tags(image).get(tag, (1,))) for tag in (_KIND, _BITS))
    if image.mode == "L" and (kind, bits) == ({2}, {8}):
        return lambda values: values.view(np.int8)
    if image.mode == "I" and (kind, bits) == ({1}, {32}):
        return lambda values: values.view(np.uint32).astype(np.int64)
    if image.mode == "I;16" and bits == {12}:
        return _widened_to_16
    return None


def _widened_to_16(values: NDArray[Any]) -> NDArray[np.generic]:
    values = values.astype(np.uint16)
    return values << 4 | values >> 8


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _prepare_tiff(image: ImageFile.ImageFile) -> None:
    if _tags(image).get(_PLANAR) == 2:
        _separate_planes(image)
    if image.mode == "YCbCr" and _tags(image).get(_SUBSAMPLING, (1, 1)) != (1, 1):
        raise DataError("YCbCr with colours of half the size and no compression is not read. Cure: save it as PNG")
    # What has been decompressed is in the machine's order, whatever the file's.
    image.tile = [
        tile._replace(args=(_NATIVE.get(layout, layout), *others)) if tile.codec_name == "libtiff" else tile
        for tile in image.tile
        for layout, *others in [cast(Any, tile.args)]
    ]


def _separate_planes(image: ImageFile.ImageFile) -> None:
    """Of a layout Pillow keeps a letter for each plane: of `RGB;16L` an R of 8 bits, of `L;I` an L, no negative."""
    raw = all(tile.codec_name == "raw" for tile in image.tile)
    wide = raw and set(_tags(image).get(_BITS, ())) == {16}
    if len(image.getbands()) == 1:  # a plane alone is separate from nothing
        if raw and _tags(image).get(_CHANNELS, 1) > 1:
            raise DataError(
                f"separate planes of {image.mode} and of no known meaning are not read. Cure: save it as PNG"
            )
        if raw:
            _tags(image)[_PLANAR] = 1
            cast(Any, image)._setup()
        return
    multiplied = raw and any(cast(Any, tile.args)[0] == "a" for tile in image.tile)  # colours by alpha
    if multiplied or image.mode not in ("RGB", "RGBA", *(() if wide else ("CMYK",))):
        what = f"{'16-bit ' if wide else ''}{image.mode}"
        raise DataError(f"separate planes of {what} are not read. Cure: save it as PNG")
    if wide:
        order = "L" if _tags(image).prefix == b"II" else "B"
        known = [tile for tile in image.tile if cast(Any, tile.args)[0] in image.getbands()]
        image.tile = [tile._replace(args=_widened(tile.args, order)) for tile in known]


def _widened(layout: Any, order: str) -> tuple[Any, ...]:
    channel, *others = layout
    return f"{channel};16{order}", *others


def _scale_key(image: ImageFile.ImageFile) -> None:
    key, layout = image.info["transparency"], image.tile[0].args
    if (factor := _KEY_FACTORS.get(str(layout))) is None:
        return
    image.info["transparency"] = tuple(int(v * factor) for v in key) if isinstance(key, tuple) else int(key * factor)
