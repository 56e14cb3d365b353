"""RandAugment, TrivialAugmentWide, AutoAugment and AugMix against torchvision's: the same space, and its bits."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from xfer.pixels.augment import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from xfer.pixels.augmix import COLOURS, MIXED, OTHERS
from xfer.pixels.policies import CUBUK, OPERATIONS, SIGNED, WIDE, magnitude, perform, signed
from xfer.pixels.policy_tables import POLICIES

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.transforms import InterpolationMode, v2  # noqa: E402

SIZES = [(61, 83), (33, 331)]  # height, width; 331 makes whole pixels of AutoAugment's shifts
SPACES = {"RandAugment": CUBUK, "TrivialAugmentWide": WIDE, "AutoAugment": CUBUK, "AugMix": MIXED}
BINS = {"RandAugment": 31, "TrivialAugmentWide": 31, "AutoAugment": 10, "AugMix": 10}


def picture(height, width):
    rng = np.random.default_rng((height, width))
    noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    blocks = Image.fromarray(rng.integers(20, 230, (5, 7, 3), np.uint8)).resize((width, height))
    return Image.blend(noise, blocks, 0.7)


def theirs_of(name):
    return getattr(v2, name)._AUGMENTATION_SPACE


@pytest.mark.parametrize("policy", SPACES)
def test_every_operation_has_torchvisions_magnitudes_and_signs(policy):
    names = {"AutoAugment": (*OPERATIONS[1:], "Invert"), "AugMix": (*OTHERS, *COLOURS)}
    assert tuple(theirs_of(policy)) == names.get(policy, OPERATIONS)
    for name, (rungs, has_sign) in theirs_of(policy).items():
        assert has_sign == (name in SIGNED)
        for bins in (2, 9, 10, 31):
            for size in (*SIZES, (224, 160)):
                theirs = rungs(bins, *size)
                ours = [magnitude(name, number, bins, *size, SPACES[policy]) for number in range(bins)]
                assert ours == ([0.0] * bins if theirs is None else theirs.tolist())


def applied(theirs, image, name, strength, mode, fill):
    fills = {Image.Image: list(fill)}
    return v2.AugMix._apply_image_or_video_transform(theirs, image, name, strength, InterpolationMode(mode), fills)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("policy", SPACES)
def test_every_operation_at_every_magnitude_makes_torchvisions_pixels(policy, size):
    image, mode, fill = picture(*size), "nearest" if size[1] < 100 else "bilinear", (9, 8, 7)
    theirs = getattr(v2, policy)()
    black = np.zeros((*size, 3), np.uint8)  # which is what 0 bits are, of which Pillow has no picture
    bins = BINS[policy]
    for name, (_, has_sign) in theirs_of(policy).items():
        rungs = [magnitude(name, number, bins, *size, SPACES[policy]) for number in range(bins)]
        for strength in {sign * rung for rung in rungs for sign in ((1, -1) if has_sign else (1,))}:
            expected = black
            if (name, strength) != ("Posterize", 0):
                expected = applied(theirs, image, name, strength, mode, fill)
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
    for ours, theirs in ((RandAugment(), v2.RandAugment()), (AugMix(), v2.AugMix())):
        for name in set(type(ours).model_fields) - {"op", "fill"}:
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
    negative = np.mean([signed("Rotate", 1.0, rng) < 0 for _ in range(20_000)])
    assert negative == pytest.approx(0.5, abs=4.5 * np.sqrt(0.25 / 20_000))
    assert signed("Solarize", 1.0, rng) == 1.0
    for strength in (-135, -90, -45, 45, 90, 135):
        assert found[strength] == pytest.approx(DRAWS / 8, abs=4.5 * np.sqrt(DRAWS * 7 / 64))


def test_rand_augment_has_one_magnitude_with_either_sign():
    rng, found = np.random.default_rng(3), set()
    for _ in range(600):
        found |= set(RandAugment(magnitude=30).draw(331, 662, rng))
    farthest = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": 300, "TranslateY": 150, "Rotate": 30} | dict.fromkeys(
        ("Brightness", "Color", "Contrast", "Sharpness"), 0.9
    )
    expected = {("Identity", 0.0), ("Posterize", 4.0), ("Solarize", 0.0), ("AutoContrast", 0.0), ("Equalize", 0.0)}
    expected |= {(name, float(np.float32(sign * most))) for name, most in farthest.items() for sign in (1, -1)}
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


class Scripted(v2.AugMix):
    """torchvision's, with the weights and the operations of a mixture, on Pillow's pictures in place of tensors."""

    def __init__(self, mixture, depth):
        super().__init__(mixture_width=len(mixture.chains), chain_depth=depth)
        weights = [mixture.original, 1.0], [weight for weight, _ in mixture.chains]
        self.weights = [torch.tensor([row], dtype=torch.float32) for row in weights]
        self.operations = [operation for _, chain in mixture.chains for operation in chain]

    def _sample_dirichlet(self, params):
        return self.weights.pop(0)

    def _get_random_item(self, space):
        name, strength = self.operations.pop(0)
        return name, (lambda bins, height, width: [strength] * bins, False)

    def _apply_image_or_video_transform(self, image, name, strength, interpolation, fill):
        picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
        made = np.asarray(applied(self, picture, name, strength, "bilinear", (0, 0, 0)))
        return torch.from_numpy(made.copy()).permute(2, 0, 1)[None]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_mixture_is_torchvisions_for_the_same_weights_and_operations(depth):
    image, spec = picture(61, 83), AugMix(chain_depth=depth, severity=8)
    for seed in range(12):
        mixture = spec.draw(61, 83, np.random.default_rng(seed))
        theirs = Scripted(mixture, depth)
        np.testing.assert_array_equal(np.asarray(spec.apply(image, mixture)), np.asarray(theirs(image)))
        assert theirs.operations == theirs.weights == []


def test_mixtures_have_the_weights_and_chains_of_their_law():
    rng, spec = np.random.default_rng(3), AugMix(alpha=2.0)
    drawn = [spec.draw(90, 60, rng) for _ in range(2000)]
    original = np.array([mixture.original for mixture in drawn])
    first = np.array([mixture.chains[0][0] for mixture in drawn]) / (1 - original)
    assert all(sum(w for w, _ in m.chains) + m.original == pytest.approx(1) for m in drawn)
    # Dirichlet with n equal parameters a: mean 1 / n, variance (n - 1) / (n^2 (n a + 1))
    for found, n in ((original, 2), (first, 3)):
        spread = np.sqrt((n - 1) / (n**2 * (n * 2.0 + 1)))
        assert found.mean() == pytest.approx(1 / n, abs=4.5 * spread / np.sqrt(2000))
        assert found.std() == pytest.approx(spread, rel=0.08)
    depths = Counter(len(chain) for mixture in drawn for _, chain in mixture.chains)
    assert set(depths) == {1, 2, 3}
    assert all(abs(n - 2000) < 4.5 * np.sqrt(6000 * 2 / 9) for n in depths.values())
    operations = [operation for mixture in drawn for _, chain in mixture.chains for operation in chain]
    names, p = Counter(name for name, _ in operations), 1 / 13
    assert set(names) == {*OTHERS, *COLOURS}
    assert all(abs(n - len(operations) * p) < 4.5 * np.sqrt(len(operations) * p * (1 - p)) for n in names.values())
    assert {s for name, s in operations if name == "TranslateX"} == {
        float(np.float32(x)) for share in range(3) for x in (20 * share / 9, -20 * share / 9)
    }
    plain = AugMix(all_ops=False, mixture_width=1).draw(90, 60, rng).chains
    assert {name for _, chain in plain for name, _ in chain} <= set(OTHERS)
