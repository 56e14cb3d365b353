"""Of a file that no decoder takes it is said what it is."""

import struct

import numpy as np
import pytest
from picture_files import png, tiff
from PIL import Image

from xfer.pixels.images import MORE_SUFFIXES, open_image
from xfer.pixels.inspected import inspect_image

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
PIXELS = np.stack([GREY, GREY, GREY[::-1], GREY], axis=2)
ANEW = "which is not read: save it as PNG, or with 8 bits a channel"


def ftyp(brand):
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(200)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ftyp(b"heic"), "HEIC, which is not read: save it as JPEG or PNG"),
        (ftyp(b"mif1"), "HEIC, which is not read: save it as JPEG or PNG"),
        (ftyp(b"qt  "), "not an image but a film"),
        (ftyp(b"crx "), "a raw file of a camera, which is not read: save it as JPEG or PNG"),
        (b"\xff\x0a" + bytes(90), "JPEG XL, which is not read: save it as JPEG or PNG"),
        (b"%PDF-1.4\n" + bytes(90), "not an image but a PDF document"),
        (b"\n<!DOCTYPE HTML>\n<p>404", "not an image but a web page"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "not an image but a vector drawing (SVG)"),
        (b"PK\x03\x04" + bytes(90), "not an image but a ZIP archive"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "not an image but a pointer of Git LFS: fetch the picture with git lfs pull",
        ),
        (b"no picture", "not an image"),
        (b"GIF89a\x08\0\x08\0\xf7", "truncated or damaged in its header"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "truncated or damaged in its header"),
        (bytes(400), "not an image"),
        (b"II*\0\x08\0\0\0\x01\0", "truncated"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "not an image"),
        (b"II*\0\0\x10\0\0" + bytes(90), "truncated"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, reason):
    (tmp_path / "x.jpg").write_bytes(content)
    assert inspect_image(tmp_path / "x.jpg").reason == reason


@pytest.mark.parametrize(
    ("planes", "options", "layout"),
    [
        ([GREY.astype(np.float64)], {"kind": 3}, "1 channel of 64-bit floats"),
        ([PIXELS[..., :3].astype(np.float32)], {"photometric": 2, "kind": 3}, "3 channels of 32-bit floats"),
        (
            [PIXELS[..., :2].astype(np.uint16)],
            {},
            "2 channels of 16-bit whole numbers, transparency among them",
        ),
        (
            [GREY.astype(np.uint32)],
            {"photometric": 0, "order": ">"},
            "1 channel of 32-bit whole numbers, white as zero",
        ),
        (
            [GREY.astype(np.uint16)],
            {"tags": [(262, "I", [0])], "order": ">"},  # in four bytes, where the format has two
            "1 channel of 16-bit whole numbers, white as zero",
        ),
    ],
)
def test_values_of_tiff_files_that_are_not_read(tmp_path, planes, options, layout):
    path = tiff(tmp_path / "x.tif", planes, **options)
    assert inspect_image(path).reason == f"TIFF with {layout}, {ANEW}"


@pytest.mark.parametrize(
    ("channels", "options", "layout"),
    [
        (2, {"planar": 2, "alpha": 0}, "2 channels of 8-bit whole numbers, in separate planes"),
        (4, {"planar": 2, "alpha": 0, "photometric": 2}, "4 channels of 8-bit whole numbers, in separate planes"),
        (2, {"photometric": 0}, "2 channels of 8-bit whole numbers, transparency among them, white as zero"),
    ],
)
def test_of_eight_bits_it_is_not_said_to_make_them_eight(tmp_path, channels, options, layout):
    planes = [PIXELS[..., i] for i in range(channels)] if "planar" in options else [PIXELS[..., :channels]]
    path = tiff(tmp_path / "x.tif", planes, **options)
    assert inspect_image(path).reason == f"TIFF with {layout}, which is not read: save it as PNG"


def test_a_compression_that_is_not_known(tmp_path):
    path = tiff(tmp_path / "x.tif", [GREY], compression=34712)
    assert inspect_image(path).reason == "TIFF with an unknown compression (34712), which is not read: save it as PNG"


@pytest.mark.parametrize(("name", "number"), [("webp", 50001), ("zstd", 50000), ("lzma", 34925)])
def test_a_compression_that_pillow_may_lack(tmp_path, name, number):
    path = tiff(tmp_path / "x.tif", [PIXELS[..., :3]], 2, compression=number)  # it is not, so that no Pillow reads it
    reason = f"TIFF with {name} compression, damaged or not read by this Pillow: save it as PNG"
    assert inspect_image(path).reason == reason


def test_sixteen_bits_with_transparency_that_are_read(tmp_path):
    wide = np.uint16(257) * PIXELS
    wide[..., 3] = 65535
    for path in (tiff(tmp_path / "x.tif", [wide], photometric=2), png(tmp_path / "x.png", wide, 6)):
        np.testing.assert_array_equal(np.asarray(open_image(path)), PIXELS[..., :3])


@pytest.mark.parametrize("suffix", MORE_SUFFIXES)
def test_suffixes_that_a_recipe_may_add(tmp_path, suffix):
    image = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    path = tmp_path / f"x{suffix}"
    (image.convert("1") if suffix == ".pbm" else image).save(path)
    assert inspect_image(path).reason is None
