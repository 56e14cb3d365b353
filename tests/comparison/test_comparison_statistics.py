"""Intervals and tests for shares of images: against textbooks and brute force."""

import math
from math import comb

import numpy as np
import pytest

from xfer.comparison.statistics import mcnemar, paired_bootstrap, paired_difference, upper_bound, wilson

Z = 1.959963984540054  # the normal distribution's 97.5 % point


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (145, 153), (1, 29), (81, 263)])
def test_wilson_is_its_formula(successes, n):
    share = successes / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    assert wilson(successes, n) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_wilson_is_what_the_textbook_says():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, method 3
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("b", range(7))
@pytest.mark.parametrize("c", range(7))
def test_mcnemar_is_a_sum_of_binomials(b, c):
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar(b, c) == pytest.approx(min(1, 2 * tail))
    assert mcnemar(b, c) == mcnemar(c, b)


def test_the_bound_on_what_was_never_seen_solves_its_equation():
    for n in (1, 24, 153, 1000):
        assert (1 - upper_bound(0, n)) ** n == pytest.approx(0.05)
    assert upper_bound(0, 153) == pytest.approx(0.0194, abs=5e-5)


def signs(minus, plus, n):
    return np.repeat([-1, 1, 0], [minus, plus, n - minus - plus])


def test_the_bootstrap_is_the_trinomial_it_samples():
    minus, plus, n = 100, 300, 2000
    draws = np.random.default_rng(1).multinomial(n, [minus / n, plus / n, 1 - (minus + plus) / n], size=200_000)
    wanted = np.quantile((draws[:, 1] - draws[:, 0]) / n, [0.025, 0.975])
    assert paired_bootstrap(signs(minus, plus, n), seed=0) == pytest.approx(wanted, abs=2.01 / n)


def test_the_bootstrap_repeats_itself_whatever_is_drawn_at_once(monkeypatch):
    values = np.random.default_rng(0).integers(-1000, 1000, 100)
    whole = paired_bootstrap(values, seed=5)
    assert whole == paired_bootstrap(values, seed=5)
    monkeypatch.setattr("xfer.comparison.statistics._CHUNK", 12_345)
    assert paired_bootstrap(values, seed=5) == whole
    assert {paired_bootstrap(values, seed=seed, resamples=50) for seed in range(5)} != {whole}


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    generator, n, shares = np.random.default_rng(2), 150, [0.06, 0.12, 0.82]
    covered = 0
    for trial in range(300):
        minus, plus, _ = generator.multinomial(n, shares)
        low, high = paired_bootstrap(signs(minus, plus, n), seed=trial, resamples=500)
        covered += low <= 0.06 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_no_difference_seen_is_no_proof_of_none():
    assert paired_difference(signs(0, 0, 153)) == pytest.approx((-0.0194, 0.0194), abs=5e-5)
    assert paired_difference(signs(0, 0, 298)).high < 0.0101
    assert paired_difference(signs(1, 0, 153)).low < 0
