"""Pictures whose values mean something else than Pillow takes them for."""

import numpy as np
import pytest
from picture_files import bmp, png, tiff
from PIL import Image

from xfer.errors import DataError
from xfer.pixels.images import open_image, upright
from xfer.pixels.inspected import inspect_image
from xfer.pixels.levels import Extent

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 16, 4), np.uint8)


def pixels(path):
    return np.asarray(open_image(path))


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("planar", [1, 2])
def test_sixteen_bits_with_white_as_zero(tmp_path, order, deflate, planar):
    path = tiff(tmp_path / "x.tif", [65535 - LEVELS.astype(np.uint16) * 257], 0, planar, order, deflate=deflate)
    np.testing.assert_array_equal(pixels(path), grey(LEVELS))


@pytest.mark.parametrize("top", [1, 255, 65535])
@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_with_white_as_zero(tmp_path, top, order):
    values = ((255 - LEVELS.astype(np.float32)) * np.float32(top / 255)).astype(np.float32)
    values[0, 0] = np.nan
    right = LEVELS.copy()
    right[0, 0] = 0  # what is no number stays black
    path = tiff(tmp_path / "x.tif", [values], photometric=0, order=order, kind=3)
    np.testing.assert_array_equal(pixels(path), grey(right))


@pytest.mark.parametrize("order", ["<", ">"])
def test_separate_planes_of_sixteen_bits(tmp_path, order):
    planes = [np.uint16(257) * COLOURS[..., i] for i in range(3)]
    path = tiff(tmp_path / "x.tif", planes, photometric=2, planar=2, order=order)
    np.testing.assert_array_equal(pixels(path), COLOURS[..., :3])


def test_separate_planes_with_an_alpha_plane(tmp_path):
    alpha = np.where(LEVELS[:12] % 2, 65535, 0).astype(np.uint16)
    planes = [*(np.uint16(257) * COLOURS[..., i] for i in range(3)), alpha]
    path = tiff(tmp_path / "x.tif", planes, photometric=2, planar=2)
    np.testing.assert_array_equal(pixels(path), np.where(alpha[..., None], COLOURS[..., :3], 255))


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("values", "kind", "photometric"),
    [
        (LEVELS, 1, 1),
        (255 - LEVELS, 1, 0),
        (LEVELS.astype(np.uint16) * 257, 1, 1),
        (LEVELS.astype(np.int16), 2, 1),
        (LEVELS.astype(np.int32), 2, 1),
        (LEVELS.astype(np.float32), 3, 1),
        (255 - LEVELS.astype(np.float32), 3, 0),
    ],
)
@pytest.mark.parametrize("planar", [1, 2])
def test_a_plane_alone_is_as_it_would_be_among_none(tmp_path, values, kind, photometric, planar, order, deflate):
    path = tiff(tmp_path / "x.tif", [values], photometric, planar, order, kind, deflate)
    np.testing.assert_array_equal(pixels(path), grey(LEVELS))


@pytest.mark.parametrize(
    ("channels", "dtype", "photometric", "alpha", "what"),
    [
        (4, np.uint16, 5, 2, "16-bit CMYK"),
        (2, np.uint8, 1, 2, "LA"),
        (3, np.uint8, 8, 2, "LAB"),
        (3, np.uint8, 6, 2, "YCbCr"),
        (4, np.uint8, 2, 1, "RGBA"),
        (4, np.uint16, 2, 1, "16-bit RGBA"),
        (2, np.uint16, 1, 0, "I;16 and of no known meaning"),
    ],
)
def test_separate_planes_that_are_refused(tmp_path, channels, dtype, photometric, alpha, what):
    planes = [COLOURS[..., i].astype(dtype) for i in range(channels)]
    path = tiff(tmp_path / "x.tif", planes, photometric, planar=2, alpha=alpha)
    with pytest.raises(DataError, match=f"x.tif: separate planes of {what} are not read. Cure: save it as PNG$"):
        open_image(path)


def test_a_fourth_plane_of_no_known_meaning(tmp_path):
    planes = [np.uint16(257) * COLOURS[..., i] for i in range(4)]
    path = tiff(tmp_path / "x.tif", planes, photometric=2, planar=2, alpha=0)
    np.testing.assert_array_equal(pixels(path), COLOURS[..., :3])


