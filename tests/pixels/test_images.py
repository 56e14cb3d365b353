"""Pictures of every kind come out as a person would see them."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from picture_files import tiff
from PIL import Image

from xfer.pixels.images import SUFFIXES, open_image
from xfer.pixels.inspected import inspect_image
from xfer.pixels.rgb import to_bytes

WHITE, RED = (255, 255, 255), (255, 0, 0)
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (12, 16, 3), np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(image, name, **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def pixels(path):
    image = open_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_can_be_read(save, suffix):
    mode = "L" if suffix == ".pgm" else "RGB"
    options = {"format": "JPEG"} if suffix == ".jfif" else {}
    path = save(Image.fromarray(NOISE).convert(mode), f"x{suffix}", **options)
    assert inspect_image(path).reason is None
    assert pixels(path).shape == NOISE.shape


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif"])
def test_rgb_is_not_touched(save, suffix):
    np.testing.assert_array_equal(pixels(save(Image.fromarray(NOISE), f"x{suffix}")), NOISE)


@pytest.mark.parametrize(
    ("mode", "stored", "seen"),
    [
        ("1", 1, WHITE),
        ("L", 90, (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), RED),  # JFIF's matrix
        ("LAB", (128, 128, 128), (119, 119, 119)),  # L 50.2, a 0, b 0
    ],
)
def test_other_colour_models_are_converted(save, mode, stored, seen):
    path = save(Image.new(mode, (8, 8), stored), "x.tif")
    with Image.open(path) as image:
        assert image.mode == mode
    np.testing.assert_allclose(pixels(path).astype(int), np.full((8, 8, 3), seen), atol=2)


def test_a_palette_is_looked_up(save):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert (pixels(save(image, "x.png")) == [10, 20, 30]).all()


def test_a_cmyk_jpeg_is_seen_as_it_was_painted(save):
    painted = Image.new("RGB", (16, 16), (250, 40, 20))
    path = save(painted.convert("CMYK"), "x.jpg", quality=95)  # Adobe's: stored inverted
    np.testing.assert_allclose(pixels(path).astype(int), np.asarray(painted).astype(int), atol=6)


@pytest.mark.parametrize(
    ("convert", "name"),
    [
        (lambda rgba: rgba, "x.png"),
        (lambda rgba: rgba, "x.webp"),
        (lambda rgba: rgba.convert("LA"), "x.tif"),
        (lambda rgba: rgba.convert("LA"), "x.png"),
        (lambda rgba: rgba.quantize(8), "x.png"),
    ],
)
def test_what_is_transparent_lies_on_white(save, convert, name):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    image.paste((0, 0, 0, 128), (0, 0, 4, 4))
    seen = pixels(save(convert(image), name, **({"lossless": True} if name == "x.webp" else {})))
    assert (seen[6, 1] == 255).all()
    assert (seen[:, 6] == 0).all()
    np.testing.assert_allclose(seen[1, 1], 127, atol=1)


@pytest.mark.parametrize(("mode", "key", "colour"), [("L", 7, 7), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 0, 0)])
def test_a_colour_that_means_transparent(save, mode, key, colour):
    image = Image.new(mode, (8, 8), 255 if mode != "RGB" else RED)
    image.paste(colour, (0, 0, 4, 8))
    seen = pixels(save(image, "x.png", transparency=key))
    assert (seen[:, 1] == 255).all()
    assert tuple(seen[0, 6]) == (RED if mode == "RGB" else WHITE)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_are_scaled_not_cut(save, name):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    seen = pixels(save(Image.fromarray(ramp), name))
    np.testing.assert_array_equal(seen, np.arange(256).reshape(16, 16, 1).repeat(3, 2))


def test_a_dark_sixteen_bit_picture_stays_dark(save, tmp_path):
    dark = np.full((8, 8), 200, np.uint16)
    assert (pixels(save(Image.fromarray(dark), "x.png")) == 1).all()
    (tmp_path / "x.pgm").write_bytes(b"P5 8 8 65535\n" + dark.astype(">u2").tobytes())
    assert (pixels(tmp_path / "x.pgm") == 1).all()


def test_big_endian_sixteen_bits(save):
    image = Image.frombytes("I;16B", (2, 1), np.array([257, 65535], ">u2").tobytes())
    assert pixels(save(image, "x.tif"))[0, :, 0].tolist() == [1, 255]


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([0, 0.5, 200], np.float32), [0, 0, 200]),
        (np.array([0, 257, 65535], np.float32), [0, 1, 255]),
        (np.array([-1, 0, 1], np.float32), [0, 128, 255]),
        (np.array([-0.01, 0.5, 1.001, 1.05], np.float32), [0, 128, 255, 255]),
        (np.array([0, 128, 260], np.float32), [0, 128, 255]),
        (np.array([0, 0.5, 1.06], np.float32), [0, 0, 1]),
        (np.array([0, 257, 260], np.int32), [0, 1, 1]),
        (np.array([0, 1, 200], np.int32), [0, 1, 200]),
        (np.array([0, 257, 65535], np.int32), [0, 1, 255]),
        (np.array([0, 10**6, 2 * 10**6], np.int32), [0, 128, 255]),
        (np.array([0, 1, 255], np.uint16), [0, 0, 1]),
        (np.array([np.nan, np.inf, 1], np.float32), [0, 0, 255]),
        (np.array([np.nan, np.nan], np.float32), [0, 0]),
        (np.array([-7, -7], np.int32), [0, 0]),
    ],
)
def test_ranges_of_wide_values(values, seen):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_bytes(values).tolist() == seen


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_wide_tiffs(save, dtype):
    values = np.array([[0, 257, 65535]], dtype)
    assert pixels(save(Image.fromarray(values), "x.tif"))[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tif"])
def test_orientation(save, orientation, name):
    """What orientation n means, by the EXIF standard: where row 0 and column 0 of the stored picture are seen."""
    seen = np.zeros((16, 24, 3), np.uint8)
    seen[:8, :8] = 255  # a white corner, top left
    undo = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: x.swapaxes(0, 1)[::-1],
        7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
        8: lambda x: x.swapaxes(0, 1)[:, ::-1],
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](seen)))
    path = save(stored, name, exif=exif)
    np.testing.assert_allclose(pixels(path).astype(int), seen.astype(int), atol=24)
    inspected = inspect_image(path)
    assert (inspected.height, inspected.width) == seen.shape[:2]


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png"])
def test_an_animation_is_its_first_frame(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    assert tuple(pixels(tmp_path / name)[4, 4]) == RED


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03", b"no TIFF header", b"MM\0*"])
def test_damaged_exif_data_spoils_nothing(tmp_path, exif):
    Image.fromarray(NOISE).save(tmp_path / "x.png", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), NOISE)


@pytest.mark.parametrize("call", ["begin()", "silence_decoders()", ""])
def test_pillow_is_silent_when_it_is_told_to_be(tmp_path, call):
    """Large pictures and damaged EXIF data are used without a word on the console; an import alone changes nothing."""
    Image.fromarray(NOISE).save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03")
    Image.new("1", (10_000, 9_500)).save(tmp_path / "large.tif", compression="group4")
    Image.fromarray(NOISE.repeat(9, 0).repeat(9, 1)).save(tmp_path / "damaged.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "damaged.tif").read_bytes())
    content[200:500] = RNG.bytes(300)
    (tmp_path / "damaged.tif").write_bytes(content)
    tiff(tmp_path / "many.tif", [NOISE[..., 0]], tags=[(277, "H", [65535])])  # channels
    script = f"""
import sys
from xfer.pixels.inspected import inspect_image
from xfer.system import own_process
{f"own_process.{call}" if call else ""}
print([inspect_image(path).reason for path in sys.argv[1:]])
"""
    files = [str(tmp_path / name) for name in ("x.png", "large.tif", "damaged.tif", "many.tif")]
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True)
    many = "TIFF with 65535 channels of 8-bit whole numbers, which is not read: save it as PNG"
    assert done.stdout == f"[None, None, 'cannot be decoded (decoder error -2)', '{many}']\n"
    if call:
        assert done.stderr == ""
    else:
        assert "UserWarning" in done.stderr
        assert "tempfile.tif: " in done.stderr
        assert "More samples per pixel" in done.stderr
        assert "DecompressionBombWarning" in done.stderr
