"""The core's pictures against torchvision's: the same files, the same bits for the same parameters, the same laws."""

import numpy as np
import pytest
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.pixels.augment import (
    CenterCrop,
    ColorJitter,
    HorizontalFlip,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    Rotation,
    VerticalFlip,
)

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.datasets import ImageFolder  # noqa: E402
from torchvision.transforms import InterpolationMode, v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402, N812

SIZES = [(61, 83), (83, 61), (64, 64), (17, 120), (33, 32)]  # height, width
MODES = ["nearest", "bilinear", "bicubic"]
DRAWS = 3000


def picture(height, width, seed=0):
    """Smooth in part, and noisy in part, so that filters and rounding show."""
    rng = np.random.default_rng((seed, height, width))
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    blocks = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height))
    return Image.blend(Image.fromarray(noise), blocks, 0.7)


def assert_same(ours, theirs):
    assert ours.mode == theirs.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def generators(count=8):
    return [np.random.default_rng((9, i)) for i in range(count)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wanted", [32, 40, [24, 50], [90, 33]])
def test_resize(size, mode, wanted):
    image = picture(*size)
    theirs = F.resize(image, [wanted] if isinstance(wanted, int) else wanted, InterpolationMode(mode))
    assert_same(Resize(size=wanted, interpolation=mode).apply(image), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [16, 33, 64, 97, [20, 101], [101, 20], [18, 119]])
def test_center_crop(size, wanted):
    image = picture(*size)
    assert_same(CenterCrop(size=wanted).apply(image), F.center_crop(image, wanted))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_random_resized_crop(size, mode):
    image, spec = picture(*size), RandomResizedCrop(size=[40, 30], interpolation=mode)
    for rng in generators():
        box = spec.draw(*size, rng)
        theirs = F.resized_crop(image, *box, size=[40, 30], interpolation=InterpolationMode(mode))
        assert_same(spec.apply(image, box), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("wanted", "padding", "fill"), [(16, 0, 0), ([17, 20], 4, 9), (70, 30, [1, 2, 3])])
def test_random_crop(size, wanted, padding, fill):
    image = picture(*size)
    spec = RandomCrop(size=wanted, padding=padding, fill=fill, pad_if_needed=True)
    theirs = v2.RandomCrop(spec.size, padding=padding, fill=spec.fill, pad_if_needed=True)
    params = theirs.make_params([image])
    for rng in generators():
        cut = spec.draw(*size, rng)
        assert [cut.columns, cut.rows] * 2 == params["padding"]
        place = {"top": cut.box.top, "left": cut.box.left}
        assert_same(spec.apply(image, cut), theirs.transform(image, params | place | {"needs_crop": True}))


@pytest.mark.parametrize("size", SIZES)
def test_flips(size):
    image = picture(*size)
    assert_same(HorizontalFlip().apply(image, True), F.horizontal_flip(image))
    assert_same(VerticalFlip().apply(image, True), F.vertical_flip(image))
    assert_same(HorizontalFlip().apply(image, False), image)


@pytest.mark.parametrize("size", SIZES)
def test_color_jitter(size):
    image = picture(*size)
    spec = ColorJitter(brightness=0.8, contrast=0.8, saturation=2.0, hue=0.5)
    adjust = {
        "brightness": F.adjust_brightness,
        "contrast": F.adjust_contrast,
        "saturation": F.adjust_saturation,
        "hue": F.adjust_hue,
    }
    for rng in generators():
        drawn = spec.draw(*size, rng)
        assert sorted(name for name, _ in drawn) == sorted(adjust)
        theirs = image
        for name, factor in drawn:
            theirs = adjust[name](theirs, factor)
        assert_same(spec.apply(image, drawn), theirs)


@pytest.mark.parametrize("turns", [-0.5, -0.2, -0.003, 0.0, 0.01, 0.37, 0.5])
def test_every_hue(turns):
    image = picture(64, 64)
    assert_same(ColorJitter().apply(image, [("hue", turns)]), F.adjust_hue(image, turns))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fill", [0, 200, [1, 2, 3]])
def test_rotation(size, mode, fill):
    image, spec = picture(*size), Rotation(degrees=180, interpolation=mode, fill=fill)
    for angle in [0.0, 90.0, -180.0] + [spec.draw(*size, rng) for rng in generators(4)]:
        theirs = F.rotate(image, angle, InterpolationMode(mode), fill=fill)
        assert_same(spec.apply(image, angle), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0, 77, [10, 20, 30], "random"])
