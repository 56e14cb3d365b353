"""Whatever depth, meaning, planes, transparency and end a file has: the right pixels, or one true line."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import bmp, png, tiff
from PIL import Image

from xfer.pixels import strips
from xfer.pixels.images import open_image
from xfer.pixels.inspected import inspect_image

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 2**32 - 1)


def on_white(values, visible):
    return np.where(visible[..., None], values, 255).astype(np.uint8)


def as_rgb(values):
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def muldiv(a, b):
    """a * b / 255, rounded as Pillow does it."""
    product = a.astype(int) * b + 128
    return (product + (product >> 8)) >> 8


def from_inks(inks):
    paper = 255 - inks[..., 3:].astype(int)
    return (paper - muldiv(inks[..., :3], paper)).astype(np.uint8)


KINDS = {"uint8": 1, "uint16": 1, "uint12": 1, "uint32": 1, "int8": 2, "int16": 2, "int32": 2, "float32": 3}
TOPS = {"uint16": [257], "uint32": [1, 257], "int8": [0.5], "int32": [1, 257], "float32": [1, 1 / 255, 257]}


class Layout(NamedTuple):
    """Of a TIFF file. `alpha` of the last of 2 or 4 channels, or inks, which are 4."""

    kind: str
    channels: int
    order: str
    white_zero: bool
    planar: int
    deflate: bool
    alpha: int
    inks: bool

    def is_read(self):
        if self.channels == 1:
            if self.kind in ("uint12", "uint32"):
                return self.order == "<" and not self.white_zero
            return not self.white_zero or self.kind in ("uint8", "uint16", "float32") or self[:3:2] == ("int16", ">")
        if (self.channels, self.planar, self.alpha) == (2, 2, 0):
            wide_negative = self.kind == "uint16" and self.white_zero and self.order == ">"
            return self.deflate and not wide_negative and self._replace(channels=1).is_read()
        if self.kind not in ("uint8", "uint16") or self.white_zero or (self.kind, self.channels) == ("uint16", 2):
            return False
        if self.planar == 1 or self.channels == 3:
            return True
        raw_wide = self.kind == "uint16" and not self.deflate
        if self.inks:
            return not raw_wide
        if self.alpha == 0:
            return self.deflate or raw_wide
        return self.channels == 4 and (self.alpha == 2 or self.deflate)


@st.composite
def layouts(draw):
    channels = draw(st.integers(1, 4))
    return Layout(
        kind=draw(st.sampled_from(list(KINDS) if channels == 1 else ["uint8", "uint16", "float32"])),
        channels=channels,
        order=draw(st.sampled_from("<>")),
        white_zero=draw(st.booleans()) and channels < 3,
        planar=draw(st.sampled_from([1, 2])),
        deflate=draw(st.booleans()),
        alpha=draw(st.sampled_from([0, 1, 2])),
        inks=draw(st.booleans()) and channels == 4,
    )


@st.composite
def tiffs(draw, path):
    """A TIFF file and its pixels; None for those where it holds what is not read."""
    (height, width), rng, layout = draw(SIZES), np.random.default_rng(draw(SEEDS)), draw(layouts())
    pixels = rng.integers(0, 256, (height, 2 * width, layout.channels), np.uint8)
    has_alpha = layout.channels in (2, 4) and layout.alpha > 0 and not layout.inks
    if has_alpha:
        pixels[..., -1] = np.where(pixels[..., -1] % 2, 255, 0)
        if layout.alpha == 1:
            pixels[pixels[..., -1] == 0] = 0
    if layout.kind == "uint12":
        wide = np.rint(pixels * (4095 / 255)).astype(np.uint16)
    else:
        top = draw(st.sampled_from(TOPS.get(layout.kind, [1])))
        if layout.kind in ("float32", "int32", "uint32"):
            pixels[0, 0, 0] = 0 if layout.white_zero else 255  # so that the range is seen
        wide = ((255 - pixels if layout.white_zero else pixels) * np.float64(top)).astype(layout.kind)
        pixels = wide.astype(np.uint8) if layout.kind == "int8" else pixels
    separate = [wide[..., i] for i in range(layout.channels)]
    planes = separate if layout.planar == 2 else [wide if layout.channels > 1 else wide[..., 0]]
    photometric = 5 if layout.inks else 2 if layout.channels > 2 else 0 if layout.white_zero else 1
    bits = 12 if layout.kind == "uint12" else None
    options = {"deflate": layout.deflate, "alpha": layout.alpha, "bits": bits}
    tiff(path, planes, photometric, layout.planar, layout.order, KINDS[layout.kind], **options)
    if not layout.is_read():
        return None
    shown = from_inks(pixels) if layout.inks else as_rgb(pixels[..., 0] if layout.channels < 3 else pixels[..., :3])
    return on_white(shown, pixels[..., -1]) if has_alpha else shown


@st.composite
def pngs(draw, path):
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    colour = draw(st.sampled_from([0, 2, 4, 6]))
    bits = draw(st.sampled_from([1, 2, 4, 8, 16] if colour == 0 else [8, 16]))
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    levels = rng.integers(0, 2 ** min(bits, 8), (height, width, channels))
    if colour > 2:
        levels[..., -1] = np.where(levels[..., -1] % 2, 255, 0)
    stored = (levels * 257).astype(np.uint16) if bits == 16 else levels.astype(np.uint8)
    key = [int(v) for v in stored[0, 0]] if colour < 4 and draw(st.booleans()) else None
    png(path, stored[..., 0] if channels == 1 else stored, colour, bits if bits < 8 else None, key)
    shown = as_rgb(levels[..., 0] * 255 // (2 ** min(bits, 8) - 1)) if channels < 3 else levels[..., :3]
    if colour > 2:
        return on_white(shown, levels[..., -1])
    return on_white(shown, np.ones((height, width)) if key is None else (stored != np.array(key)).any(axis=2))


@st.composite
def bmps(draw, path):
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    rgba = rng.integers(0, 256, (height, width, 4), np.uint8)
    rgba[..., 3] = np.where(rgba[..., 3] % 2, 255, 0) if draw(st.booleans()) else draw(st.sampled_from([0, 255]))
    bmp(path, rgba)
    return on_white(rgba[..., :3], rgba[..., 3]) if rgba[..., 3].any() else rgba[..., :3]


@st.composite
def jpegs(draw, path):
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    image = image.convert(draw(st.sampled_from(["RGB", "L", "CMYK"])))
    image.save(path, "JPEG", quality=draw(st.integers(30, 95)), progressive=draw(st.booleans()))
    return np.asarray(Image.open(path).convert("RGB"))


LOSSLESS = {
    "PPM": {},
    "TGA": {"compression": "tga_rle"},
    "PCX": {},
    "SGI": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "JPEG2000": {"irreversible": False, "mct": 0},
}


@st.composite
def lossless(draw, path):
    """Of the other formats that a recipe may add."""
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    format = draw(st.sampled_from(list(LOSSLESS)))
    image = image.convert("L") if format == "GIF" or draw(st.booleans()) else image
    image.save(path, format, **LOSSLESS[format])
    return np.asarray(image.convert("RGB"))


@st.composite
def palettes(draw, path):
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    colours = rng.integers(0, 256, (draw(st.integers(2, 256)), 3), np.uint8)
    places = rng.integers(0, len(colours), (height, width), np.uint8)
    image = Image.fromarray(places, "P")
    image.putpalette(colours.tobytes())
    format, key = draw(st.sampled_from(["PNG", "GIF", "BMP", "TIFF"])), draw(st.sampled_from([None, int(places[0, 0])]))
    image.save(path, format, **({} if key is None or format in ("BMP", "TIFF") else {"transparency": key}))
    seen = places if key is None or format in ("BMP", "TIFF") else np.where(places == key, -1, places)
    return on_white(colours[seen], seen >= 0)


WRITERS = [tiffs, tiffs, pngs, bmps, jpegs, palettes, lossless]


@pytest.fixture(autouse=True)
def strips_of_any_size(monkeypatch):
    monkeypatch.setattr(strips, "STRIP", strips.STRIP)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_right_pixels_or_one_true_line(tmp_path, data):
    path = tmp_path / "picture"
    strips.STRIP = data.draw(st.sampled_from([2**18, 100]))  # pixels: whole, or in many strips
    right = data.draw(data.draw(st.sampled_from(WRITERS))(path))
    reason = inspect_image(path).reason
    if right is None:
        assert reason is not None
        assert reason.startswith(("TIFF with ", "separate planes of "))
        return
    assert reason is None
    np.testing.assert_array_equal(np.asarray(open_image(path)), right)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(1, len(content) - 1))])
    cut = inspect_image(path)
    if cut.reason is None and not cut.flaw:
        np.testing.assert_array_equal(np.asarray(open_image(path)), right)
    elif cut.reason is None:
        lost = (np.asarray(open_image(path)) != right).any(axis=2)
        assert lost.sum() <= max(2 * 16 * 16, lost.size // 50)
    else:
        told = ("truncated", "cannot be decoded (broken data stream when reading image file)")
        # Of so few bytes nobody can tell: a header of PCX has 128.
        assert cut.reason.startswith(told) or (cut.reason == "not an image" and path.stat().st_size < 128)
