"""Any numbers that an augmentation accepts make a picture of any shape into one, or say in a line why not."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from xfer.errors import DataError
from xfer.pixels.augment import Pad, RandomResizedCrop, Resize, Transform, apply, working_pixels

LIST = TypeAdapter(tuple[Transform, ...])
quick = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1000)

numbers = st.floats() | st.integers(-400, 400).map(lambda n: float(f"1e{n}")) | st.integers() | st.floats(0, 1)
pairs = st.lists(numbers, min_size=2, max_size=2).map(lambda pair: sorted(pair, key=lambda n: (n != n, n)))
either = numbers | pairs
sides = st.integers(1, 64)
sizes = sides | st.lists(sides, min_size=2, max_size=2)
FIELDS = {
    "Resize": {"size": sizes},
    "CenterCrop": {"size": sizes},
    "RandomResizedCrop": {"size": sizes, "scale": pairs, "ratio": pairs},
    "RandomCrop": {"size": sizes, "padding": st.integers(-1, 99), "fill": st.integers()},
    "HorizontalFlip": {"p": numbers},
    "ColorJitter": {"brightness": either, "contrast": either, "saturation": either, "hue": either},
    "Rotation": {"degrees": either},
    "RandomErasing": {"scale": pairs, "ratio": pairs, "value": st.integers()},
    "Pad": {
        "padding": st.integers(-1, 99) | st.lists(st.integers(0, 99), min_size=2, max_size=4),
        "padding_mode": st.sampled_from(["edge", "reflect", "symmetric"]),
    },
    "Letterbox": {"size": sizes, "fill": st.integers()},
    "Posterize": {"bits": st.integers(-1, 9)},
    "Solarize": {"threshold": numbers},
    "Sharpness": {"sharpness_factor": numbers},
    "GaussianBlur": {"kernel_size": sizes, "sigma": either},
    "Affine": {
        "degrees": either,
        "translate": pairs,
        "scale": pairs,
        "shear": either | st.lists(st.floats(-99, 99), min_size=4, max_size=4),
    },
    "Perspective": {"p": st.just(1.0), "distortion_scale": numbers},
    "RandAugment": {"num_ops": st.integers(-1, 5), "magnitude": st.integers(), "num_magnitude_bins": st.integers()},
    "AugMix": {"severity": st.integers(0, 11), "mixture_width": st.integers(-1, 3), "alpha": numbers},
    "TrivialAugmentWide": {"num_magnitude_bins": st.integers()},
    "Normalize": {"mean": st.lists(numbers, min_size=3, max_size=3), "std": st.lists(numbers, min_size=3, max_size=3)},
}


@st.composite
def specs(draw):
    op = draw(st.sampled_from(sorted(FIELDS)))
    required = {"size", "degrees", "mean", "std", "padding", "bits", "threshold", "sharpness_factor", "kernel_size"}
    chosen = {key: draw(of) for key, of in FIELDS[op].items() if key in required or draw(st.booleans())}
    return {"op": op, **chosen}


@quick
@given(specs(), st.tuples(sides, sides), st.integers(0, 5))
def test_any_numbers_make_a_picture_or_are_refused(spec, shape, seed):
    with suppress(ValidationError):
        transforms = LIST.validate_python([spec])
        image = Image.fromarray(np.arange(3 * shape[0] * shape[1], dtype=np.uint8).reshape(*shape, 3))
        with suppress(DataError):  # smaller than a crop
            check(apply(image, transforms, np.random.default_rng(seed)))


def check(pixels):
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.size > 0


def test_a_box_of_the_narrowest_shape_has_a_column():
    crop = RandomResizedCrop(size=8, ratio=(0.001, 0.001), scale=(1, 1))
    assert crop.draw(100, 100, np.random.default_rng(0)) == (0, 49, 100, 1)
    assert crop.draw(100, 100, np.random.default_rng(0)).width == 1


@pytest.mark.parametrize(
    ("specs", "most"),
    [
        ([{"op": "Resize", "size": 256}, {"op": "CenterCrop", "size": 224}], 256 * 256),
        ([{"op": "RandomCrop", "size": 32, "padding": 4}], 32 * 32),
        ([{"op": "Resize", "size": [8, 10]}, {"op": "RandomCrop", "size": 8, "padding": 100}], 208 * 210),
        ([{"op": "HorizontalFlip"}], 0),
        (
            [{"op": "Resize", "size": [8, 10]}, {"op": "Pad", "padding": [1, 2]}, {"op": "CenterCrop", "size": 4}],
            12 * 12,
        ),
        ([{"op": "Pad", "padding": 100}, {"op": "Letterbox", "size": 8}], 200 * 200),
    ],
)
def test_the_largest_picture_on_the_way_is_known(specs, most):
    assert working_pixels(LIST.validate_python(specs)) == most


def test_a_long_picture_is_not_resized_to_what_no_picture_may_be():
    line = Image.new("RGB", (2000, 20))
    assert apply(line, (Resize(size=40),)).shape == (40, 4000, 3)
    with pytest.raises(DataError, match=r"to 2000 x 200000: more than 178,956,970 pixels\. Cure: a smaller size"):
        apply(line, (Resize(size=2000),))


def test_a_picture_is_not_padded_to_what_no_picture_may_be():
    line = Image.new("RGB", (2000, 20))
    with pytest.raises(
        DataError, match=r"Pad of 20 x 2000 to 40020 x 42000: more than 178,956,970 pixels\. Cure: a small"
    ):
        apply(line, (Pad(padding=20_000),))


@pytest.mark.parametrize("degrees", [-0.0, [0.0, -0.0]])
def test_a_zero_may_have_a_sign(degrees):
    image, rng = Image.new("RGB", (8, 8)), np.random.default_rng(0)
    for spec in (
        {"op": "Rotation", "degrees": degrees},
        {"op": "Affine", "degrees": degrees, "translate": [-0.0, 0.0]},
    ):
        assert apply(image, LIST.validate_python([spec]), rng).shape == (8, 8, 3)