def test_random_erasing(size, value):
    image, spec = picture(*size), RandomErasing(p=1, value=value)
    for rng in generators():
        patch = spec.draw(*size, rng)
        h, w, _ = patch.pixels.shape
        pixels = torch.from_numpy(patch.pixels).permute(2, 0, 1)
        assert_same(spec.apply(image, patch), F.erase(image, patch.top, patch.left, h, w, pixels))


@pytest.mark.parametrize("strength", [0.3, 1.5, 0, (0.2, 0.9), (1, 1)])
def test_strengths_mean_what_torchvision_says(strength):
    theirs = v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)
    drawn = [dict(ColorJitter(brightness=strength).draw(8, 8, rng)).get("brightness") for rng in generators(400)]
    if theirs.brightness is None:
        assert set(drawn) == {None}
    else:
        low, high = theirs.brightness
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(drawn) <= high


@pytest.mark.parametrize("size", [(10, 1000), (1000, 10), (400, 30), (1000, 1001)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.9, 1.1), (2.0, 3.0)])
def test_the_central_crop_where_no_box_fits(size, ratio):
    """With nearly the whole area asked for, none of these seeds draws a shape that fits; the rest is no draw at all."""
    torch.manual_seed(0)
    scale = (0.99999, 1.0)
    ours = RandomResizedCrop(size=8, scale=scale, ratio=ratio).draw(*size, np.random.default_rng(0))
    theirs = v2.RandomResizedCrop(8, scale, ratio).make_params([Image.new("RGB", size[::-1])])
    assert ours._asdict() == theirs


def distance(ours, theirs):
    """Kolmogorov-Smirnov statistic of two samples."""
    a, b = np.sort(ours), np.sort(theirs)
    both = np.concatenate([a, b])
    return np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max()


LIMIT = np.sqrt(-np.log(1e-4 / 2) / DRAWS)  # two samples of one law of DRAWS each exceed it once in 10,000 times


@pytest.mark.parametrize("size", [(300, 200), (120, 500)])
def test_boxes_follow_torchvisions_law(size):
    torch.manual_seed(0)
    rng, image = np.random.default_rng(1), Image.new("RGB", size[::-1])
    ours, theirs = RandomResizedCrop(size=8), v2.RandomResizedCrop(8)
    a = np.array([ours.draw(*size, rng) for _ in range(DRAWS)], float)
    rows = [theirs.make_params([image]) for _ in range(DRAWS)]
    b = np.array([[row[k] for k in ("top", "left", "height", "width")] for row in rows], float)
    for quantity in (lambda x: x[:, 2] * x[:, 3], lambda x: x[:, 3] / x[:, 2], lambda x: x[:, 0], lambda x: x[:, 1]):
        assert distance(quantity(a), quantity(b)) < LIMIT


@pytest.mark.parametrize("size", [(300, 200), (64, 200)])
def test_erased_shares_follow_torchvisions_law(size):
    torch.manual_seed(0)
    rng, image = np.random.default_rng(1), Image.new("RGB", size[::-1])
    spec, theirs = RandomErasing(p=1), v2.RandomErasing(p=1)
    patches = [spec.draw(*size, rng) for _ in range(DRAWS)]
    rows = [theirs.make_params([image]) for _ in range(DRAWS)]
    a = np.array([(p.top, p.left, *p.pixels.shape[:2]) for p in patches], float)
    b = np.array([[row[k] for k in "ijhw"] for row in rows], float)
    for quantity in (lambda x: x[:, 2] * x[:, 3], lambda x: x[:, 2] / x[:, 3], lambda x: x[:, 0], lambda x: x[:, 1]):
        assert distance(quantity(a), quantity(b)) < LIMIT


def test_the_files_and_their_order_are_those_of_an_image_folder(tmp_path):
    names = ["B.png", "a.png", "sub/0.png", "sub-1/0.png", "sub/x/0.JPG", "readme.txt", "0.tif", "z.WebP"]
    for folder in ("train/b", "train/a c", "train/A", "val/b", "val/a c", "val/A"):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x") if name.endswith("txt") else picture(8, 8).save(path)
    ours, theirs = open_dataset(str(tmp_path)), ImageFolder(tmp_path / "train")
    assert list(ours.classes) == theirs.classes
    assert list(zip(ours.train.files, ours.train.labels.tolist(), strict=True)) == theirs.samples
