"""What is black and what is white in pictures of more than 8 bits is decided once, for a data set and what follows."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from picture_files import png, tiff
from PIL import Image

import xfer
from xfer.cli.main import main
from xfer.data.dataset import open_dataset
from xfer.data.loader import read_now
from xfer.inspection.check import check_data
from xfer.inspection.findings import find
from xfer.pixels.augment import Levels, Resize
from xfer.pixels.images import open_image, upright
from xfer.recipe.load import make_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.numpy_backend import NumpyBackend

RNG = np.random.default_rng(0)
SMALL = {"augment.size": 16, "data.workers": 1}
BRIGHT, DIM = 200.0, 0.9  # of floats whose range is 0 to 255: alone, the second would look bright


def shades():
    return RNG.random((16, 16))


@pytest.fixture
def floats(tmp_path):
    """Eight pictures of 0 to 200, and a dim one."""
    for name in ("ants", "bees"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            tiff(tmp_path / f"set/{name}/{i}.tif", [(BRIGHT * shades()).astype(np.float32)], kind=3)
    tiff(tmp_path / "set/ants/dim.tif", [(DIM * shades()).astype(np.float32)], kind=3)
    return tmp_path / "set"


@pytest.fixture
def twelve(tmp_path):
    """Values of 12 bits in files of 16, and what they show."""
    stored = {}
    for name in ("ants", "bees"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(4):
            values = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
            values[0, :2] = 0, 4095
            path = png(tmp_path / f"set/{name}/{i}.png", values, 0)
            stored[str(path)] = np.rint(values.astype(np.float64) * (255 / 4095)).astype(np.uint8)
    return tmp_path / "set", stored


def findings(root, **options):
    return [(f.level, f.text, f.cure) for f in find(check_data(str(root), make_recipe({}, SMALL | options)))]


def checked(root, *words):
    result = CliRunner().invoke(main, ["data", "check", str(root), "-q", "--set", "augment.size=16", *words])
    return result.stdout.splitlines()


def test_floats_have_the_range_of_all_pictures(floats):
    data = open_dataset(str(floats), workers=1)
    assert data.levels == Levels(floats=(0.0, 255.0))
    files = [*data.train.files, *data.val.files]
    (dim,) = [file for file in files if file.endswith("dim.tif")]
    assert np.asarray(open_image(dim)).max() > 200
    split = data.train if dim in list(data.train.files) else data.val
    place = [list(split.files).index(dim)]
    assert read_now(split, data.seen([Resize(size=[16, 16])]), np.array(place)).max() == 1


def test_a_look_at_the_data_says_the_range_and_what_does_not_fit(floats):
    assert "range     floats 0 to 255 are black to white" in checked(floats)
    assert json.loads("\n".join(checked(floats, "--json")))["range"] == {"floats": [0.0, 255.0], "depth": 16}
    (narrow,) = [finding for finding in findings(floats) if "float" in finding[1]]
    assert narrow[0] == "warning"
    assert (
        narrow[1] == f"1 float picture of a far smaller range than 0 to 255, the first: {floats}/ants/dim.tif (16x16)"
    )
    (floats / "ants/dim.tif").unlink()
    assert findings(floats) == [f for f in findings(floats) if "float" not in f[1]]


def test_predicting_a_picture_uses_the_range_of_training(floats, tmp_path):
    recipe = {"model": {"arch": "tiny"}, "weights": {"source": "random"}, "train": {"epochs": 1}}
    run = xfer.train(make_recipe(recipe, SMALL), backend=NumpyBackend(), data=str(floats), output=tmp_path / "run")
    assert load_checkpoint(run.path).transforms[0] == Levels(floats=(0.0, 255.0))
    values = np.linspace(0, 0.9, 256).reshape(16, 16)
    alone = tiff(tmp_path / "alone.tif", [values.astype(np.float32)], kind=3)
    seen = tmp_path / "seen.png"
    Image.fromarray(np.rint(values).astype(np.uint8)).save(seen)  # 0.9 of 255 is all but black
    with Image.open(alone) as image:
        ours, opened, theirs = run.predict([str(alone), image, str(seen)], backend=NumpyBackend()).probabilities
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(opened, theirs)


def test_twelve_bits_in_sixteen(twelve):
    root, stored = twelve
    (dark,) = [finding for finding in findings(root) if "16-bit" in finding[1]]
    dark_text = "16-bit pictures are near black: none has a value above 4,095 of 65,535"
    assert dark == ("warning", dark_text, "data.depth = 12")
    assert list(open_dataset(str(root), workers=1).warnings()) == [f"warning: {dark_text}. Cure: data.depth = 12"]
    assert list(open_dataset(str(root), workers=1, depth=12).warnings()) == []
    assert [f for f in findings(root, **{"data.depth": 12}) if "16-bit" in f[1]] == []
    assert "range     16-bit values 0 to 4,095 are black to white" in checked(root, "--set", "data.depth=12")
    data = open_dataset(str(root), workers=1, depth=12)
    pictures = read_now(data.train, data.seen([Resize(size=[16, 16])]), np.arange(len(data.train.files)))
    for file, picture in zip(data.train.files, pictures, strict=True):
        np.testing.assert_array_equal(picture, np.repeat(stored[file][..., None], 3, axis=2))


COLOURS = RNG.integers(0, 4096, (16, 16, 3)).astype(np.uint16)
SOLID = np.where(RNG.integers(0, 2, (16, 16)), 65535, 0).astype(np.uint16)
KEY = [int(value) for value in COLOURS[3, 4]]


@pytest.mark.parametrize(
    ("write", "visible"),
    [
        (lambda path: png(path, COLOURS, 2), None),
        (lambda path: png(path, COLOURS, 2, key=KEY), ((COLOURS ^ COLOURS[3, 4]) >> 8).any(axis=2)),
        (lambda path: png(path, np.dstack([COLOURS, SOLID]), 6), SOLID),
        (lambda path: tiff(path, [COLOURS], 2), None),
        (lambda path: tiff(path, [COLOURS], 2, order=">"), None),
        (lambda path: tiff(path, [COLOURS], 2, deflate=True), None),
        (lambda path: tiff(path, [COLOURS], 2, order=">", deflate=True), None),
        (lambda path: tiff(path, [COLOURS[..., i] for i in range(3)], 2, planar=2), None),
        (lambda path: tiff(path, [COLOURS[..., i] for i in range(3)], 2, planar=2, order=">"), None),
        (lambda path: tiff(path, [np.dstack([COLOURS, SOLID])], 2), SOLID),
    ],
)
def test_twelve_bits_in_colours_of_sixteen(tmp_path, write, visible):
    path = write(tmp_path / "x")
    right = np.rint(COLOURS * (255 / 4095)).astype(np.uint8)
    right = right if visible is None else np.where(visible[..., None], right, 255)
    np.testing.assert_array_equal(np.asarray(open_image(path, Levels(depth=12))), right)


def test_twelve_bits_in_colours_that_stand_on_their_head(tmp_path):
    orientation = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    path = png(tmp_path / "x.png", COLOURS, 2, chunks=[(b"eXIf", orientation)])
    right = np.rint(COLOURS[::-1, ::-1] * (255 / 4095))
    np.testing.assert_array_equal(np.asarray(open_image(path, Levels(depth=12))), right)


def test_twelve_bits_of_grey_with_alpha(tmp_path):
    path = png(tmp_path / "x.png", np.dstack([COLOURS[..., 0], SOLID]), 4)
    right = np.where(SOLID, np.rint(COLOURS[..., 0] * (255 / 4095)), 255)
    seen = np.asarray(open_image(path, Levels(depth=12)))
    np.testing.assert_array_equal(seen, np.repeat(right[..., None], 3, axis=2))


@pytest.mark.parametrize("options", [{"planar": 2, "deflate": True}, {"alpha": 1}])
def test_colours_of_sixteen_bits_that_are_not_scaled(tmp_path, options):
    planes = [COLOURS[..., i] for i in range(3)] if "planar" in options else [np.dstack([COLOURS, SOLID])]
    path = tiff(tmp_path / "x.tif", planes, 2, **options)
    open_image(path)
    with pytest.raises(xfer.errors.DataError, match=r"16-bit colours are not scaled to data\.depth in such a TIFF"):
        open_image(path, Levels(depth=12))


def test_an_opened_image_whose_colours_would_be_near_black(tmp_path):
    with (
        Image.open(png(tmp_path / "x.png", COLOURS, 2)) as image,
        pytest.raises(xfer.errors.DataError, match=r"from a file alone\. Cure: give its name"),
    ):
        upright(image, Levels(depth=12))


def test_a_data_set_of_colours_near_black(tmp_path):
    for name in ("ants", "bees"):
        (tmp_path / name).mkdir()
        for i in range(4):
            png(tmp_path / name / f"{i}.png", RNG.integers(0, 4096, (16, 16, 3)).astype(np.uint16), 2)
    dark = "16-bit pictures are near black: none has a value above 4,095 of 65,535"
    assert [f for f in findings(tmp_path) if "16-bit" in f[1]] == [("warning", dark, "data.depth = 12")]
    assert [f for f in findings(tmp_path, **{"data.depth": 12}) if "16-bit" in f[1]] == []
    data = open_dataset(str(tmp_path), workers=1, depth=12)
    seen = read_now(data.train, data.seen([Resize(size=[16, 16])]), np.arange(len(data.train.files)))
    assert seen.mean() == pytest.approx(127, abs=5)


def test_a_depth_that_cuts_values_off(twelve):
    (cut,) = [finding for finding in findings(twelve[0], **{"data.depth": 10}) if "16-bit" in finding[1]]
    assert cut == ("warning", "values of 16-bit pictures up to 4,095 are cut off at 1,023", "data.depth = 12")


@pytest.mark.parametrize("depth", [7, 17])
def test_a_depth_that_cannot_be(depth):
    with pytest.raises(xfer.errors.ConfigError, match=r"data\.depth"):
        make_recipe({}, {"data.depth": depth})


def test_eight_bits_leave_nothing_to_decide(tmp_path):
    for name in ("ants", "bees"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / name / f"{i}.png")
    data = open_dataset(str(tmp_path), workers=1, depth=12)
    assert data.levels is None
    assert data.seen([Resize(size=[16, 16])]) == (Resize(size=[16, 16]),)
