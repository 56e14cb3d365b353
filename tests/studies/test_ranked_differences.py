"""Differences of mean average precision over seeds and images: by hand, by brute force, and how often they cover."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from xfer.comparison.predicted import Predicted
from xfer.comparison.statistics import Interval, upper_bound
from xfer.studies.ranked import Kept, ranked_difference
from xfer.studies.statistics import ranked_interval, seed_flip


def predicted(labels, scores, names=None):
    labels, scores = np.asarray(labels, np.int64), np.asarray(scores, np.float64)
    names = names or tuple(f"{i:04d}" for i in range(len(labels)))
    classes = tuple("abcdef"[: labels.shape[1]])
    return Predicted(tuple(names), tuple(names), classes, labels, (scores > 0.5).astype(np.int64), scores)


def drawn_runs(generator, seeds, images, better=0.0):
    """Two rows of runs on the same images with three labels; the second's noise is less by a share of `better`."""
    labels = (generator.random((images, 3)) < 0.4).astype(np.int64)
    hard = generator.normal(0, 1, (images, 3))  # images are hard for every network
    rows = []
    for noise in (1.0, 1.0 - better):
        scores = [
            2 * labels + noise * (hard + generator.normal(0, 1, labels.shape)) + generator.normal(0, 0.2, 3)
            for _ in range(seeds)
        ]
        rows.append([predicted(labels, 1 / (1 + np.exp(-each))) for each in scores])
    return rows


def test_a_difference_by_hand():
    labels = [[1, 1], [0, 0], [1, 0], [0, 0]]
    # Of label a the second positive comes third: (1 + 2/3) / 2; of b the only one second: 1/2.
    first = predicted(labels, [[0.9, 0.5], [0.8, 0.6], [0.7, 0.4], [0.1, 0.3]])
    second = predicted(labels, [[0.9, 0.7], [0.3, 0.6], [0.7, 0.4], [0.1, 0.3]])  # all in order: 1 and 1
    found = ranked_difference([first, first], [second, first], Kept(0))
    gain = 1 - (5 / 6 + 1 / 2) / 2
    assert (found.n, found.value) == (4, pytest.approx(gain / 2))
    assert found.p == 1.0  # of two seeds one alone differs: every flip is as far from 0


def test_sign_flips_over_seeds_by_hand():
    assert seed_flip([0.1]) == 1.0
    assert seed_flip([0.1, 0.3, 0.2]) == 2 / 8
    assert seed_flip([0.1, 0.3, -0.1]) == 6 / 8  # |0.3| or more: all but 0.1 + 0.1 - 0.3 and its mirror image
    assert seed_flip([0.0, 0.0]) == 1.0
    assert seed_flip([0.1] * 6) == 2**-5


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_sign_flips_over_seeds_are_all_flips(values):
    values = [round(value, 3) for value in values]
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in product((1, -1), repeat=len(values))]
    assert seed_flip(values) == np.mean([abs(total) >= abs(sum(values)) - 1e-9 for total in sums])


def test_of_many_seeds_flips_are_drawn():
    values = [1.0] * 15 + [-1.0] * 5
    wanted = binomtest(5, 20).pvalue
    assert seed_flip(values) == pytest.approx(wanted, abs=4 * np.sqrt(wanted / 2**16))
    assert 0 < seed_flip([1.0] * 40) <= 2**-15


def test_seeds_are_resampled_with_the_images():
    nothing = upper_bound(0, 10_000)
    two = np.stack([np.zeros(2000), np.ones(2000)])  # a seed that gains nothing, and one that gains all
    assert ranked_interval(two, 0.5, 10_000) == Interval(0.0, 1.0)
    generator = np.random.default_rng(0)
    one = generator.normal(0.1, 0.02, (1, 4000))
    assert ranked_interval(one, 0.1, 10_000) == pytest.approx(np.quantile(one, [0.025, 0.975]))
    assert ranked_interval(np.zeros((2, 100)), 0.0, 10_000) == Interval(-nothing, nothing)
    lacking = one.copy()
    lacking[:, ::2] = np.nan  # resamples without a label
    assert ranked_interval(lacking, 0.1, 10_000) == pytest.approx(np.quantile(one[:, 1::2], [0.025, 0.975]))
    half = np.stack([np.full(2000, 0.2), np.full(2000, np.nan)])  # where a seed has no figure the other stands for both
    assert ranked_interval(half, 0.2, 10_000) == pytest.approx((0.2 - nothing, 0.2 + nothing))


def test_the_interval_is_that_of_resampled_rankings():
    """Against scikit-learn, with draws of its own."""
    generator = np.random.default_rng(1)
    first, second = drawn_runs(generator, 2, 80, better=0.5)
    low, high = ranked_difference(first, second, Kept(0)).interval
    values = []
    for _ in range(300):
        images = generator.integers(80, size=80)
        gains = [
            np.mean([average_precision_score(run.labels[images], run.probabilities[images], average="macro") * sign
                     for run, sign in ((second[s], 2), (first[s], -2))])
            for s in generator.integers(2, size=2)
        ]  # fmt: skip
        values.append(np.mean(gains))
    assert np.quantile(values, [0.025, 0.975]) == pytest.approx((low, high), abs=0.02)


def test_swapping_rows_turns_the_difference_and_images_are_the_same_for_both():
    first, second = drawn_runs(np.random.default_rng(2), 3, 50, better=0.3)
    kept = Kept(3)
    there, back = ranked_difference(first, second, kept), ranked_difference(second, first, kept)
    assert back.value == pytest.approx(-there.value)
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low))
    assert back.p == there.p
    assert ranked_difference(first, second, Kept(3)) == there  # what is kept changes nothing
    same = ranked_difference(first, first, kept)
    bound = upper_bound(0, 50)
    assert (same.value, same.interval) == (0.0, Interval(-bound, bound))


def test_an_interval_of_few_labels_and_one_of_many_images_have_their_resamples(monkeypatch):
    first, second = drawn_runs(np.random.default_rng(4), 2, 50)
    assert len(Kept(0).resampled(first[0], first[0].names)) == 1000
    monkeypatch.setattr("xfer.studies.ranked.MOST_RANKED", 50)
    assert len(Kept(0).resampled(first[0], first[0].names)) == 333
    monkeypatch.setattr("xfer.studies.ranked.MOST_RANKED", 1)
    assert len(Kept(0).resampled(first[0], first[0].names)) == 100
    assert ranked_difference(first, second, Kept(0)).n == 50


def test_the_interval_covers_no_difference_where_there_is_none():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(40):
        low, high = ranked_difference(*drawn_runs(generator, 3, 60), Kept(trial)).interval
        covered += low <= 0 <= high
    assert covered >= 37
    low, high = ranked_difference(*drawn_runs(generator, 3, 200, better=0.6), Kept(0)).interval
    assert 0 < low < high
