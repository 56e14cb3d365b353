"""Two runs side by side: the laws of a pair, what a verdict needs, and which settings and images are the same."""

import numpy as np
import pytest

from xfer.comparison.compare import pair, verdict
from xfer.comparison.predicted import Predicted, mismatch, relative_names
from xfer.comparison.statistics import Interval
from xfer.comparison.words import pair_lines
from xfer.recipe.keys import differing, flat


@pytest.mark.parametrize(
    ("interval", "p", "expected"),
    [
        ((-0.005, 0.009), 1.0, "equivalent"),
        ((0.002, 0.009), 0.01, "equivalent"),
        ((-0.005, 0.01), 1.0, "not shown"),
        ((-0.01, 0.005), 1.0, "not shown"),
        ((0.001, 0.05), 0.01, "different"),
        ((-0.05, -0.001), 0.01, "different"),
        ((0.001, 0.05), 0.125, "not shown"),
        ((-0.05, 0.02), 0.01, "not shown"),
    ],
)
def test_verdicts(interval, p, expected):
    assert verdict(Interval(*interval), p, 0.01) == expected


def predicted(guesses, labels=None, confidence=0.9):
    guesses = np.array(guesses)
    names = tuple(f"{i:04d}" for i in range(len(guesses)))
    probabilities = np.where(np.eye(3)[guesses] == 1, confidence, (1 - confidence) / 2)
    labels = np.zeros(len(guesses), np.int64) if labels is None else np.array(labels)
    return Predicted(names, names, ("a", "b", "c"), labels, guesses, probabilities)


def test_a_pair_counts_what_it_says():
    first, second = predicted([0, 0, 0, 1, 1, 2]), predicted([0, 0, 1, 0, 0, 1], confidence=0.8)
    result = pair(2, first, second, 0.01, seed=0)
    assert (result.n, result.same_predictions, result.only_first, result.only_this) == (6, 2, 1, 2)
    assert result.difference == pytest.approx(1 / 6)
    assert (result.gap, result.gap_at) == (pytest.approx(0.8), "0002")  # 0.9 and 0.1 for class a
    assert result.p == 1.0


def test_swapping_two_runs_turns_every_sign():
    generator = np.random.default_rng(0)
    first, second = (predicted(generator.integers(0, 3, 80)) for _ in range(2))
    a, b = pair(2, first, second, 0.01, seed=3), pair(2, second, first, 0.01, seed=3)
    assert a.difference == -b.difference != 0
    assert a.interval == pytest.approx((-b.interval.high, -b.interval.low))
    assert (a.only_first, a.only_this) == (b.only_this, b.only_first)
    assert (a.p, a.gap, a.same_predictions, a.verdict) == (b.p, b.gap, b.same_predictions, b.verdict)


def test_many_images_show_what_few_do_not():
    few, many = np.zeros(150, np.int64), np.zeros(1500, np.int64)
    assert pair(2, predicted(few), predicted(few), 0.01, 0).verdict == "not shown"
    assert pair(2, predicted(many), predicted(many), 0.01, 0).verdict == "equivalent"
    worse = many.copy()
    worse[:200] = 1
    assert pair(2, predicted(many), predicted(worse), 0.01, 0).verdict == "different"


def test_a_verdict_says_who_is_better():
    right, wrong = predicted(np.zeros(100, np.int64)), predicted(np.repeat([0, 1], [80, 20]))
    assert "different: run 2 is worse than run 1" in pair_lines(pair(2, right, wrong, 0.01, 0), 0.01)[-1]
    assert "different: run 3 is better than run 1" in pair_lines(pair(3, wrong, right, 0.01, 0), 0.01)[-1]


def test_names_are_the_same_on_every_machine():
    here = relative_names(["/pictures/data/val/ants/1.jpg", "/pictures/data/val/bees/1.jpg"])
    there = relative_names([r"D:\pictures\val\ants\1.jpg", r"D:\pictures\val\bees\1.jpg"])
    assert here == there == ["ants/1.jpg", "bees/1.jpg"]
    assert relative_names(["data/ants/1.jpg", "data/anteaters/1.jpg"]) == ["ants/1.jpg", "anteaters/1.jpg"]


def test_other_images_or_labels_are_noticed():
    assert mismatch(predicted([0, 1]), predicted([1, 1])) is None
    assert "2 and 3 images, 2 of them in both" in str(mismatch(predicted([0, 1]), predicted([0, 1, 1])))
    assert "1 of 2 images" in str(mismatch(predicted([0, 1]), predicted([0, 1], labels=[0, 2])))


def test_what_differs_is_found_and_nothing_else():
    settings = differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 0}])
    assert [(setting.key, setting.values) for setting in settings] == [("b", (2, 3, 2)), ("c", (None, None, 0))]


def test_lists_in_recipes_are_compared_by_place():
    assert dict(flat({"a": {"b": [{"op": "Flip"}, 2]}, "c": None})) == {"a.b.0.op": "Flip", "a.b.1": 2, "c": None}
