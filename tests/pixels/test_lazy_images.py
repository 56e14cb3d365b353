"""A JPEG file decoded as far as it is needed shows the same pixels as one that was decoded whole."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xfer.data.loader import read_batches
from xfer.data.order import chunks
from xfer.data.split import Split
from xfer.errors import DataError
from xfer.pixels.augment import (
    CenterCrop,
    HorizontalFlip,
    Letterbox,
    Pad,
    RandomResizedCrop,
    Resize,
    TrivialAugmentWide,
    apply,
)
from xfer.pixels.boxes import Box
from xfer.pixels.images import open_image, open_lazily
from xfer.pixels.jpeg import first_rows, read_header
from xfer.pixels.lazy import Jpeg
from xfer.pixels.views import Corners

HEIGHT, WIDTH = 203, 141
OPTIONS = [
    {"subsampling": subsampling, "progressive": progressive, **restarts}
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for progressive in (False, True)
    for restarts in ({}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3})
]


def photograph(height=HEIGHT, width=WIDTH, noise=0.4):
    """Smooth areas of strong colours, and noise: interpolated colours and rounding show."""
    rng = np.random.default_rng((height, width))
    blocks = Image.fromarray(rng.integers(0, 256, (7, 5, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.blend(blocks, Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)), noise)


@pytest.fixture
def save(tmp_path):
    def write(image=None, name="x.jpg", **options):
        (image or photograph()).save(tmp_path / name, **options)
        return tmp_path / name

    return write


def assert_same(ours, theirs):
    assert ours.mode == theirs.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_part_is_that_of_the_whole(save, options):
    path = save(**options)
    whole, lazy = open_image(path), open_lazily(path)
    assert isinstance(lazy, Jpeg)
    assert (lazy.height, lazy.width) == (HEIGHT, WIDTH)
    assert_same(lazy.decode(), whole)
    for lower in range(1, HEIGHT + 1, 3):  # wherever a block of 8 or 16 rows may end
        box = (lower % 40, lower // 2, WIDTH - lower % 7, lower)
        assert_same(lazy.crop(box).decode(), whole.crop(box))
    assert_same(lazy.crop((10, 20, 90, 80)).crop((5, 5, 30, 40)).decode(), whole.crop((15, 25, 40, 60)))


FIRST = [
    RandomResizedCrop(size=40),
    Resize(size=50),
    CenterCrop(size=40),
    HorizontalFlip(),
    Letterbox(size=[40, 60]),
    Pad(padding=3, padding_mode="edge"),
    TrivialAugmentWide(),
    Corners(size=30),
]


@pytest.mark.parametrize("first", FIRST, ids=lambda spec: spec.op)
def test_transforms_give_the_same_pixels(save, first):
    path = save()
    for seed in range(6):
        ours, theirs = (apply(x, [first], np.random.default_rng(seed)) for x in (open_lazily(path), open_image(path)))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(apply(open_lazily(path), []), np.asarray(open_image(path)))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_what_lies_below_a_part_is_not_read(save, subsampling):
    path = save(subsampling=subsampling)
    whole, content = open_image(path), bytearray(path.read_bytes())
    content[len(content) * 3 // 4 : -2] = bytes(len(content) - 2 - len(content) * 3 // 4)
    path.write_bytes(content)
    assert (np.asarray(open_image(path)) != np.asarray(whole)).any()
    box = (0, 30, WIDTH, 100)
    assert_same(open_lazily(path).crop(box).decode(), whole.crop(box))
    header = read_header(bytes(content))
    shorter, height = first_rows(bytes(content), header, 100)
    with Image.open(io.BytesIO(shorter)) as image:
        assert 100 <= image.height == height <= 102


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_decoded_at_once(save, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(exif=exif)
    image = open_lazily(path)
    assert isinstance(image, Jpeg) == (orientation == 1)
    assert_same(image.decode() if isinstance(image, Jpeg) else image, open_image(path))


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "x.jpg"), ("CMYK", "x.jpg"), ("RGB", "x.png"), ("RGB", "x.webp"), ("RGB", "x.ppm")]
)
def test_so_is_every_other_kind(save, mode, name):
    path = save(photograph().convert(mode), name)
    assert_same(open_lazily(path), open_image(path))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda content: content[:-300], "truncated"),
        (lambda content: content[:30], "truncated"),
        (lambda content: b"", "empty file"),
        (lambda content: b"\xff\xd8\xff" + b"nothing" * 9, "not an image"),
    ],
)
def test_a_damaged_file_says_so(save, break_it, reason):
    path = save()
    path.write_bytes(break_it(path.read_bytes()))
    split = Split([str(path)], np.zeros(1, np.int64))
    with pytest.raises(DataError) as raised:
        next(read_batches(split, [Resize(size=[8, 8])], [np.arange(1)], seed=0, view=0, workers=1))
    assert str(raised.value) == f"{path}: {reason}"


def test_bombs_are_refused(save):
    path = save()
    content = bytearray(path.read_bytes())
    at = read_header(bytes(content)).at
    content[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    with pytest.raises(DataError, match="more than 178,956,970 pixels"):
        open_lazily(path)


def test_a_header_survives_what_surrounds_it(save):
    """Comments, profiles and long metadata stand before it."""
    exif = Image.Exif()
    exif[0x010E] = "words " * 900
    header = read_header(save(exif=exif, comment=b"\xff\xc0" * 50, icc_profile=b"\xff\xda" * 70_000).read_bytes())
    assert (header.height, header.width, header.annotated) == (HEIGHT, WIDTH, True)
    assert not read_header(save(comment=b"x").read_bytes()).annotated


@pytest.mark.parametrize("length", [0, 3, 20, 150, 163])
def test_a_header_that_ends_early_is_none(save, length):
    buffer = io.BytesIO()
    photograph().save(buffer, "JPEG")
    frame = read_header(buffer.getvalue()).at
    assert read_header(buffer.getvalue()[: min(length, frame)]) is None


BOXES = [Box(0, 0, 800, 640), Box(130, 71, 333, 301), Box(401, 333, 399, 307), Box(77, 8, 641, 160)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [20, 40, 75])
def test_a_draft_shows_the_same_part(save, box, size):
    """On a picture without fine detail, a shift by one pixel of the file would show."""
    path = save(photograph(800, 640, noise=0), quality=95)
    crop = RandomResizedCrop(size=size)
    exact, draft = (np.asarray(crop.apply(open_lazily(path, draft=d), box)).astype(int) for d in (False, True))
    assert exact.shape == draft.shape == (size, size, 3)
    assert np.abs(exact - draft).mean() < 1
    assert (exact != draft).any()  # else it took no shortcut


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_draft_takes_the_largest_step_of_pillows(save, factor):
    path = save(photograph(640, 800))
    for size in ([640 // factor, 800 // factor], [640 // factor, 800 // (2 * factor)]):
        with Image.open(path) as image:
            image.draft("RGB", (800 // factor, 640 // factor))
            theirs = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        assert_same(Resize(size=size).apply(open_lazily(path, draft=True)), theirs)


def test_a_draft_is_exact_where_pixels_are_few(save):
    path = save()
    for size, box in (([60, 40], (0, 0, 141, 119)), ([40, 71], (0, 0, 141, 159))):
        spec = Resize(size=size)
        assert_same(spec.apply(open_lazily(path, draft=True).crop(box)), spec.apply(open_image(path).crop(box)))


def test_a_draft_is_the_same_for_any_workers(save):
    files = [str(save(photograph(200 + i, 300), f"{i}.jpg")) for i in range(6)]
    split, transforms = Split(files, np.zeros(6, np.int64)), [RandomResizedCrop(size=24), HorizontalFlip()]

    def pixels(**given):
        batches = read_batches(split, transforms, chunks(np.arange(6), 4), seed=1, view=2, **given)
        return np.concatenate([batch.inputs for batch, _ in batches])

    once = pixels(workers=1, draft=True)
    np.testing.assert_array_equal(pixels(workers=3, draft=True), once)
    exact = pixels(workers=2)
    assert 0 < np.abs(once.astype(int) - exact).mean() < 6


@pytest.mark.parametrize("factor", [1, 2, 8])
@pytest.mark.parametrize("taken", ["open", "frombytes"])
def test_both_ways_to_pillows_decoder_give_the_same(save, monkeypatch, factor, taken):
    """A JPEG file needs no Image.open, and where the decoder alone does not do, Image.open does."""

    def fail(*args, **kwargs):
        raise TypeError

    path = save(photograph(401, 333))
    lazy, spec = open_lazily(path, draft=True), Resize(size=[401 // factor, 333 // factor])
    whole, part = spec.apply(lazy), spec.apply(lazy.crop((13, 60, 333, 390)))
    monkeypatch.setattr(*{"open": (Image, "open", fail), "frombytes": (Image.Image, "frombytes", fail)}[taken])
    assert_same(spec.apply(lazy), whole)
    assert_same(spec.apply(lazy.crop((13, 60, 333, 390))), part)


@pytest.mark.skipif("XFER_TEST_DATA" not in os.environ, reason="XFER_TEST_DATA is not set")
def test_a_draft_of_photographs_is_as_close_as_promised():
    """What `xfer.pixels.lazy.Jpeg` promises, on crops to 64 pixels, where nearly every picture takes the shortcut."""
    crop, off = RandomResizedCrop(size=64), []
    files = sorted(Path(os.environ["XFER_TEST_DATA"]).glob("hymenoptera_data/train/*/*.jpg"))[::4]
    for i, file in enumerate(files):
        exact, draft = (
            apply(open_lazily(file, d), [crop], np.random.default_rng(i)).astype(int) for d in (False, True)
        )
        off.append(np.abs(exact - draft).mean())
    assert 0.5 < np.mean(off) < 1.5
    assert max(off) < 6
