"""Whatever depth, meaning, planes, transparency and end a file has: the right pixels, or one true line."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import bmp, png, tiff
from PIL import Image

from xfer.pixels.images import open_image
from xfer.pixels.inspected import inspect_image

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 2**32 - 1)


def on_white(values, visible):
    return np.where(visible[..., None], values, 255).astype(np.uint8)


def as_rgb(values):
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


@st.composite
def tiffs(draw, path):
    """A TIFF file and its pixels; None for those where it holds what is not read."""
    (height, width), rng = draw(SIZES), np.random.default_rng(draw(SEEDS))
    kind, channels, order = draw(st.sampled_from("BHf")), draw(st.integers(1, 4)), draw(st.sampled_from("<>"))
    white_zero, planar = draw(st.booleans()) and channels < 3, draw(st.sampled_from([1, 2])) if channels > 2 else 1
    pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    alpha = channels in (2, 4)
    if alpha:
        pixels[..., -1] = np.where(pixels[..., -1] % 2, 255, 0)
    stored = 255 - pixels if white_zero else pixels
    top = {"B": 1, "H": 257, "f": draw(st.sampled_from([1, 1 / 255, 257]))}[kind]
    wide = (stored * np.float64(top)).astype(kind)
    if kind == "f":
        wide[0, 0, 0], pixels[0, 0, 0] = 255 * top, 0 if white_zero else 255  # so that the range is seen
    planes = [wide[..., i] for i in range(channels)] if planar == 2 else [wide if channels > 1 else wide[..., 0]]
    photometric = 2 if channels > 2 else 0 if white_zero else 1
    tiff(path, planes, photometric, planar, order, 3 if kind == "f" else 1)
    readable = (
        (kind == "B" and not (alpha and white_zero))
        or (kind == "H" and channels != 2 and not (white_zero and order == ">"))
        or (kind == "f" and channels == 1)
    )
    shown = as_rgb(pixels[..., 0] if channels < 3 else pixels[..., :3])
    return on_white(shown, pixels[..., -1]) if alpha and readable else shown if readable else None


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


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_right_pixels_or_one_true_line(tmp_path, data):
    path = tmp_path / "picture"
    right = data.draw(data.draw(st.sampled_from([tiffs, pngs, bmps, jpegs]))(path))
    reason = inspect_image(path).reason
    if right is None:
        assert reason is not None
        assert reason.startswith("TIFF with ")
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
        # Of so few bytes nobody can tell.
        assert cut.reason == "truncated" or (cut.reason == "not an image" and path.stat().st_size < 64)
