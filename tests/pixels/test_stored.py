"""Pictures whose values mean something else than Pillow takes them for."""

import numpy as np
import pytest
from picture_files import bmp, png, tiff

from xfer.errors import DataError
from xfer.pixels.images import open_image

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 16, 4), np.uint8)


def pixels(path):
    return np.asarray(open_image(path))


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def test_sixteen_bits_with_white_as_zero(tmp_path):
    path = tiff(tmp_path / "x.tif", [65535 - LEVELS.astype(np.uint16) * 257], photometric=0)
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


def test_separate_planes_of_sixteen_bit_cmyk_are_refused(tmp_path):
    path = tiff(tmp_path / "x.tif", [np.uint16(257) * COLOURS[..., i] for i in range(4)], photometric=5, planar=2)
    with pytest.raises(DataError, match="separate planes of 16-bit CMYK are not read"):
        open_image(path)


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
