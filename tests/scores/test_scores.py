"""Figures of a classifier: scikit-learn's, for one picture each and for pictures drawn again; and what has none."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as sk

from xfer.scores.counts import FIGURES, counted
from xfer.scores.interval import percentiles, resamples
from xfer.scores.probabilities import calibration_error, margins, ranking, ranks
from xfer.scores.record import Scores
from xfer.scores.score import score

NAMES = ("ants", "bees", "cats", "dogs", "elks", "frogs", "gnus")


def pictures(n, classes, seed=0, ties=False):
    """Labels and probabilities (n, classes) of somebody who is often right; `ties`: of few different values."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=n - classes)])
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1
    logits = np.round(logits) if ties else logits
    shares = np.exp(logits)
    return labels, (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def wanted(labels, chances, weights=None, top=5):
    """scikit-learn's figures by our names; classes without pictures are left out of its means."""
    guesses, classes = chances.argmax(axis=1), chances.shape[1]
    hot, w = np.eye(classes)[labels], {"sample_weight": weights}
    there = np.unique(labels if weights is None else labels[weights > 0])
    f1 = {"labels": there, "zero_division": 0.0, **w}
    balanced = sk.recall_score(labels, guesses, average="macro", **f1)
    figures = {
        "accuracy": sk.accuracy_score(labels, guesses, **w),
        "balanced_accuracy": balanced,
        "macro_f1": sk.f1_score(labels, guesses, average="macro", **f1),
        "weighted_f1": sk.f1_score(labels, guesses, average="weighted", **f1),
        "kappa": sk.cohen_kappa_score(labels, guesses, **w),
        "mcc": sk.matthews_corrcoef(labels, guesses, **w),
        "roc_auc": sk.roc_auc_score(hot[:, there], chances[:, there], average="macro", **w),
        "average_precision": sk.average_precision_score(hot[:, there], chances[:, there], average="macro", **w),
    }
    if weights is None:
        own = chances.astype(np.float64)
        figures["log_loss"] = sk.log_loss(labels, own / own.sum(axis=1, keepdims=True), labels=range(classes))
        figures["brier"] = float(((own - hot) ** 2).sum(axis=1).mean())
        if top < classes:
            figures["top_k"] = sk.top_k_accuracy_score(labels, chances, k=top, labels=range(classes))
    return figures


@pytest.mark.parametrize(("n", "classes", "top"), [(9, 2, 5), (40, 3, 2), (120, 7, 5)])
def test_figures_are_those_of_scikit_learn(n, classes, top):
    labels, chances = pictures(n, classes)
    scores = score(labels, chances, NAMES[:classes], top=top)
    values = {name: figure.value for name, figure in scores.figures() if figure.value is not None}
    assert values.pop("ece") == calibration_error(labels, chances)
    assert values == pytest.approx(wanted(labels, chances, top=top), rel=1e-6)
    table = sk.precision_recall_fscore_support(labels, chances.argmax(axis=1), labels=range(classes), zero_division=0)
    own = scores.by_class
    assert [[v or 0 for v in own.precision], own.recall, own.f1] == [pytest.approx(list(part)) for part in table[:3]]
    assert own.support == table[3].tolist()


@pytest.mark.parametrize("ties", [False, True])
def test_pictures_drawn_again_count_as_often_as_they_were_drawn(ties):
    labels, chances = pictures(30, 4, ties=ties)
    weights = np.random.default_rng(3).integers(3, size=(6, 30)).astype(np.float64)
    weights[5, labels == 2] = 0  # a class that was not drawn
    c = counted(weights, labels, chances.argmax(axis=1), 4)
    values = {name: figure(c) for name, figure in FIGURES.items()}
    values |= dict(zip(("roc_auc", "average_precision"), ranking(weights, labels, chances), strict=True))
    for row, drawn in enumerate(weights):
        assert {name: v[row] for name, v in values.items()} == pytest.approx(wanted(labels, chances, drawn))


def test_resamples_are_of_all_pictures_and_repeat_themselves(monkeypatch):
    whole = np.concatenate(list(resamples(7, 3, seed=5)))
    assert whole.shape == (1000, 7)
    assert (whole.sum(axis=1) == 7).all()
    assert whole.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    monkeypatch.setattr("xfer.scores.interval._CHUNK", 100)
    assert np.array_equal(np.concatenate(list(resamples(7, 3, seed=5))), whole)
    assert not np.array_equal(np.concatenate(list(resamples(7, 3, seed=6))), whole)


def test_intervals_are_percentiles_of_what_the_resamples_give():
    labels, chances = pictures(60, 3)
    scores = score(labels, chances, NAMES[:3])
    generator, values = np.random.default_rng(9), []
    for _ in range(300):  # others than those that were drawn
        drawn = generator.integers(60, size=60)
        values.append(sk.f1_score(labels[drawn], chances[drawn].argmax(axis=1), average="macro"))
    assert (scores.macro_f1.low, scores.macro_f1.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)
    for name, figure in scores.figures():
        if name not in ("ece", "top_k"):
            assert figure.low < figure.value < figure.high, name
    assert percentiles(np.array([1.0, np.nan, 1.0])) is None
    assert percentiles(np.array([np.nan])) is None


def test_the_order_of_the_pictures_has_no_part_and_the_seed_has():
    labels, chances = pictures(50, 3)
    order = np.random.default_rng(1).permutation(50)
    scores = score(labels, chances, NAMES[:3])
    turned = score(labels[order], chances[order], NAMES[:3])
    assert turned == scores
    assert score(labels, chances, NAMES[:3], seed=1) != scores


def test_calibration_by_hand():
    """Two bins of 0.5: the pictures at 0.6 and 0.8 are right, that at 0.5 is not; (|0.5 - 0| + |1.4 - 2|) / 3."""
    chances = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    assert calibration_error(np.array([0, 1, 1]), chances, bins=2) == pytest.approx((0.5 + 0.6) / 3)


def test_ranks_and_margins_by_hand():
    chances = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    labels = np.array([0, 2, 0, 1])
    assert ranks(labels, chances).tolist() == [1, 3, 1, 2]
    assert margins(labels, chances) == pytest.approx([0.2, -0.3, 0, 0])


def test_a_class_without_pictures_is_null_and_in_no_mean():
    labels, chances = pictures(40, 3)
    scores = score(labels, np.pad(chances, ((0, 0), (0, 1))), NAMES[:4])
    assert (scores.by_class.support[3], scores.by_class.recall[3], scores.by_class.f1[3]) == (0, None, None)
    three = score(labels, chances, NAMES[:3])
    for name, figure in three.figures():
        assert getattr(scores, name).value == pytest.approx(figure.value) if figure.value else True


def test_one_class_alone_has_no_figure_that_needs_two_and_says_so():
    scores = score(np.zeros(4, np.int64), np.full((4, 2), [0.9, 0.1]), NAMES[:2])
    why = {reason.figure: reason.why for reason in scores.undefined}
    assert {name for name in why if "." not in name} == {"top_k", "roc_auc", "average_precision", "kappa", "mcc"}
    assert why["roc_auc"] == "all pictures are of one class"
    assert why["macro_f1.interval"] == "the resamples show no spread"
    assert scores.accuracy.low == pytest.approx(0.5101, abs=1e-4)  # Wilson's: four of four
    text = json.dumps(scores.as_json(), allow_nan=False)
    assert Scores.model_validate_json(text) == scores


def test_a_probability_that_is_0_costs_what_the_smallest_one_does():
    scores = score(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32), NAMES[:2])
    assert scores.log_loss.value == pytest.approx(-math.log(1.4e-45) / 2, rel=1e-2)


