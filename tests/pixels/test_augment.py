"""The augmentation specs: their laws, their draws, and what a recipe may say."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from xfer.errors import ConfigError, DataError
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
    Transform,
    TrivialAugmentWide,
    VerticalFlip,
    apply,
    default_eval,
    default_train,
    describe,
    is_random,
    output_size,
    split_normalize,
)
from xfer.pixels.augmix import Mixture

RECIPE = TypeAdapter(tuple[Transform, ...])
NORMALIZE = Normalize(mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2])
EVERY_RANDOM = [
    RandomResizedCrop(size=[12, 14]),
    RandomCrop(size=[12, 14], padding=3),
    HorizontalFlip(),
    VerticalFlip(),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    Rotation(degrees=30),
    RandomErasing(value="random"),
    RandomGrayscale(p=0.5),
    AutoContrast(),
    Equalize(),
    Invert(),
    Posterize(bits=3),
    Solarize(threshold=100),
    Sharpness(sharpness_factor=2),
    GaussianBlur(kernel_size=[3, 5]),
    Affine(degrees=30, translate=[0.1, 0.2], scale=[0.8, 1.2], shear=10),
    Perspective(),
    RandAugment(),
    TrivialAugmentWide(),
    AutoAugment(policy="cifar10"),
    AugMix(),
    RandomApply(transforms=[ColorJitter(brightness=0.4), GaussianBlur(kernel_size=3)]),
    RandomChoice(transforms=[Rotation(degrees=20), HorizontalFlip()], p=[1, 3]),
]


def picture(height=20, width=24, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def pixels(image):
    return np.asarray(image)


@pytest.mark.parametrize("spec", EVERY_RANDOM, ids=lambda s: s.op)
def test_the_same_generator_gives_the_same_pixels_and_another_one_others(spec):
    image = picture()
    same = [apply(image, [spec], np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    others = [apply(image, [spec], np.random.default_rng(seed)).tobytes() for seed in range(12)]
    assert len(set(others)) > 1


@pytest.mark.parametrize("spec", EVERY_RANDOM, ids=lambda s: s.op)
def test_a_picture_is_never_changed_in_place(spec):
    image = picture()
    before = pixels(image).copy()
    for seed in range(8):
        apply(image, [spec], np.random.default_rng(seed))
    np.testing.assert_array_equal(pixels(image), before)


def test_fixed_transforms_need_no_generator_and_leave_one_alone():
    rng = np.random.default_rng(0)
    result = apply(picture(), default_eval(16), rng)
    assert (result.shape, result.dtype) == ((16, 16, 3), np.uint8)
    assert rng.random() == np.random.default_rng(0).random()
    np.testing.assert_array_equal(result, apply(picture(), default_eval(16)))


def test_random_transforms_refuse_to_go_without_a_generator():
    with pytest.raises(ValueError, match="HorizontalFlip"):
        apply(picture(), [HorizontalFlip()])


def test_normalize_is_left_to_the_network():
    np.testing.assert_array_equal(
        apply(picture(), [CenterCrop(size=8), NORMALIZE]), apply(picture(), [CenterCrop(size=8)])
    )


def test_a_box_covers_the_share_and_shape_it_was_drawn_for():
    spec, rng = RandomResizedCrop(size=8, scale=(0.2, 0.5), ratio=(0.5, 2.0)), np.random.default_rng(0)
    boxes = [spec.draw(600, 600, rng) for _ in range(2000)]
    shares = np.array([b.height * b.width for b in boxes]) / 600**2
    shapes = np.log([b.width / b.height for b in boxes])
    assert shares.min() > 0.199
    assert shares.max() < 0.501
    # Both uniform: mean and standard deviation of U(a, b) are (a + b) / 2 and (b - a) / sqrt(12).
    assert shares.mean() == pytest.approx(0.35, abs=0.01)
    assert shares.std() == pytest.approx(0.3 / math.sqrt(12), rel=0.05)
    assert shapes.mean() == pytest.approx(0, abs=0.04)
    assert shapes.std() == pytest.approx(math.log(4) / math.sqrt(12), rel=0.05)
    assert all(b.top >= 0 and b.left >= 0 and b.top + b.height <= 600 and b.left + b.width <= 600 for b in boxes)


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_flips_happen_at_their_rate(flip, p):
    rng = np.random.default_rng(0)
    rate = np.mean([flip(p=p).draw(8, 8, rng) for _ in range(4000)])
    assert rate == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 4000))


def test_flips_mirror():
    image = picture()
    np.testing.assert_array_equal(HorizontalFlip().apply(image, True), pixels(image)[:, ::-1])
    np.testing.assert_array_equal(VerticalFlip().apply(image, True), pixels(image)[::-1])


def test_erasing_changes_one_rectangle_at_its_rate():
    image, rng = picture(40, 40), np.random.default_rng(0)
    erased = [apply(image, [RandomErasing(p=0.25, value=[1, 2, 3])], rng) for _ in range(800)]
    changed = [(e != pixels(image)).any(axis=2) for e in erased]
    assert np.mean([c.any() for c in changed]) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 800))
    for result, mask in zip(erased, changed, strict=True):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            patch = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert (patch == [1, 2, 3]).all()
            assert 0.01 < patch.shape[0] * patch.shape[1] / 1600 < 0.36


def test_random_erasing_paints_all_values():
    patch = RandomErasing(p=1, value="random").draw(400, 400, np.random.default_rng(0))
    assert set(np.unique(patch.pixels)) == set(range(256))


def test_the_ratio_of_an_erased_rectangle_is_its_height_by_its_width():
    spec, rng = RandomErasing(p=1, scale=[0.1, 0.2], ratio=[2, 3]), np.random.default_rng(0)
    shapes = [spec.draw(600, 600, rng).pixels.shape for _ in range(100)]
    assert all(1.97 < height / width < 3.03 for height, width, _ in shapes)


def test_a_picture_is_never_erased_as_a_whole():
    assert RandomErasing(p=1, scale=[1, 1], ratio=[1, 1]).draw(10, 10, np.random.default_rng(0)) is None


def test_no_rectangle_is_erased_from_a_picture_too_thin_for_one():
    spec = RandomErasing(p=1, scale=[0.9, 1], ratio=[1, 1])
    assert spec.draw(400, 3, np.random.default_rng(0)) is None


def test_a_random_crop_is_a_part_of_the_padded_picture():
    image, spec, rng = picture(10, 12), RandomCrop(size=[8, 9], padding=2, fill=[7, 8, 9]), np.random.default_rng(0)
    padded = np.full((14, 16, 3), [7, 8, 9], np.uint8)
    padded[2:12, 2:14] = pixels(image)
    places = set()
    for _ in range(600):
        cut = spec.draw(10, 12, rng)
        places.add((cut.box.top, cut.box.left))
        expected = padded[cut.box.top : cut.box.top + 8, cut.box.left : cut.box.left + 9]
        np.testing.assert_array_equal(spec.apply(image, cut), expected)
    assert places == {(top, left) for top in range(7) for left in range(8)}


def test_a_picture_smaller_than_its_crop():
    with pytest.raises(DataError, match=r"10 x 12 pixels is smaller.*pad_if_needed"):
        apply(picture(10, 12), [RandomCrop(size=20)], np.random.default_rng(0))
    assert apply(picture(10, 12), [RandomCrop(size=20, pad_if_needed=True)], np.random.default_rng(0)).shape == (
        20,
        20,
        3,
    )
    with pytest.raises(ConfigError, match="RandomCrop of 32 x 32 with padding = 1"):
        output_size([CenterCrop(size=28), RandomCrop(size=32, padding=1)])
    assert output_size([CenterCrop(size=28), RandomCrop(size=32, padding=2)]) == (32, 32)


def test_jitter_of_one_kind_draws_no_other():
    rng = np.random.default_rng(0)
    drawn = [ColorJitter(contrast=[0.5, 0.6], hue=0.2).draw(8, 8, rng) for _ in range(100)]
    assert all(sorted(name for name, _ in d) == ["contrast", "hue"] for d in drawn)
    assert all(0.5 <= dict(d)["contrast"] <= 0.6 and -0.2 <= dict(d)["hue"] <= 0.2 for d in drawn)
    assert min(dict(d)["hue"] for d in drawn) < -0.1
    assert {d[0][0] for d in drawn} == {"contrast", "hue"}  # the order is random too


def test_rotation_angles():
    rng = np.random.default_rng(0)
    angles = [Rotation(degrees=30).draw(8, 8, rng) for _ in range(500)]
    assert -30 <= min(angles) < -27
    assert 27 < max(angles) <= 30
    assert all(5 <= Rotation(degrees=[5, 6]).draw(8, 8, rng) <= 6 for _ in range(50))


@pytest.mark.parametrize(
    ("transforms", "size"),
    [
        (default_train(32), (32, 32)),
        (default_eval(32), (32, 32)),
        ([Resize(size=[30, 40])], (30, 40)),
        ([Resize(size=[30, 40]), Resize(size=15)], (15, 20)),
        ([Resize(size=[41, 30]), Resize(size=15)], (20, 15)),
        ([Resize(size=64), CenterCrop(size=[30, 40]), RandomErasing(), NORMALIZE], (30, 40)),
        ([RandomCrop(size=[8, 9], pad_if_needed=True), Rotation(degrees=5), HorizontalFlip()], (8, 9)),
        ([Letterbox(size=[30, 40]), *EVERY_RANDOM[2:]], (30, 40)),
        ([Resize(size=[10, 12]), Pad(padding=[1, 2, 3, 4], padding_mode="edge"), Grayscale()], (16, 16)),
        ([Pad(padding=7), Letterbox(size=20), Pad(padding=[1, 3])], (26, 22)),
    ],
)
def test_output_size_is_the_size_that_comes_out(transforms, size):
    assert output_size(transforms) == size
    for shape in [(50, 70), (70, 50)]:
        assert apply(picture(*shape), transforms, np.random.default_rng(0)).shape == (*size, 3)


@pytest.mark.parametrize(
    "transforms",
    [
        [],
        [Resize(size=32)],
        [HorizontalFlip(), Resize(size=8), ColorJitter(hue=0.1)],
        [Resize(size=32), Pad(padding=4)],
    ],
)
def test_sizes_that_would_differ_are_refused(transforms):
    with pytest.raises(ConfigError, match=r"different sizes.*Cure"):
        output_size(transforms)


def test_is_random():
    assert not is_random([*default_eval(8), NORMALIZE])
    assert all(is_random([*default_eval(8), spec]) for spec in EVERY_RANDOM)


def test_split_normalize():
    fixed = default_eval(8)
    assert split_normalize([*fixed, NORMALIZE]) == (fixed, NORMALIZE)
    assert split_normalize(fixed) == (fixed, None)
    assert split_normalize([]) == ((), None)
    assert split_normalize([NORMALIZE]) == ((), NORMALIZE)
    for wrong in ([NORMALIZE, *fixed], [*fixed, NORMALIZE, NORMALIZE], [NORMALIZE, *fixed, NORMALIZE]):
        with pytest.raises(ConfigError, match="Cure: move it to the end"):
            split_normalize(wrong)


def test_describe():
    assert describe(default_eval(224)) == "Resize(size=256), CenterCrop(size=224)"
    assert describe([HorizontalFlip(p=0.1)]) == "HorizontalFlip(p=0.1)"
    chosen = RandomChoice(transforms=[Invert(p=1), Posterize(bits=4)])
    assert describe([chosen]) == "RandomChoice(transforms=[Invert(p=1.0), Posterize(bits=4)])"


def test_specs_survive_json():
    specs = (*EVERY_RANDOM, Pad(padding=[1, 2]), Grayscale(), Letterbox(size=24), *default_eval(24), NORMALIZE)
    assert RECIPE.validate_json(RECIPE.dump_json(specs)) == specs


@pytest.mark.parametrize(
    ("spec", "where", "message"),
    [
        ({"op": "Resize", "size": 0}, "size", "whole number of pixels"),
        ({"op": "Resize", "size": "8"}, "size", "whole number of pixels"),
        ({"op": "Resize", "size": [8, 8, 8]}, "size", "height, width"),
        ({"op": "CenterCrop", "size": True}, "size", "whole number of pixels"),
        ({"op": "RandomResizedCrop", "size": 8, "scale": [0.5, 0.1]}, "scale", "low <= high"),
        ({"op": "RandomResizedCrop", "size": 8, "scale": [0, 2]}, "scale", "low <= high <= 1"),
        ({"op": "RandomResizedCrop", "size": 8, "ratio": [0, 1]}, "ratio", "0 < low"),
        ({"op": "RandomCrop", "size": 8, "padding": -1}, "padding", "greater than or equal to 0"),
        ({"op": "HorizontalFlip", "p": 1.5}, "p", "less than or equal to 1"),
        ({"op": "ColorJitter", "brightness": -0.5}, "brightness", "a number >= 0"),
        ({"op": "ColorJitter", "contrast": [0.9, 0.5]}, "contrast", "low <= high"),
        ({"op": "ColorJitter", "hue": 0.6}, "hue", "0..0.5"),
        ({"op": "ColorJitter", "hue": [-0.6, 0]}, "hue", "-0.5 <= low"),
        ({"op": "Rotation", "degrees": [5, -5]}, "degrees", "low <= high"),
        ({"op": "RandomErasing", "value": 256}, "value", "0..255"),
        ({"op": "RandomErasing", "value": "blue"}, "value", '"random"'),
        ({"op": "Normalize", "mean": [0, 0, 0], "std": [1, 0, 1]}, "std", "each above 0"),
        ({"op": "Pad", "padding": [1, 2, 3]}, "padding", "[left, top, right, bottom]"),
        ({"op": "Pad", "padding": 1, "padding_mode": "wrap"}, "padding_mode", "'symmetric'"),
        ({"op": "Grayscale", "num_output_channels": 1}, "num_output_channels", "Input should be 3"),
        ({"op": "Posterize", "bits": 0}, "bits", "greater than or equal to 1"),
        ({"op": "Solarize", "threshold": 256}, "threshold", "less than or equal to 255"),
        ({"op": "Sharpness", "sharpness_factor": -1}, "sharpness_factor", "greater than or equal to 0"),
        ({"op": "GaussianBlur", "kernel_size": 4}, "kernel_size", "an odd number of pixels"),
        ({"op": "GaussianBlur", "kernel_size": 3, "sigma": [2, 1]}, "sigma", "low <= high"),
        ({"op": "GaussianBlur", "kernel_size": 3, "sigma": 0}, "sigma", "in 0.001..1000"),
        ({"op": "Affine"}, "degrees", "Field required"),
        ({"op": "Affine", "degrees": 1, "translate": [0, 1.5]}, 1, "less than or equal to 1"),
        ({"op": "Affine", "degrees": 1, "scale": [0, 1]}, "scale", "0 < low <= high"),
        ({"op": "Affine", "degrees": 1, "shear": [1, 2, 4, 3]}, "shear", "[low, high, low, high]"),
        ({"op": "Affine", "degrees": 1, "shear": 90}, "shear", "in -89..89"),
        ({"op": "Perspective", "distortion_scale": 2}, "distortion_scale", "less than or equal to 1"),
        ({"op": "RandAugment", "magnitude": 31}, "RandAugment", "expected at most 30"),
        ({"op": "RandAugment", "num_ops": -1}, "num_ops", "greater than or equal to 0"),
        ({"op": "TrivialAugmentWide", "num_magnitude_bins": 1}, "num_magnitude_bins", "greater than or equal to 2"),
        ({"op": "AutoAugment", "policy": "coco"}, "policy", "'imagenet', 'cifar10' or 'svhn'"),
        ({"op": "AugMix", "severity": 11}, "severity", "less than or equal to 10"),
        ({"op": "AugMix", "alpha": 0}, "alpha", "greater than or equal to 0.001"),
        ({"op": "RandomApply", "transforms": []}, "transforms", "one or more augmentations"),
        ({"op": "RandomApply", "transforms": [{"op": "Resize", "size": 8}]}, "transforms", "'Resize' found using 'op'"),
        ({"op": "RandomChoice", "transforms": [{"op": "Invert"}], "p": [1, 2]}, "RandomChoice", "one number for each"),
        ({"op": "RandomChoice", "transforms": [{"op": "Invert"}], "p": [0]}, "RandomChoice", "not all of them 0"),
        ({"op": "RandomChoice", "transforms": [{"op": "Invert"}], "p": [1e-323]}, "RandomChoice", "not all of them 0"),
        ({"op": "Resize", "siz": 8, "size": 8}, "siz", "Extra inputs"),
        ({"op": "Resize"}, "size", "Field required"),
        ({"op": "Rezise", "size": 8}, 0, "Rezise"),
        ({"size": 8}, 0, "op"),
    ],
    ids=json.dumps,
)
def test_what_cannot_be_meant_is_one_complaint(spec, where, message):
    with pytest.raises(ValidationError) as raised:
        RECIPE.validate_json(json.dumps([spec]))
    (problem,) = raised.value.errors()
    assert where in problem["loc"]
    assert message in problem["msg"]


def test_what_happens_some_of_the_time_happens_at_its_rate_and_else_leaves_a_picture_alone():
    image, rng = picture(), np.random.default_rng(0)
    for kind in (RandomGrayscale, AutoContrast, Equalize, Invert, Perspective):
        drawn = [kind(p=0.3).draw(20, 24, rng) for _ in range(2000)]
        assert np.mean([d not in (False, None) for d in drawn]) == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 2000))
        assert kind(p=0).apply(image, kind(p=0).draw(20, 24, rng)) is image


def test_grey_is_the_luma_of_itu_r_601_in_every_channel():
    grey = pixels(Grayscale().apply(picture()))
    luma = pixels(picture()) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - luma[..., None]).max() < 0.51
    assert (grey == grey[..., :1]).all()


def test_a_blur_is_the_gaussian_sum_of_mirrored_neighbours():
    image, sigma = picture(9, 40), 1.3
    x, y = np.arange(-3, 4), np.arange(-2, 3)
    kernel = np.exp(-(x**2 + y[:, None] ** 2) / (2 * sigma**2))
    padded = np.pad(pixels(image).astype(float), ((2, 2), (3, 3), (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 7), (0, 1))
    right = (windows * (kernel / kernel.sum())).sum((-1, -2))
    assert np.abs(pixels(GaussianBlur(kernel_size=[7, 5]).apply(image, sigma)) - right).max() < 0.5001


def test_a_blur_does_not_show_the_strips_it_is_made_in():
    """Turned, the same picture is divided otherwise."""
    tall, spec = picture(3000, 30), GaussianBlur(kernel_size=9)
    wide = spec.apply(tall.transpose(Image.Transpose.TRANSPOSE), 2.0).transpose(Image.Transpose.TRANSPOSE)
    assert np.abs(pixels(spec.apply(tall, 2.0)).astype(int) - pixels(wide)).max() <= 1  # sums in another order
    flat = Image.new("RGB", (30, 3000), (7, 8, 9))
    np.testing.assert_array_equal(spec.apply(flat, 2.0), flat)


@pytest.mark.parametrize("how", ["edge", "reflect", "symmetric"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_picture_goes_on_around_itself_however_far(how, count):
    """By definition: the edge, or there and back again, step by step."""
    there = list(range(count))
    back = {"edge": [], "reflect": there[-2:0:-1], "symmetric": there[::-1]}[how]
    cycle = there + back
    right = [min(max(i, 0), count - 1) if how == "edge" else cycle[i % len(cycle)] for i in range(-13, count + 11)]
    row = Image.fromarray(np.arange(3 * count, dtype=np.uint8).reshape(1, count, 3))
    made = pixels(Pad(padding=[13, 2, 11, 1], padding_mode=how).apply(row))
    assert made.shape == (4, count + 24, 3)
    for line in made:
        np.testing.assert_array_equal(line, pixels(row)[0][right])


def test_a_letterbox_shows_the_whole_picture():
    image = Image.new("RGB", (10, 31), (1, 2, 3))
    tall = pixels(Letterbox(size=[31, 15], fill=[9, 8, 7]).apply(image))
    assert (tall[:, 2:12] == [1, 2, 3]).all()
    assert (tall[:, :2] == [9, 8, 7]).all()
    assert (tall[:, 12:] == [9, 8, 7]).all()
    assert pixels(Letterbox(size=40).apply(Image.new("RGB", (10_000, 1)))).shape == (40, 40, 3)


def test_corners_that_stay_leave_the_picture_and_three_on_a_line_too():
    image, spec = picture(20, 24), Perspective(p=1)
    same = spec.apply(image, ((0, 0), (23, 0), (23, 19), (0, 19)))
    np.testing.assert_array_equal(pixels(same)[:-1, :-1], pixels(image)[:-1, :-1])
    square = [(1, 2), (21, 2), (21, 18), (1, 18)]
    on_a_line = [[*square[:i], (11, 10), *square[i + 1 :]] for i in range(4)]
    for corners in [[(5, 5)] * 4, [(0, 0), (5, 5), (10, 10), (3, 3)], [(0, 0), (0, 0), (23, 19), (0, 19)], *on_a_line]:
        assert spec.apply(image, corners) is image
    assert Perspective(p=1, distortion_scale=1).apply(
        Image.new("RGB", (1, 9)), spec.draw(9, 1, np.random.default_rng(0))
    )


def test_an_affine_motion_by_whole_pixels_is_a_shift():
    spec, image = Affine(degrees=0, translate=[0.5, 0.5], fill=7), picture(20, 24)
    motion = spec.draw(20, 24, np.random.default_rng(1))
    x, y = motion.translate
    shifted = np.full((60, 72, 3), 7, np.uint8)
    shifted[20 + y : 40 + y, 24 + x : 48 + x] = pixels(image)
    assert x != 0
    assert y != 0
    np.testing.assert_array_equal(spec.apply(image, motion), shifted[20:40, 24:48])


def test_all_or_none_of_a_list_is_applied_in_order():
    inner = (Posterize(bits=1, p=1), Invert(p=1))
    spec, image, rng = RandomApply(transforms=inner, p=0.25), picture(), np.random.default_rng(0)
    both, none = 255 - (pixels(image) & 128), pixels(image)
    for _ in range(40):
        drawn = spec.draw(20, 24, rng)
        np.testing.assert_array_equal(spec.apply(image, drawn), none if drawn is None else both)
    rate = np.mean([spec.draw(20, 24, rng) is not None for _ in range(8000)])
    assert rate == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / 8000))


@pytest.mark.parametrize(("p", "shares"), [(None, (1 / 3, 1 / 3, 1 / 3)), ((3, 0, 1), (0.75, 0, 0.25))])
def test_one_of_a_list_is_chosen_as_often_as_asked(p, shares):
    spec = RandomChoice(transforms=(Posterize(bits=1, p=1), Invert(p=1), HorizontalFlip(p=1)), p=p)
    image, rng = picture(), np.random.default_rng(0)
    single = [apply(image, [transform], rng).tobytes() for transform in spec.transforms]
    made = [single.index(apply(image, [spec], rng).tobytes()) for _ in range(1000)]
    for number, share in enumerate(shares):
        assert abs(made.count(number) - 1000 * share) <= 4 * math.sqrt(1000 * share * (1 - share))


@pytest.mark.parametrize("luck", [0.0, 1 - 2.0**-53])
def test_what_has_no_share_is_not_chosen_at_the_edges_either(luck):
    class Edge:
        def random(self):
            return luck

    for share in (1e-6, 0.1, 1 / 3, 1e6):
        spec = RandomChoice(transforms=(Invert(), Equalize(), HorizontalFlip()), p=(0, share, 0))
        assert spec.choose(Edge()) == 1


def test_a_mixture_does_not_show_the_strips_it_is_made_in():
    tall, spec = picture(9000, 60), AugMix(mixture_width=1, chain_depth=1)
    made = pixels(spec.apply(tall, Mixture(0.25, ((0.75, (("Solarize", 0.0),)),))))
    right = np.float32(0.25) * pixels(tall) + np.float32(0.75) * (255 - pixels(tall))
    np.testing.assert_array_equal(made, right.astype(np.uint8))
