"""Targets and factors make of a plain cross-entropy every loss that a recipe can ask for."""

import numpy as np
import pytest

from xfer.losses import PLAIN, LossSpec, Partners, mean_logistic_loss, mean_loss, targets_of

LABELS = np.array([0, 2, 2, 1])
SPECS = {
    "plain": PLAIN,
    "smoothed": LossSpec(label_smoothing=0.3),
    "weighted": LossSpec(class_weights=(1.0, 2.0, 0.5)),
    "both": LossSpec(0.3, (1.0, 2.0, 0.5)),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def of_batch(spec, log, labels=LABELS):
    """What a step makes smaller of targets and factors."""
    targets, factors = targets_of(spec, labels, log.shape[1])
    return float((factors * -(targets * log).sum(axis=1)).sum())


def by_definition(spec, log, labels=LABELS):
    """Sample by sample and class by class, as torch documents CrossEntropyLoss."""
    classes = log.shape[1]
    weights = spec.class_weights or (1.0,) * classes
    total = 0.0
    for row, label in zip(log, labels, strict=True):
        total -= (1 - spec.label_smoothing) * weights[label] * row[label]
        total -= sum(spec.label_smoothing / classes * weights[c] * row[c] for c in range(classes))
    return total / sum(weights[label] for label in labels)


@every_spec
def test_a_step_and_a_metric_see_the_definition(spec):
    log = log_softmax(np.random.default_rng(0).normal(0, 3, (4, 3)))
    right = by_definition(spec, log)
    assert mean_loss(log, LABELS, spec) == pytest.approx(right, rel=1e-12)
    assert of_batch(spec, log) == pytest.approx(right, rel=1e-6)


@every_spec
def test_each_row_of_targets_is_a_distribution_in_float32(spec):
    targets, factors = targets_of(spec, LABELS, 3)
    assert (targets.shape, factors.shape) == ((4, 3), (4,))
    assert (targets.dtype, factors.dtype) == (np.float32, np.float32)
    assert targets.min() >= 0
    assert np.abs(targets.sum(axis=1) - 1).max() < 1e-6


def test_plain_targets_are_the_labels_and_factors_the_mean():
    targets, factors = targets_of(PLAIN, LABELS, 3)
    assert targets.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert factors.tolist() == [0.25] * 4


def test_values_by_hand():
    """Smoothing of 0.3 over 3 classes: 0.8 and 0.1 twice. Label 1 with weights 1, 2, 0.5: 0.1, 1.6, 0.05 of 1.75."""
    targets, factors = targets_of(SPECS["both"], LABELS, 3)
    assert targets_of(SPECS["smoothed"], LABELS, 3)[0][0] == pytest.approx([0.8, 0.1, 0.1])
    assert targets[3] == pytest.approx([0.1 / 1.75, 1.6 / 1.75, 0.05 / 1.75])
    assert factors[3] == pytest.approx(1.75 / 4)  # over the labels' weights: 1 + 0.5 + 0.5 + 2
    assert targets_of(SPECS["weighted"], LABELS, 3)[1] == pytest.approx([0.25, 0.125, 0.125, 0.5])


def test_a_class_of_no_weight_counts_for_nothing():
    spec = LossSpec(class_weights=(1.0, 0.0, 3.0))
    targets, factors = targets_of(spec, LABELS, 3)
    assert np.isfinite(targets).all()
    assert factors[3] == 0
    log = log_softmax(np.random.default_rng(0).normal(size=(4, 3)))
    assert of_batch(spec, log) == pytest.approx(by_definition(spec, log), rel=1e-6)


@pytest.mark.parametrize("odd", [-np.inf, np.nan])
def test_a_logarithm_that_is_not_finite_makes_it_nan_even_where_it_counts_for_nothing(odd):
    log = log_softmax(np.zeros((4, 3)))
    log[0, 1] = odd
    assert np.isnan(mean_loss(log, LABELS, PLAIN))


def test_labels_of_parts_of_a_batch_do_not_change_the_targets():
    whole, _ = targets_of(SPECS["both"], LABELS, 3)
    parts = [targets_of(SPECS["both"], part, 3)[0] for part in (LABELS[:1], LABELS[1:])]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 0.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_several_labels_of_weighed_and_mixed_pictures_have_the_loss_of_each_by_its_weight(class_weights, smoothing):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, (5, 3)), rng.normal(size=(5, 3)).astype(np.float32)
    weights, order, share = np.array([1, 0, 2, 0.5, 3]), rng.permutation(5), 0.3
    spec = LossSpec(label_smoothing=smoothing, class_weights=class_weights, kind="sigmoid")
    sigmoid, heavy = 1 / (1 + np.exp(-logits.astype(np.float64))), np.array(class_weights or (1, 1, 1))

    def losses(labels, weights):
        targets = (1 - smoothing) * labels + smoothing / 2
        return -weights[:, None] * (heavy * targets * np.log(sigmoid) + (1 - targets) * np.log(1 - sigmoid))

    plain, partners = losses(labels, weights).mean(), Partners(labels[order], share, weights[order])
    mixed = ((1 - share) * losses(labels, weights) + share * losses(labels[order], weights[order])).mean()
    assert mean_logistic_loss(logits, labels, spec, None, weights) == pytest.approx(plain, rel=1e-12)
    assert mean_logistic_loss(logits, labels, spec, partners, weights) == pytest.approx(mixed, rel=1e-12)
    targets, factors = targets_of(spec, labels, 3, partners, weights)
    of_each = -(targets * np.log(sigmoid) + (1 - targets) * np.log(1 - sigmoid))
    assert (factors.reshape(5, -1) * of_each).sum() == pytest.approx(mixed, rel=1e-6)  # what a step minimises
