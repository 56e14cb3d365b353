"""What viewers show although a part of the file is missing, or too large for a decoder, is used, and said."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from picture_files import png
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.pixels.images import open_image, open_lazily
from xfer.pixels.inspected import inspect_image

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (9, 12, 3), np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
FLAW = "without its last bytes"


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    SMOOTH.convert(mode).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


KINDS = [
    ("RGB", {}),
    ("RGB", {"progressive": True}),
    ("RGB", {"subsampling": "4:4:4"}),
    ("RGB", {"restart_marker_rows": 2}),
    ("L", {}),
    ("L", {"progressive": True}),
    ("CMYK", {}),
]


@pytest.mark.parametrize(("mode", "options"), KINDS, ids=str)
@pytest.mark.parametrize("tail", [b"", b"\xff"])
def test_a_jpeg_file_without_its_end_marker_has_the_same_pixels(tmp_path, mode, options, tail):
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    whole.write_bytes(jpeg(mode, **options))
    cut.write_bytes(whole.read_bytes()[:-2] + tail)
    assert (inspect_image(whole).flaw, inspect_image(cut).flaw) == ("", FLAW)
    assert inspect_image(cut).reason is None
    assert (inspect_image(cut).height, inspect_image(cut).width) == (240, 320)
    right = np.asarray(open_image(whole))
    np.testing.assert_array_equal(np.asarray(open_image(cut)), right)
    for draft in (False, True):
        images = [open_lazily(path, draft).crop((8, 16, 320, 240)) for path in (whole, cut)]
        ours, theirs = (np.asarray(image.resize((40, 30), Image.Resampling.BILINEAR)) for image in images)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("mode", "options"), KINDS, ids=str)
@pytest.mark.parametrize("lost", [3, 8])
def test_a_jpeg_file_without_some_bytes_more_lacks_no_more_than_a_corner(tmp_path, mode, options, lost):
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    whole.write_bytes(jpeg(mode, **options))
    cut.write_bytes(whole.read_bytes()[:-lost])
    assert inspect_image(cut).flaw == FLAW
    right, seen = (np.asarray(open_image(path)) for path in (whole, cut))
    np.testing.assert_array_equal(seen[:192], right[:192])
    assert (seen != right).any(axis=2).sum() <= 768


@pytest.mark.parametrize(("mode", "options"), KINDS, ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_file_that_lacks_a_part_of_its_picture_is_truncated(tmp_path, mode, options, share):
    content = jpeg(mode, **options)
    (tmp_path / "x.jpg").write_bytes(content[: int(len(content) * share)])
    assert inspect_image(tmp_path / "x.jpg").reason == "truncated"


def test_a_progressive_file_cut_between_scans_is_truncated(tmp_path):
    content = jpeg(progressive=True)
    (tmp_path / "x.jpg").write_bytes(content[: content.rindex(b"\xff\xc4")])  # the tables of the last scan
    assert inspect_image(tmp_path / "x.jpg").reason == "truncated"


def test_training_and_a_look_at_the_data_say_so(tmp_path):
    for name in ("ants", "bees"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"set/{name}/{i}.jpg")
    path = tmp_path / "set/bees/2.jpg"
    path.write_bytes(path.read_bytes()[:-2])
    data = open_dataset(str(tmp_path / "set"), workers=1)
    assert data.skipped == ()
    assert [flawed.path for flawed in data.flawed] == [str(path)]
    (warning,) = data.warnings()
    assert warning == f"warning: 1 picture has a file {FLAW} and can be used all the same, the first: {path}"


MANY = zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"zTXt", b"Comment\0\0" + MANY)],
        [(b"iTXt", b"Comment\0\1\0\0\0" + MANY)],
        [(b"tEXt", b"Comment\0" + b"x" * 70_000_000)],
        [(b"iCCP", b"profile\0\0" + MANY)],
        [(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(1_000_000))) for i in range(70)],
    ],
    ids=["zTXt", "iTXt", "tEXt", "iCCP", "many"],
)
def test_png_files_with_large_texts_or_profiles(tmp_path, chunks):
    right = np.asarray(SMOOTH)
    path = png(tmp_path / "x.png", right, 2, chunks=chunks)
    np.testing.assert_array_equal(np.asarray(open_image(path)), right)
    tracemalloc.start()
    inspected = inspect_image(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (inspected.reason, inspected.flaw, inspected.kind) == (None, "", "PNG RGB")
    assert most < 3 * path.stat().st_size + 80_000_000  # Pillow's own limit is 64 MiB


@pytest.mark.parametrize("tail", [b"", b"\0\0", b"\0\0\x76\x4eIDAT", b"\0\0\x76\x4eIDATxyz", b"\0\0\x76\x4etEXtxyz"])
def test_a_png_file_that_breaks_off_behind_its_picture(tmp_path, tail):
    path = png(tmp_path / "x.png", np.asarray(SMOOTH), 2)
    path.write_bytes(path.read_bytes()[:-12] + tail)
    assert (inspect_image(path).reason, inspect_image(path).flaw) == (None, "")
    np.testing.assert_array_equal(np.asarray(open_image(path)), np.asarray(SMOOTH))


def test_a_png_file_that_lacks_a_part_of_its_picture_is_truncated(tmp_path):
    path = png(tmp_path / "x.png", np.asarray(SMOOTH), 2)
    path.write_bytes(path.read_bytes()[:-1000])
    assert inspect_image(path).reason == "truncated"


def test_a_png_file_whose_animation_is_damaged_is_the_picture_behind_it(tmp_path):
    animation = [(b"acTL", struct.pack(">II", 2, 0)), (b"fdAT", struct.pack(">I", 7) + b"no frame")]
    path = png(tmp_path / "x.png", np.asarray(SMOOTH), 2, chunks=animation)
    assert (inspect_image(path).reason, inspect_image(path).flaw) == (None, "")
    np.testing.assert_array_equal(np.asarray(open_image(path)), np.asarray(SMOOTH))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_of_many_pages_the_first(tmp_path, compression):
    pages = [SMOOTH.rotate(90 * i, expand=True) for i in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:], compression=compression)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "x.tif")), np.asarray(SMOOTH))
