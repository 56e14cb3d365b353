"""Pictures: what an inspection takes can be opened, and both say the same of what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from fuzz.harness import Door, check_line
from xfer.pixels.images import open_image, open_lazily
from xfer.pixels.inspected import inspect_image
from xfer.pixels.lazy import Jpeg

SIZE = (24, 16)  # width, height
KINDS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"exif": b"", "quality": 90}),  # upright: decoded when its pixels are needed
    ("JPEG", "CMYK", {}),
    ("JPEG", "L", {"progressive": True}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "I;16", {}),
    ("GIF", "P", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "I;16", {"compression": "tiff_lzw"}),
    ("TIFF", "F", {"compression": "tiff_deflate"}),
    ("WEBP", "RGB", {"quality": 30}),
    ("BMP", "RGB", {}),
    ("PPM", "RGB", {}),
    ("PPM", "1", {}),
    ("JPEG2000", "RGB", {}),
    ("ICO", "RGBA", {}),
    ("PCX", "L", {}),
    ("TGA", "RGB", {"compression": "tga_rle"}),
    ("SGI", "RGB", {}),
)


def seeds() -> Mapping[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    made = {}
    for format, mode, options in KINDS:
        file, image = BytesIO(), Image.fromarray(pixels)
        image = (image.convert("L") if mode in ("I;16", "F") else image).convert(mode)
        exif = Image.Exif()
        exif[0x112] = 6
        if format in ("JPEG", "PNG", "WEBP"):
            options = {"exif": exif, **options}
        image.save(file, format, **options)
        made[f"{format}-{mode}-{'-'.join(options)}".replace(";", "")] = file.getvalue()
    return made


def read(path: Path) -> None:
    found = inspect_image(path)
    if found.reason is not None:
        check_line(found.reason)
    image = open_image(path)
    assert image.mode == "RGB"
    assert found.reason is None, "what is refused when it is inspected is opened"
    assert image.size == (found.width, found.height)
    lazy = open_lazily(path)
    assert (lazy.width, lazy.height) == image.size
    assert np.array_equal(np.asarray(lazy.decode() if isinstance(lazy, Jpeg) else lazy), np.asarray(image))


DOORS = {"picture": Door(seeds, read, ".png", most=1 << 14)}
