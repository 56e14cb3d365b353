"""The core's pictures against torchvision's: the same files, the same bits for the same parameters, the same laws."""

import numpy as np
import pytest
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.pixels.augment import (
    Affine,
    AutoContrast,
    CenterCrop,
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Invert,
    Letterbox,
    Pad,
    Perspective,
    Posterize,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    Resize,
    Rotation,
    Sharpness,
    Solarize,
    VerticalFlip,
)
from xfer.pixels.warps import projection

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


TONES = {
    "grey": (RandomGrayscale(), lambda image: F.rgb_to_grayscale(image, 3)),
    "auto-contrast": (AutoContrast(), F.autocontrast),
    "equalize": (Equalize(), F.equalize),
    "invert": (Invert(), F.invert),
    **{f"{b} bits": (Posterize(bits=b), lambda image, b=b: F.posterize(image, b)) for b in range(1, 9)},
    **{f"from {t}": (Solarize(threshold=t), lambda image, t=t: F.solarize(image, t)) for t in (0, 1, 99.5, 128, 255)},
    **{
        f"sharpness {f}": (Sharpness(sharpness_factor=f), lambda image, f=f: F.adjust_sharpness(image, f))
        for f in (0, 0.3, 1, 1.9, 40)
    },
}


@pytest.mark.parametrize(("spec", "theirs"), TONES.values(), ids=TONES)
def test_what_changes_values_alone(spec, theirs):
    for size in SIZES:
        image = picture(*size)
        assert_same(spec.apply(image, True), theirs(image))
        assert_same(spec.apply(image, False), image)


def test_grey():
    image = picture(61, 83)
    assert_same(Grayscale().apply(image), v2.Grayscale(3)(image))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (HorizontalFlip, v2.RandomHorizontalFlip),
        (VerticalFlip, v2.RandomVerticalFlip),
        (RandomGrayscale, v2.RandomGrayscale),
        (AutoContrast, v2.RandomAutocontrast),
        (Equalize, v2.RandomEqualize),
        (Invert, v2.RandomInvert),
        (lambda: Posterize(bits=2), lambda: v2.RandomPosterize(2)),
        (lambda: Solarize(threshold=2), lambda: v2.RandomSolarize(2)),
        (lambda: Sharpness(sharpness_factor=2), lambda: v2.RandomAdjustSharpness(2)),
        (Perspective, v2.RandomPerspective),
    ],
)
def test_how_often_is_torchvisions_where_nobody_says(ours, theirs):
    assert ours().p == theirs().p


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [1, 3, [5, 9], [13, 3], 17])
def test_gaussian_blur(size, kernel):
    """torchvision adds up in float32 and in two dimensions: 1 value in 40,000 is a half here and not there."""
    image, spec = picture(*size), GaussianBlur(kernel_size=kernel)
    for sigma in [0.1, 2.0, 7.5] + [spec.draw(*size, rng) for rng in generators(3)]:
        assert 0.1 <= sigma <= 7.5
        both = [kernel] * 2 if isinstance(kernel, int) else kernel
        pair = (spec.apply(image, sigma), F.gaussian_blur(image, both, [sigma, sigma]))
        ours, theirs = (np.asarray(made).astype(int) for made in pair)
        assert np.abs(ours - theirs).max() <= 1
        assert (ours != theirs).mean() < 1e-3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding", [0, 5, [3, 16], [1, 0, 7, 12]])
def test_pad(size, mode, padding):
    image = picture(*size)
    theirs = F.pad(image, padding, fill=[9, 8, 7], padding_mode=mode)
    assert_same(Pad(padding=padding, fill=[9, 8, 7], padding_mode=mode).apply(image), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [32, [40, 30], [30, 101]])
def test_letterbox_is_a_resizing_and_a_padding(size, wanted):
    image, (height, width) = picture(*size), wanted if isinstance(wanted, list) else (wanted, wanted)
    share = min(height / size[0], width / size[1])
    inner = F.resize(image, [round(side * share) for side in size])
    y, x = height - inner.height, width - inner.width
    assert min(y, x) == 0
    theirs = F.pad(inner, [x // 2, y // 2, x - x // 2, y - y // 2], fill=114)
    assert_same(Letterbox(size=wanted).apply(image), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_affine(size, mode):
    image = picture(*size)
    spec = Affine(
        degrees=180, translate=[0.3, 0.2], scale=[0.5, 2], shear=[-30, 30, -20, 20], interpolation=mode, fill=[1, 2, 3]
    )
    fixed = [Affine(degrees=[a, a], translate=[t, 0]).draw(*size, generators(1)[0]) for a in (0, 90) for t in (0, 0.2)]
    for motion in fixed + [spec.draw(*size, rng) for rng in generators()]:
        values = motion._asdict()
        theirs = F.affine(image, **values, interpolation=InterpolationMode(mode), fill=[1, 2, 3])
        assert_same(spec.apply(image, motion), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_perspective(size, mode):
    image, spec = picture(*size), Perspective(p=1, distortion_scale=0.6, interpolation=mode, fill=[1, 2, 3])
    height, width = size
    before = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    for rng in generators(6):
        corners = spec.draw(*size, rng)
        behind = [list(corner) for corner in corners]
        theirs = F.perspective(image, before, behind, InterpolationMode(mode), fill=[1, 2, 3])
        assert_same(spec.apply(image, corners), theirs)


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


@pytest.mark.parametrize(("degrees", "shear"), [(0, (-5, 20, 30, 40)), (40, 15), ((10, 50), (5, 20)), ((-10, 50), 0)])
def test_affine_motions_follow_torchvisions_law(degrees, shear):
    torch.manual_seed(0)
    count = DRAWS // 3
    rng, image = np.random.default_rng(1), Image.new("RGB", (200, 300))
    fields = {"degrees": degrees, "translate": (0.3, 0.1), "scale": (0.5, 3.0), "shear": shear}
    ours, theirs = Affine(**fields), v2.RandomAffine(**fields)
    a = [ours.draw(300, 200, rng)._asdict() for _ in range(count)]
    b = [theirs.make_params([image]) for _ in range(count)]
    for name in ("angle", "translate", "scale", "shear"):
        one, other = (np.array([row[name] for row in rows], float).reshape(count, -1) for rows in (a, b))
        for column in range(one.shape[1]):
            assert distance(one[:, column], other[:, column]) < LIMIT * np.sqrt(3)


def test_corners_follow_torchvisions_law():
    torch.manual_seed(0)
    rng, image = np.random.default_rng(1), Image.new("RGB", (200, 91))
    ours, theirs = Perspective(p=1, distortion_scale=0.4), v2.RandomPerspective(0.4, p=1)
    count = DRAWS // 5
    a = np.array([projection(ours.draw(91, 200, rng), 91, 200) for _ in range(count)])
    b = np.array([theirs.make_params([image])["coefficients"] for _ in range(count)])
    assert max(distance(one, other) for one, other in zip(a.T, b.T, strict=True)) < LIMIT * np.sqrt(5)


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
