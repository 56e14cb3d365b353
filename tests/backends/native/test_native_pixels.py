"""What the frameworks' own input pipelines make of a picture: the core's pixels, by the core's distributions.

Tolerance of everything that draws nothing, or draws from a range of one value: none, the pixels are the core's.
"""

from pathlib import Path

import numpy as np
import pytest
from native_pictures import picture, read

from xfer.data.order import chunks
from xfer.errors import BackendError, DataError
from xfer.pixels.augment import (
    Affine,
    AugMix,
    AutoAugment,
    AutoContrast,
    CenterCrop,
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Invert,
    Letterbox,
    Normalize,
    Pad,
    Perspective,
    Posterize,
    RandAugment,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    Resize,
    Rotation,
    Sharpness,
    Solarize,
    TrivialAugmentWide,
    VerticalFlip,
    apply,
)
from xfer.pixels.images import open_image

DRAWS = 400
REFERENCE = 1500
LIMIT = np.sqrt(-np.log(1e-4 / 2) / 2 * (1 / DRAWS + 1 / REFERENCE))
"""Two samples of one law are further apart once in 10,000 times (Kolmogorov and Smirnov)."""


def sample(native, file, transforms, seed=3):
    """DRAWS pictures made of one, (DRAWS, H, W, 3)."""
    parts = chunks(np.arange(DRAWS), 50)
    return np.concatenate([batch.inputs for batch in read(native, [file] * DRAWS, transforms, parts, seed)])


CORES = {}
"""What the core made, which the backends are compared with one after another."""


def core_sample(file, transforms, statistic):
    key = (Path(file).read_bytes(), repr(transforms), statistic.__qualname__)
    if key not in CORES:
        image = open_image(file)
        CORES[key] = [statistic(apply(image, transforms, np.random.default_rng((5, i)))) for i in range(REFERENCE)]
    return CORES[key]


def distance(ours, theirs):
    """Kolmogorov-Smirnov statistic of two samples."""
    a, b = np.sort(ours), np.sort(theirs)
    both = np.concatenate([a, b])
    return np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max()


def assert_same_law(native, file, transforms, statistic):
    """`statistic` makes numbers of a picture; each of them follows the law that it follows in the core."""
    ours = np.array([statistic(pixels) for pixels in sample(native, file, transforms)], float)
    core = np.array(core_sample(file, transforms, statistic), float)
    distances = [distance(a, b) for a, b in zip(ours.T, core.T, strict=True)]
    assert max(distances) < LIMIT, distances


FIXED = {
    "shorter side": [Resize(size=40)],
    "shorter side, larger": [Resize(size=256, interpolation="nearest")],
    "both sides": [Resize(size=[24, 50], interpolation="bicubic")],
    "both sides, nearest": [Resize(size=[90, 33], interpolation="nearest")],
    "the middle": [CenterCrop(size=16)],
    "the middle of less, odd": [CenterCrop(size=97)],
    "the middle of less, even": [CenterCrop(size=[20, 100])],
    "as usual": [Resize(size=37), CenterCrop(size=32)],
    "normalisation is the network's": [Resize(size=37), Normalize(mean=(0.5,) * 3, std=(0.1,) * 3)],
    "no jitter": [ColorJitter(contrast=(1, 1))],
    "brightness": [ColorJitter(brightness=(0.5, 0.5))],
    "contrast": [ColorJitter(contrast=(1.75, 1.75))],
    "saturation": [ColorJitter(saturation=(0.25, 0.25))],
    "hue": [ColorJitter(hue=(0.25, 0.25))],
    "hue, backwards": [ColorJitter(hue=(-0.125, -0.125))],
    "rotation": [Rotation(degrees=(30, 30), fill=[1, 2, 3])],
    "smooth rotation": [Rotation(degrees=(-200, -200), interpolation="bilinear")],
    "cubic rotation": [Rotation(degrees=(90.5, 90.5), interpolation="bicubic", fill=9)],
    "flips": [HorizontalFlip(p=1), VerticalFlip(p=1)],
    "no flips": [HorizontalFlip(p=0), VerticalFlip(p=0), RandomErasing(p=0)],
    "the only crop": [Resize(size=[30, 40]), RandomCrop(size=[36, 46], padding=3, fill=[9, 8, 7])],
    "grey": [Grayscale()],
    "grey, surely": [RandomGrayscale(p=1)],
    "auto-contrast": [AutoContrast(p=1)],
    "equalized": [Equalize(p=1)],
    "inverted": [Invert(p=1), Invert(p=0)],
    "posterized": [Posterize(bits=3, p=1)],
    "solarized": [Solarize(threshold=99.5, p=1)],
    "sharper": [Sharpness(sharpness_factor=1.7, p=1)],
    "framed": [Pad(padding=[1, 2, 3, 4], fill=[9, 8, 7])],
    "framed by itself": [Pad(padding=[3, 9], padding_mode="symmetric")],
    "moved": [
        Affine(degrees=(33, 33), scale=(1.5, 1.5), shear=(5, 5, -7, -7), interpolation="bilinear", fill=[1, 2, 3])
    ],
    "no perspective": [Perspective(p=0), RandAugment(num_ops=0)],
    "all of a list": [RandomApply(transforms=[Invert(p=1), Posterize(bits=2, p=1)], p=1)],
    "none of a list": [RandomApply(transforms=[Invert(p=1)], p=0)],
    "the only one of a list": [RandomChoice(transforms=[Invert(p=1), Equalize(p=1)], p=[0, 2])],
    "all, resized": [Resize(size=[60, 80]), RandomResizedCrop(size=32, scale=(1, 1), ratio=(80 / 60, 80 / 60))],
    "all, bicubic": [
        Resize(size=[60, 80]),
        RandomResizedCrop(size=[90, 40], scale=(1, 1), ratio=(80 / 60, 80 / 60), interpolation="bicubic"),
    ],
}


