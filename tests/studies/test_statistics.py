"""Statistics over seeds and images: against brute force and by hand, and how often intervals cover a known truth."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer.comparison.statistics import Interval, mcnemar, paired_bootstrap, upper_bound
from xfer.studies.statistics import difference_interval, holm, mean_band, pigeonhole, seed_interval, sign_flip


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_sign_flips_are_counted_as_if_all_were_made(values):
    flipped = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in product((1, -1), repeat=len(values))]
    share = np.mean([abs(total) >= abs(sum(values)) for total in flipped])
    assert sign_flip(np.array(values)) == pytest.approx(share, abs=1e-12)
    assert sign_flip(-np.array(values)) == sign_flip(np.array(values))


@pytest.mark.parametrize(("minus", "plus"), [(0, 0), (0, 4), (3, 11), (11, 3), (40, 25), (0, 60), (300, 200)])
def test_for_one_seed_sign_flips_are_mcnemars_test(minus, plus):
    differences = np.repeat([-1, 1, 0], [minus, plus, 50])
    assert sign_flip(differences) == pytest.approx(mcnemar(minus, plus), rel=1e-9)


def test_drawn_sign_flips_find_the_same():
    generator = np.random.default_rng(0)
    differences = generator.integers(-4, 6, 60)
    drawn = np.abs((generator.choice([-1, 1], (20_000, 60)) * differences).sum(axis=1))
    p = (1 + (drawn >= abs(differences.sum())).sum()) / 20_001
    assert sign_flip(differences) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20_000))


def test_sign_flips_reject_a_true_null_no_more_often_than_they_say():
    generator = np.random.default_rng(1)
    values = [sign_flip(generator.integers(-3, 4, 40)) for _ in range(600)]
    assert 0.02 < np.mean(np.array(values) < 0.05) < 0.08


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_raises_p_keeps_their_order_and_is_never_above_bonferroni(values):
    adjusted = holm(values)
    assert all(p <= q <= min(1, len(values) * p) + 1e-12 for p, q in zip(values, adjusted, strict=True))
    assert all(adjusted[i] <= adjusted[j] for i, j in product(range(len(values)), repeat=2) if values[i] <= values[j])


def test_the_interval_over_seeds_is_students():
    assert seed_interval([0.90, 0.92, 0.94]) == pytest.approx(
        (0.92 - 4.3027 * 0.02 / 3**0.5, 0.92 + 4.3027 * 0.02 / 3**0.5), abs=1e-6
    )
    assert seed_interval([0.99, 1.0, 0.8]).high == 1.0
    assert seed_interval([0.9]) is None
    assert seed_interval([0.9, 0.9, 0.9]) is None


def test_the_interval_over_seeds_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    drawn = generator.normal(0.9, 0.01, (4, 2000))
    _, low, high = mean_band(drawn)
    assert 0.935 < ((low <= 0.9) & (high >= 0.9)).mean() < 0.965
    intervals = [seed_interval(list(column)) for column in drawn.T[:20]]
    assert intervals == [pytest.approx(ends) for ends in zip(low[:20], high[:20], strict=True)]


def test_a_band_needs_two_seeds():
    mean, low, high = mean_band(np.array([[0.1, 0.2, 0.3]]))
    assert mean.tolist() == [0.1, 0.2, 0.3]
    assert np.isnan([low, high]).all()


def simulated(generator, seeds, images, truth=0.04):
    """Differences whose mean over all seeds and images is `truth`: both seeds and images have effects of their own."""
    of_seed, of_image = generator.normal(0, 0.03, (seeds, 1)), generator.normal(0, 0.15, (1, images))
    chance = truth + of_seed + of_image  # of one more right than wrong
    drawn = generator.random((seeds, images))
    return (drawn < 0.25 + chance / 2).astype(np.int64) - (drawn > 0.75 + chance / 2)


def test_the_pigeonhole_interval_covers_the_truth_and_one_over_images_alone_does_not():
    generator, covered, alone = np.random.default_rng(3), 0, 0
    for trial in range(250):
        differences = simulated(generator, 8, 150)
        low, high = pigeonhole(differences, seed=trial, resamples=400)
        covered += low <= 0.04 <= high
        low, high = paired_bootstrap(differences.sum(axis=0), trial, 400)
        alone += low / 8 <= 0.04 <= high / 8
    assert covered / 250 >= 0.93
    assert alone < covered - 10


def test_the_pigeonhole_has_owens_variance():
    differences = simulated(np.random.default_rng(4), 6, 40)
    low, high = pigeonhole(differences, resamples=40_000)
    rows, columns = differences.mean(axis=1), differences.mean(axis=0)
    inner = differences.var()
    # For balanced data: V(rows) / S + V(columns) / n + the rest / (S n), with the resampled variances.
    rest = (inner - rows.var() - columns.var()) / differences.size
    expected = rows.var() / 6 + columns.var() / 40 + rest
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(expected), rel=0.03)


def test_one_seed_is_the_bootstrap_over_images():
    differences = np.repeat([-1, 1, 0], [6, 14, 130])
    interval = pigeonhole(differences[None], seed=1, resamples=40_000)
    assert interval == pytest.approx(paired_bootstrap(differences, 2, 40_000), abs=0.007)


def test_swapping_sides_turns_the_interval():
    differences = simulated(np.random.default_rng(5), 3, 50)
    for interval in (pigeonhole, difference_interval):
        low, high = interval(differences, 7)
        assert interval(-differences, 7) == pytest.approx((-high, -low))


def test_chunks_of_the_bootstrap_are_one_bootstrap(monkeypatch):
    differences = simulated(np.random.default_rng(6), 3, 50)
    whole = pigeonhole(differences, 3)
    monkeypatch.setattr("xfer.studies.statistics._CHUNK", 12_345)
    parts = pigeonhole(differences, 3)
    assert parts == pytest.approx(whole, abs=0.01)
    assert len({pigeonhole(differences, seed, 50) for seed in range(5)}) > 1


def test_hardly_any_difference_seen_claims_no_more_than_none_seen():
    none, single = np.zeros((10, 153), np.int64), np.zeros((10, 153), np.int64)
    single[3, 7] = 1
    bound = upper_bound(0, 153)
    assert difference_interval(none) == Interval(-bound, bound)
    assert difference_interval(single) == pytest.approx((1 / 1530 - bound, 1 / 1530 + bound))
    many = simulated(np.random.default_rng(8), 10, 153)
    assert difference_interval(many) == pigeonhole(many)
    assert difference_interval(np.ones((2, 5), np.int64)).high == 1