@pytest.mark.parametrize("order", ["<", ">"])
def test_eight_bits_with_a_sign(tmp_path, order):
    signed = (LEVELS.astype(int) - 128).astype(np.int8)
    np.testing.assert_array_equal(pixels(tiff(tmp_path / "x.tif", [signed], order=order, kind=2)), grey(LEVELS))
    positive = (LEVELS // 2).astype(np.int8)
    np.testing.assert_array_equal(pixels(tiff(tmp_path / "x.tif", [positive], order=order, kind=2)), grey(LEVELS // 2))


def test_thirty_two_bits_without_a_sign(tmp_path):
    path = tiff(tmp_path / "x.tif", [LEVELS.astype(np.uint32) * (2**32 // 255)])
    np.testing.assert_array_equal(pixels(path), grey(LEVELS))


def test_twelve_bits_are_white_at_their_highest(tmp_path):
    values = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)
    path = tiff(tmp_path / "x.tif", [values], bits=12)
    np.testing.assert_array_equal(pixels(path), grey(LEVELS))
    assert inspect_image(path).extent == Extent("u", 0, 65535)


@pytest.mark.parametrize("order", ["<", ">"])
def test_greys_that_alpha_has_multiplied(tmp_path, order):
    alpha = np.where(LEVELS % 2, 255, 0)
    values = np.stack([np.where(alpha, LEVELS, 0), alpha], axis=2).astype(np.uint8)
    right = grey(np.where(alpha, LEVELS, 255))
    np.testing.assert_array_equal(pixels(tiff(tmp_path / "x.tif", [values], order=order, alpha=1)), right)


def test_colours_of_half_the_size_that_are_not_compressed(tmp_path):
    path = tiff(tmp_path / "x.tif", [COLOURS[..., :3]], photometric=6, tags=[(530, "H", [2, 2])])
    with pytest.raises(DataError, match="YCbCr with colours of half the size and no compression is not read"):
        open_image(path)


def test_an_image_that_somebody_opened(tmp_path):
    """It is not loaded yet, and comes out as its file does; 6: a quarter turn to the right."""
    planes = [np.uint16(257) * COLOURS[..., i] for i in range(3)]
    with Image.open(tiff(tmp_path / "x.tif", planes, photometric=2, planar=2)) as image:
        np.testing.assert_array_equal(np.asarray(upright(image)), COLOURS[..., :3])
    turned = tiff(tmp_path / "t.tif", [65535 - LEVELS.astype(np.uint16) * 257], photometric=0, tags=[(274, "H", [6])])
    with Image.open(turned) as image:
        np.testing.assert_array_equal(np.asarray(upright(image)), grey(np.rot90(LEVELS, -1)))


def test_an_image_that_somebody_opened_is_damaged(tmp_path):
    path = png(tmp_path / "x.png", COLOURS[..., :3], 2)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"xxxx" + content[104:])
    with Image.open(path) as image, pytest.raises(OSError, match="broken data stream"):
        upright(image)


@pytest.mark.parametrize(("bits", "factor"), [(2, 85), (4, 17), (8, 1), (16, 1 / 257)])
def test_a_transparent_grey(tmp_path, bits, factor):
    stored = RNG.integers(0, 2**bits, (8, 9), np.uint16)
    key = int(stored[3, 4])
    values = stored if bits == 16 else stored.astype(np.uint8)
    seen = pixels(png(tmp_path / "x.png", values, 0, bits, key=[key]))
    np.testing.assert_array_equal(seen, grey(np.where(stored == key, 255, np.rint(stored * factor))))


def test_a_transparent_colour_of_sixteen_bits(tmp_path):
    stored = np.uint16(257) * COLOURS[..., :3]
    stored[2:5, 3:6] = 5000, 300, 65000
    right = (stored >> 8).astype(np.uint8)
    right[2:5, 3:6] = 255
    np.testing.assert_array_equal(pixels(png(tmp_path / "x.png", stored, 2, key=[5000, 300, 65000])), right)


def test_an_alpha_channel_that_nobody_filled_in(tmp_path):
    blank, half = COLOURS.copy(), COLOURS.copy()
    blank[..., 3] = 0
    half[..., 3] = np.where(LEVELS[:12] % 2, 255, 0)
    np.testing.assert_array_equal(pixels(bmp(tmp_path / "blank.bmp", blank)), COLOURS[..., :3])
    right = np.where(half[..., 3:], COLOURS[..., :3], 255)
    np.testing.assert_array_equal(pixels(bmp(tmp_path / "half.bmp", half)), right)