def test_many_probabilities_are_ranked_once(monkeypatch):
    labels, chances = pictures(40, 3)
    scores = score(labels, chances, NAMES[:3])
    monkeypatch.setattr("xfer.scores.score.MOST_RANKED", 119)
    once = score(labels, chances, NAMES[:3])
    assert (once.roc_auc.value, once.roc_auc.low) == (scores.roc_auc.value, None)
    assert [r.figure for r in once.undefined if "roc" in r.figure] == ["roc_auc.interval"]


def test_what_is_confused_most_comes_first():
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    guesses = np.array([1, 1, 1, 2, 2, 0, 2, 2])
    scores = score(labels, np.eye(3)[guesses], NAMES[:3])
    pairs = [(pair.label, pair.predicted, pair.pictures) for pair in scores.confused]
    assert pairs == [("ants", "bees", 2), ("bees", "cats", 2), ("cats", "ants", 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 13}, "support counts 12 pictures, expected 13, which is n"),
        ({"accuracy": {"value": 1.5, "low": None, "high": None}}, "accuracy = 1.5, expected 0 to 1"),
        ({"mcc": {"value": 0.5, "low": 0.6, "high": 0.4}}, "expected at most 0.4"),
        ({"mcc": {"value": 0.5, "low": 0.4, "high": None}}, "two ends"),
        ({"kappa": {"value": None, "low": None, "high": None}}, "undefined names"),
        ({"undefined": []}, "undefined names nothing"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change, message):
    labels, chances = pictures(12, 3)
    record = score(labels, chances, NAMES[:3]).as_json()
    assert Scores.model_validate(record)
    with pytest.raises(ValidationError, match=message):
        Scores.model_validate(record | change)


def test_a_share_of_no_picture_is_null_and_no_other():
    record = score(*pictures(12, 3), NAMES[:3]).as_json()
    for key in ("precision", "recall", "f1"):
        with pytest.raises(ValidationError, match=f"{key}: expected null where"):
            Scores.model_validate(record | {"by_class": record["by_class"] | {key: [None, 0.5, 0.5]}})
        with pytest.raises(ValidationError, match=f"{key} has 2 entries, expected 3"):
            Scores.model_validate(record | {"by_class": record["by_class"] | {key: [0.5, 0.5]}})


def test_classes_that_do_not_occur_cost_nothing_and_change_nothing():
    labels, chances = pictures(30, 3)
    few = score(labels, chances, NAMES[:3])
    far = np.zeros((30, 20_000), np.float32)
    far[:, [5, 700, 19_999]] = chances
    many = score(np.array([5, 700, 19_999])[labels], far, [str(i) for i in range(20_000)])
    for name in FIGURES:
        assert getattr(many, name) == getattr(few, name)
    assert [many.by_class.recall[i] for i in (5, 700, 19_999)] == few.by_class.recall
