"""Figures of any number of labels against scikit-learn's, and thresholds that are chosen out of fold."""

import numpy as np
import pytest
from pydantic import ValidationError

from xfer.scores.label_record import LabelScores
from xfer.scores.labels import score_labels
from xfer.scores.thresholds import cross_fitted, fitted, taken

RNG = np.random.default_rng(1)
LABELS = (RNG.random((60, 4)) < (0.6, 0.3, 0.15, 0.0)).astype(np.int64)
SHARES = np.clip(LABELS * 0.3 + RNG.random((60, 4)) * 0.7, 0, 1).astype(np.float32)
TAKEN = taken(SHARES, (0.5, 0.5, 0.5, 0.9))
NAMES = ("a", "b", "c", "never")


def test_figures_are_those_of_scikit_learn():
    learn = pytest.importorskip("sklearn.metrics")
    scores, there = score_labels(LABELS, SHARES, TAKEN, NAMES), slice(0, 3)
    wanted = {
        "mean_average_precision": learn.average_precision_score(LABELS[:, there], SHARES[:, there], average="macro"),
        "micro_f1": learn.f1_score(LABELS, TAKEN, average="micro"),
        "macro_f1": learn.f1_score(LABELS[:, there], TAKEN[:, there], average="macro"),
        "exact_match": learn.accuracy_score(LABELS, TAKEN),
        "hamming_loss": learn.hamming_loss(LABELS, TAKEN),
        "log_loss": -np.log(np.where(LABELS == 1, SHARES, 1 - SHARES.astype(np.float64))).mean(),
    }
    for name, value in wanted.items():
        figure = getattr(scores, name)
        assert figure.value == pytest.approx(value, rel=1e-6), name
        assert figure.low < figure.value < figure.high, name
    rows = learn.precision_recall_fscore_support(LABELS[:, there], TAKEN[:, there])
    each = scores.by_label
    for ours, theirs in zip((each.precision, each.recall, each.f1, each.support), rows, strict=True):
        assert ours[:3] == pytest.approx(list(theirs))
    assert (each.recall[3], each.f1[3], each.average_precision[3], each.support[3]) == (None, None, None, 0)


def test_the_order_of_pictures_has_no_part_in_any_figure():
    order = RNG.permutation(60)
    assert score_labels(LABELS, SHARES, TAKEN, NAMES) == score_labels(LABELS[order], SHARES[order], TAKEN[order], NAMES)


def test_an_interval_is_that_of_pictures_drawn_again():
    narrow = score_labels(np.tile(LABELS, (10, 1)), np.tile(SHARES, (10, 1)), np.tile(TAKEN, (10, 1)), NAMES)
    wide = score_labels(LABELS, SHARES, TAKEN, NAMES)
    for name in ("mean_average_precision", "micro_f1", "exact_match"):
        small, large = (getattr(of, name) for of in (narrow, wide))
        assert small.value == pytest.approx(large.value)
        assert small.high - small.low < 0.5 * (large.high - large.low)


def test_a_record_that_contradicts_itself_is_refused():
    record = score_labels(LABELS, SHARES, TAKEN, NAMES).as_json()
    assert LabelScores.model_validate(record).as_json() == record
    broken = {**record, "by_label": {**record["by_label"], "average_precision": [None, *[0.5] * 3]}}
    with pytest.raises(ValidationError, match="average_precision"):
        LabelScores.model_validate(broken)
    with pytest.raises(ValidationError, match="counts 61 pictures of 60"):
        LabelScores.model_validate({**record, "by_label": {**record["by_label"], "support": [61, 1, 1, 0]}})


def by_trying(labels, shares):
    """The highest F1 that any threshold gives."""
    cuts = [0.0, *np.unique(shares), 1.1]
    found = [(shares >= cut) for cut in cuts]
    return max(2 * (own & (labels == 1)).sum() / (own.sum() + labels.sum()) for own in found)


def test_no_threshold_gives_a_better_f1():
    found = fitted(LABELS, SHARES)
    assert all(0 < cut < 1 for cut in found)
    for label in range(3):
        own = SHARES[:, label].astype(np.float64) >= found[label]
        f1 = 2 * (own & (LABELS[:, label] == 1)).sum() / (own.sum() + LABELS[:, label].sum())
        assert f1 == pytest.approx(by_trying(LABELS[:, label], SHARES[:, label]))
    assert found[3] == 0.5, "nothing is known of a label without a picture"


def test_of_equally_good_thresholds_the_one_next_to_a_half_is_taken():
    labels, shares = np.array([[1], [1], [0], [0]]), np.float32([[0.9], [0.7], [0.2], [0.1]])
    assert fitted(labels, shares)[0] == pytest.approx(0.45)


def test_no_picture_is_judged_by_a_threshold_that_was_chosen_with_it():
    labels, shares = np.zeros((10, 1), np.int64), np.full((10, 1), 0.1, np.float32)
    labels[4], shares[4] = 1, 0.3
    assert taken(shares, fitted(labels, shares))[4] == 1, "what was chosen with it finds it"
    assert cross_fitted(labels, shares)[4] == 0, "others have no picture of the label, and it is not above a half"
    labels[6:8], shares[6:8] = 1, 0.3
    assert cross_fitted(labels, shares)[4] == 1, "others have"


def test_thresholds_of_noise_are_worse_out_of_fold():
    noise = np.random.default_rng(2).random((200, 3)).astype(np.float32)
    random = (np.random.default_rng(3).random((200, 3)) < 0.1).astype(np.int64)
    every = [f1(random, taken(noise, fitted(random, noise))), f1(random, cross_fitted(random, noise))]
    assert every[1] < every[0]


def f1(labels, predictions):
    return 2 * (labels * predictions).sum() / (labels.sum() + predictions.sum())


def test_a_single_picture_is_judged_at_a_half():
    assert cross_fitted(np.array([[1, 0]]), np.float32([[0.6, 0.4]])).tolist() == [[1, 0]]