@pytest.mark.parametrize("transforms", FIXED.values(), ids=FIXED)
def test_where_nothing_is_left_to_chance_the_pixels_are_the_cores(native, mixed, transforms):
    batches = read(native, mixed, transforms, [[i] for i in range(len(mixed))])
    for file, batch in zip(mixed, batches, strict=True):
        core = apply(open_image(file), [t for t in transforms if t.op != "Normalize"], np.random.default_rng(0))
        np.testing.assert_array_equal(batch.inputs[0], core)


def map_of(height, width):
    """A picture that says where each of its pixels is: red its column, green its row, blue 200."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 200)], 2)


def box(pixels):
    """(area, width / height, top, left) of the part of a map that fills a larger picture, by nearest pixels."""
    left, top, _ = pixels.min((0, 1)).astype(int)
    right, bottom, _ = pixels.max((0, 1)).astype(int)
    height, width = bottom - top + 1, right - left + 1
    return height * width, width / height, top, left


@pytest.mark.parametrize("size", [(72, 48), (30, 70)])
def test_crops_have_the_cores_areas_ratios_and_places(native, tmp_path, size):
    file = picture(map_of(*size), tmp_path / "map.png")
    spec = RandomResizedCrop(size=72, scale=(0.1, 0.9), ratio=(0.25, 3), interpolation="nearest")
    assert_same_law(native, file, [spec], box)


def test_where_no_box_fits_the_middle_is_cropped(native, tmp_path):
    """With nearly the whole area asked for, no shape fits."""
    file = picture(map_of(20, 101), tmp_path / "map.png")
    spec = RandomResizedCrop(size=[101, 101], scale=(0.9999, 1.0), ratio=(0.9, 1.1), interpolation="nearest")
    for pixels in read(native, [file], [spec], [[0]])[0].inputs:
        area, ratio, top, left = box(pixels)
        assert (area, ratio, top) == (20 * 22, 22 / 20, 0)
        assert left in (39, 40)  # the odd column may be on either side


@pytest.mark.parametrize(
    "spec",
    [
        RandomCrop(size=[20, 24]),
        RandomCrop(size=30, padding=6, fill=[255, 254, 7]),
        RandomCrop(size=[50, 60], pad_if_needed=True, fill=255),
    ],
)
def test_crops_of_one_size_lie_where_the_cores_lie(native, tmp_path, spec):
    file = picture(map_of(31, 40), tmp_path / "map.png")

    def place(pixels):
        inside = pixels[:, :, 2] == 200
        assert (pixels[~inside] == spec.fill).all()
        row, column = divmod(inside.argmax(), inside.shape[1])
        return pixels[row, column, 1] - float(row), pixels[row, column, 0] - float(column), inside.sum()

    assert_same_law(native, file, [spec], place)


def test_flips_are_as_frequent_as_asked_and_independent(native, tmp_path):
    file = picture(map_of(8, 8), tmp_path / "map.png")
    made = sample(native, file, [HorizontalFlip(p=0.3), VerticalFlip(p=0.8)])
    across, down = made[:, 0, 0, 0] == 7, made[:, 0, 0, 1] == 7
    for flipped, p in ((across, 0.3), (down, 0.8), (across & down, 0.24)):
        assert abs(flipped.mean() - p) < 4 * np.sqrt(p * (1 - p) / DRAWS)  # one binomial in 16,000 is further off


@pytest.mark.parametrize(
    "spec",
    [
        ColorJitter(brightness=0.6),
        ColorJitter(brightness=1.5),
        ColorJitter(contrast=(0.2, 0.9)),
        ColorJitter(saturation=0.8),
        ColorJitter(hue=0.2),
        ColorJitter(hue=(-0.5, -0.1)),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.7, hue=0.1),
    ],
    ids=lambda spec: ",".join(sorted(spec.model_fields_set)),
)
def test_colours_vary_as_the_cores_do(native, tmp_path, spec):
    two = np.array([[[150, 60, 40], [30, 110, 90]]]).repeat(8, 0).repeat(4, 1)
    file = picture(two, tmp_path / "two.png")
    assert_same_law(native, file, [spec], lambda pixels: pixels[0, [0, -1]].ravel())


@pytest.mark.parametrize("degrees", [20, 360, 250, (0, 360), (-30, 500), (100, 170)])
def test_angles_follow_the_cores_law(native, tmp_path, degrees):
    pixels = np.zeros((65, 65, 3))
    pixels[27:38, 47:58] = 255
    file = picture(pixels, tmp_path / "spot.png")

    def angle(pixels):
        rows, columns = np.nonzero(pixels[:, :, 0])
        return (np.degrees(np.arctan2(32 - rows.mean(), columns.mean() - 32)),)

    assert_same_law(native, file, [Rotation(degrees=degrees)], angle)


@pytest.mark.parametrize("value", [0, [10, 20, 30], "random"])
def test_as_much_is_erased_as_in_the_core(native, tmp_path, value):
    """Shares with their zeros, shapes, places, and the colour in the middle."""
    file = picture(np.full((60, 40, 3), 200), tmp_path / "plain.png")
    spec = RandomErasing(p=0.6, scale=(0.05, 0.5), ratio=(0.2, 1.2), value=value)

    def patch(pixels):
        where = np.argwhere((pixels != 200).any(2))
        if not len(where):
            return (0,) * 7
        (top, left), (bottom, right) = where.min(0), where.max(0) + 1
        middle = pixels[(top + bottom) // 2, (left + right) // 2]
        return (bottom - top) * (right - left), (bottom - top) / (right - left), top + 1, left + 1, *middle

    assert_same_law(native, file, [spec], patch)


def test_a_blur_is_the_cores_but_for_the_rounding_of_halves(native, mixed):
    spec = GaussianBlur(kernel_size=[5, 9], sigma=(1.5, 1.5))
    for file, batch in zip(mixed, read(native, mixed, [spec], [[i] for i in range(len(mixed))]), strict=True):
        core = spec.apply(open_image(file), 1.5)
        apart = np.abs(batch.inputs[0].astype(int) - np.asarray(core))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "spec",
    [
        RandomApply(
            transforms=[Affine(degrees=50, translate=(0.2, 0.1), scale=(0.7, 1.2), shear=(-9, 20, 0, 15))], p=0.7
        ),
        Perspective(p=0.7, distortion_scale=0.6),
        RandAugment(num_ops=1, magnitude=20),
        RandomChoice(transforms=[TrivialAugmentWide(), AutoAugment(policy="svhn"), Rotation(degrees=90)], p=(1, 2, 3)),
    ],
    ids=lambda spec: spec.op,
)
def test_what_is_drawn_otherwise_follows_the_cores_law(native, tmp_path, spec):
    assert_same_law(native, ramp(tmp_path), [spec], quarters)


def ramp(folder):
    """A picture that grows brighter and darker in several directions."""
    rows, columns = np.mgrid[:32, :40]
    return picture(np.stack([40 + 5 * columns, 30 + 6 * rows, 220 - 2 * rows - 3 * columns], 2), folder / "ramp.png")


def quarters(pixels):
    """The mean colours of the quarters of a ramp, and how far all of it spreads."""
    blocks = pixels.reshape(2, 16, 2, 20, 3).astype(float)
    return [*blocks.mean((1, 3)).ravel(), pixels.std()]


def test_mixtures_follow_the_cores_law_where_a_framework_has_any(native, backend, mixed, tmp_path):
    spec = AugMix(severity=5, mixture_width=2, alpha=0.5)
    if backend.name == "mindspore":
        with pytest.raises(BackendError, match=r"MindSpore's has no AugMix\. Cure: data\.pipeline = 'core'"):
            read(native, mixed, [spec], [[0]])
    else:
        assert_same_law(native, ramp(tmp_path), [spec], quarters)


def test_what_a_framework_does_not_have_is_refused_by_name(native, mixed):
    with pytest.raises(BackendError, match=r"no Letterbox\. Cure: data\.pipeline = 'core'"):
        read(native, mixed, [Letterbox(size=8)], [[0]])


def test_a_picture_is_not_padded_to_what_no_picture_may_be(native, mixed):
    with pytest.raises(DataError, match=r"Pad of 61 x 83 to 40061 x 40083: more than 178,956,970 pixels"):
        read(native, mixed, [Pad(padding=20_000)], [[0]])
