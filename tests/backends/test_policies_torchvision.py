"""RandAugment, TrivialAugmentWide and AutoAugment against torchvision's: the same space, and the same bits in it."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from xfer.pixels.augment import AutoAugment, RandAugment, TrivialAugmentWide
from xfer.pixels.policies import CUBUK, OPERATIONS, SIGNED, WIDE, magnitude, perform
from xfer.pixels.policy_tables import POLICIES

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.transforms import InterpolationMode, v2

SIZES = [(61, 83), (33, 331)]  # height, width; 331 makes whole pixels of AutoAugment's shifts
SPACES = {"RandAugment": CUBUK, "TrivialAugmentWide": WIDE, "AutoAugment": CUBUK}
BINS = {"RandAugment": 31, "TrivialAugmentWide": 31, "AutoAugment": 10}


def picture(height, width):
    rng = np.random.default_rng((height, width))
    noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    blocks = Image.fromarray(rng.integers(20, 230, (5, 7, 3), np.uint8)).resize((width, height))
    return Image.blend(noise, blocks, 0.7)


def theirs_of(name):
    return getattr(v2, name)._AUGMENTATION_SPACE


@pytest.mark.parametrize("policy", SPACES)
def test_every_operation_has_torchvisions_magnitudes_and_signs(policy):
    auto = policy == "AutoAugment"  # without the first, and with one more
    assert list(theirs_of(policy)) == [*OPERATIONS[auto:], *["Invert"] * auto]
    for name, (rungs, signed) in theirs_of(policy).items():
        assert signed == (name in SIGNED)
        for bins in (2, 9, 10, 31):
            for size in (*SIZES, (224, 160)):
                theirs = rungs(bins, *size)
                ours = [magnitude(name, number, bins, *size, SPACES[policy]) for number in range(bins)]
                assert ours == ([0.0] * bins if theirs is None else theirs.tolist())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("policy", SPACES)
def test_every_operation_at_every_magnitude_makes_torchvisions_pixels(policy, size):
    image, mode, fill = picture(*size), "nearest" if size[1] < 100 else "bilinear", (9, 8, 7)
    theirs = getattr(v2, policy)()
    bins = BINS[policy]
    for name, (_, signed) in theirs_of(policy).items():
        rungs = [magnitude(name, number, bins, *size, SPACES[policy]) for number in range(bins)]
        for strength in {sign * rung for rung in rungs for sign in ((1, -1) if signed else (1,))}:
            expected = theirs._apply_image_or_video_transform(
                image, name, strength, InterpolationMode(mode), {Image.Image: list(fill)}
            )
            np.testing.assert_array_equal(
                np.asarray(perform(image, name, strength, mode, fill)), np.asarray(expected), f"{name} {strength}"
            )


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policies_found_are_torchvisions(policy):
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies
    assert [[(name, p, number or 0) for name, p, number in pair] for pair in theirs] == [
        list(pair) for pair in POLICIES[policy]
    ]
    for name, _, number in (part for pair in theirs for part in pair):
        assert (number is None) == (theirs_of("AutoAugment")[name][0](10, 8, 8) is None)


def test_what_nobody_says_is_torchvisions():
    ours, theirs = RandAugment(), v2.RandAugment()
    for name in ("num_ops", "magnitude", "num_magnitude_bins", "interpolation"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert TrivialAugmentWide().num_magnitude_bins == v2.TrivialAugmentWide().num_magnitude_bins
    assert AutoAugment().policy == v2.AutoAugment().policy.value


DRAWS = 4000


def counts(spec, key, size=(64, 48)):
    rng = np.random.default_rng(7)
    return Counter(key(spec.draw(*size, rng)) for _ in range(DRAWS))


def assert_even(found, expected):
    """Each as often as the others: within four and a half standard deviations, one count in 140,000 is further off."""
    p = 1 / len(expected)
    assert set(found) == set(expected)
    assert all(abs(n - DRAWS * p) < 4.5 * np.sqrt(DRAWS * p * (1 - p)) for n in found.values()), found


def test_every_operation_is_drawn_as_often_as_the_others():
    for place in (0, 1):
        assert_even(counts(RandAugment(), lambda drawn, i=place: drawn[i][0]), OPERATIONS)
    pairs = [(a, b) for a in OPERATIONS for b in OPERATIONS]
    assert_even(counts(RandAugment(), lambda drawn: (drawn[0][0], drawn[1][0])), pairs)
    assert_even(counts(TrivialAugmentWide(), lambda drawn: drawn[0][0]), OPERATIONS)
    assert {len(RandAugment(num_ops=n).draw(8, 8, np.random.default_rng(0))) for n in (0, 5)} == {0, 5}


def test_every_magnitude_and_sign_is_drawn_as_often_as_the_others():
    rng, shears = np.random.default_rng(3), []
    while len(shears) < DRAWS:
        ((name, strength),) = TrivialAugmentWide(num_magnitude_bins=4).draw(64, 48, rng)
        shears += [strength] if name == "Rotate" else []
    found = Counter(shears)
    assert found[0.0] == pytest.approx(DRAWS / 4, abs=4.5 * np.sqrt(DRAWS * 3 / 16))
    assert sorted(set(shears)) == [-135, -90, -45, 0, 45, 90, 135]
    moved = DRAWS - found[0.0]
    assert sum(s < 0 for s in shears) == pytest.approx(moved / 2, abs=4.5 * np.sqrt(moved / 4))
    for strength in (-135, -90, -45, 45, 90, 135):
        assert found[strength] == pytest.approx(DRAWS / 8, abs=4.5 * np.sqrt(DRAWS * 7 / 64))


def test_rand_augment_has_one_magnitude_with_either_sign():
    rng, found = np.random.default_rng(3), set()
    for _ in range(600):
        found |= set(RandAugment(magnitude=30).draw(331, 662, rng))
    signed = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": 300, "TranslateY": 150, "Rotate": 30} | dict.fromkeys(
        ("Brightness", "Color", "Contrast", "Sharpness"), 0.9
    )
    expected = {("Identity", 0.0), ("Posterize", 4.0), ("Solarize", 0.0), ("AutoContrast", 0.0), ("Equalize", 0.0)}
    expected |= {(name, float(np.float32(sign * most))) for name, most in signed.items() for sign in (1, -1)}
    assert found == expected


def test_auto_augment_draws_its_pairs_by_their_probabilities():
    """The names that are drawn, as often as the table says: a pair is any of 25, and its parts are independent."""
    for policy, pairs in POLICIES.items():
        expected = Counter()
        for (one, p, _), (other, q, _) in pairs:
            for names, share in (((one, other), p * q), ((one,), p * (1 - q)), ((other,), (1 - p) * q)):
                expected[names] += share / len(pairs)
            expected[()] += (1 - p) * (1 - q) / len(pairs)
        found = counts(AutoAugment(policy=policy), lambda drawn: tuple(name for name, _ in drawn))
        for names, share in expected.items():
            assert abs(found[names] - DRAWS * share) <= 4.5 * np.sqrt(DRAWS * share * (1 - share)), (policy, names)
        assert set(found) <= {names for names, share in expected.items() if share > 0}
