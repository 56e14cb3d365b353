"""The arithmetic of pictures with any number of labels, against definitions and other libraries."""

import numpy as np
import pytest

from xfer.losses import LossSpec, Partners, mean_logistic_loss, targets_of
from xfer.metrics import LabelEvaluation, better, evaluation, mean_of_labels
from xfer.multilabel import average_precisions, mean_average_precision, placed, sigmoid, written

RNG = np.random.default_rng(0)
LABELS = (RNG.random((40, 5)) < (0.5, 0.3, 0.1, 0.9, 0.0)).astype(np.int64)
LOGITS = RNG.normal(size=(40, 5)).round(1).astype(np.float32)  # rounded: some are equal


def test_average_precision_is_that_of_scikit_learn_over_labels_that_occur():
    learn = pytest.importorskip("sklearn.metrics")
    ours = average_precisions(np.ones((1, 40)), LABELS, LOGITS)[0]
    for label in range(4):
        assert ours[label] == pytest.approx(learn.average_precision_score(LABELS[:, label], LOGITS[:, label]))
    assert np.isnan(ours[4])
    assert mean_average_precision(LABELS, LOGITS) == pytest.approx(ours[:4].mean())


def test_a_picture_that_counts_twice_is_there_twice():
    weights = RNG.integers(0, 3, (1, 40))
    drawn = np.repeat(np.arange(40), weights[0])
    ours = average_precisions(weights.astype(float), LABELS, LOGITS)[0]
    again = average_precisions(np.ones((1, len(drawn))), LABELS[drawn], LOGITS[drawn])[0]
    np.testing.assert_allclose(ours, again, rtol=1e-12)


SPECS = {
    "plain": LossSpec(kind="sigmoid"),
    "smoothed": LossSpec(0.2, kind="sigmoid"),
    "weighted": LossSpec(class_weights=(1.0, 3.0, 0.5, 2.0, 7.0), kind="sigmoid"),
    "both": LossSpec(0.2, (1.0, 3.0, 0.5, 2.0, 7.0), "sigmoid"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("mixed", [False, True], ids=["as it is", "mixed"])
def test_a_step_and_a_metric_see_the_loss_of_torch(spec, mixed):
    torch = pytest.importorskip("torch")
    partners = Partners(np.roll(LABELS, 1, axis=0), 0.3) if mixed else None
    wanted = LABELS * 0.7 + partners.labels * 0.3 if mixed else LABELS.astype(float)
    wanted = wanted * (1 - spec.label_smoothing) + spec.label_smoothing / 2
    heavy = None if spec.class_weights is None else torch.tensor(spec.class_weights, dtype=torch.float64)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=heavy)
    theirs = loss(torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(wanted))
    assert mean_logistic_loss(LOGITS, LABELS, spec, partners) == pytest.approx(theirs.item(), rel=1e-9)
    targets, factors = targets_of(spec, LABELS, 5, partners)
    z = LOGITS.astype(np.float64)
    losses = np.logaddexp(0, z) - targets * z
    assert (losses * factors.reshape(40, -1)).sum() == pytest.approx(theirs.item(), rel=1e-5)


def test_epochs_are_better_by_mean_average_precision_and_not_by_exact_match():
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    ranked = np.float32([[-1, -4], [-3, -1], [-1, -1], [-3, -4]])  # all in order, and none above a half
    decided = np.float32([[3, -2], [-2, -1], [-3, 3], [-3, -3]])
    first, second = evaluation(ranked, labels), evaluation(decided, labels)
    assert isinstance(first, LabelEvaluation)
    assert (first.mean_average_precision, first.accuracy) == (1.0, 0.25)
    assert second.accuracy == 0.5
    assert second.mean_average_precision < 1
    assert better(first, second)
    assert not better(second, first)


def test_views_of_a_picture_have_the_mean_of_their_probabilities():
    logits = np.float32([[-30, 2], [30, -1], [0, 80], [1, -90]])
    means = mean_of_labels(logits, 2)
    np.testing.assert_allclose(sigmoid(means), sigmoid(logits).reshape(2, 2, 2).mean(axis=1), rtol=1e-6)


def test_a_sigmoid_of_what_is_far_away_is_0_or_1_without_a_warning():
    assert sigmoid(np.float32([[-1000, 0, 1000]])).tolist() == [[0, 0.5, 1]]


def test_labels_move_to_the_places_of_other_classes():
    assert placed(np.array([[1, 0], [0, 1]]), [2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert placed(np.array([0, 1, 1]), [2, 0], 3).tolist() == [2, 0, 0]
    assert written(np.array([1, 0, 1]), ("a", "b", "c")) == "a|c"
    assert written(np.array([0, 0, 0]), ("a", "b", "c")) == ""
