"""What a step makes smaller, as targets and factors of samples: arithmetic that no backend has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32, Float64, Int64
from xfer.multilabel import logistic_losses


@dataclass(frozen=True)
class LossSpec:
    """`softmax`: cross-entropy, averaged as torch's: with class weights, over the sum of the weights of the labels.

    With smoothing s, a target is 1 - s at the label and s / C everywhere (Szegedy et al. 2016, "Rethinking the
    Inception Architecture", section 7).
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    kind: Literal["softmax", "sigmoid"] = "softmax"


PLAIN = LossSpec()


@dataclass(frozen=True)
class Partners:
    """The second labels of a batch of mixed pictures, and their share, in [0, 1]. The labels' own is the rest.

    `weights` (N,): of the pictures that these labels come from, where pictures have any.
    """

    labels: Int64
    share: float
    weights: Float64 | None = None


def leading(labels: Int64, partners: Partners | None) -> Int64:
    """The labels of the larger share; of equal ones, a picture's own."""
    return labels if partners is None or partners.share <= 0.5 else partners.labels


def targets_of(
    loss: LossSpec, labels: Int64, classes: int, partners: Partners | None = None, weights: Float64 | None = None
) -> tuple[Float32, Float32]:
    """Probabilities (N, C), each row's sum 1, and factors (N,), as `xfer.backend.Batch` wants them, for labels (N,).

    Of `sigmoid` for labels (N, C) of 0 and 1: targets (N, C), and factors (N,), or with class weights (N, C).
    `weights` (N,): of each picture, at least 0; None: 1 each. They multiply its loss, and the sum is divided by what it
    is divided by without them, so that twice the weights are twice the gradient.
    """
    if loss.kind == "sigmoid":
        wanted, shares = _logistic(loss, labels, partners, weights)
        wide = shares / labels.size
        return wanted.astype(np.float32), (wide if loss.class_weights else wide[:, 0]).astype(np.float32)
    weighted, total = _weighted(loss, labels, classes, partners, weights)
    sums = weighted.sum(axis=1)
    shares = weighted / np.where(sums == 0, 1, sums)[:, None]  # a class or a picture of weight 0: a factor of 0
    return shares.astype(np.float32), (sums / total).astype(np.float32)


def mean_loss(
    log_probabilities: Float64,
    labels: Int64,
    loss: LossSpec,
    partners: Partners | None = None,
    weights: Float64 | None = None,
) -> float:
    """What a step minimises, over a batch, from the log-softmax (N, C) of its logits, in float64.

    It is finite only where all of them are: even those that count for nothing make it NaN.
    """
    weighted, total = _weighted(loss, labels, log_probabilities.shape[1], partners, weights)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(-(weighted * log_probabilities).sum() / total)


def mean_logistic_loss(
    logits: Float32,
    labels: Int64,
    loss: LossSpec,
    partners: Partners | None = None,
    weights: Float64 | None = None,
) -> float:
    """The same of logits (N, C) for a loss of the kind `sigmoid`."""
    targets, factors = _logistic(loss, labels, partners, weights)
    with np.errstate(over="ignore", invalid="ignore"):
        return float((factors * logistic_losses(logits, targets)).mean())


def _logistic(
    loss: LossSpec, labels: Int64, partners: Partners | None, of_pictures: Float64 | None
) -> tuple[Float64, Float64]:
    """Targets in [0, 1] and factors, both (N, C): a log s + b log(1 - s) has the target a / (a + b), the factor a + b.

    With weights w of a class and v of a picture, a is v w t, and b is v (1 - t).
    """
    for_label, against = _sides(loss, labels, of_pictures)
    if partners is not None:
        second, share = _sides(loss, partners.labels, partners.weights), partners.share
        for_label, against = ((1 - share) * a + share * b for a, b in zip((for_label, against), second, strict=True))
    factors = for_label + against
    return for_label / np.where(factors == 0, 1, factors), factors  # a picture of weight 0: a factor of 0


def _sides(loss: LossSpec, labels: Int64, of_pictures: Float64 | None) -> tuple[Float64, Float64]:
    """What speaks for each label and against it, both (N, C)."""
    targets = (1 - loss.label_smoothing) * labels + loss.label_smoothing / 2
    heavy = targets if loss.class_weights is None else targets * np.asarray(loss.class_weights, np.float64)
    counting = 1.0 if of_pictures is None else of_pictures[:, None]
    return counting * heavy, counting * (1 - targets)


def _weighted(
    loss: LossSpec, labels: Int64, classes: int, partners: Partners | None, of_pictures: Float64 | None
) -> tuple[NDArray[np.float64], float]:
    """Targets times the weights of their classes and pictures (N, C), and the sum of the class weights of the labels.

    With partners, of both by their shares. As partners are the labels in another order, the loss is then
    (1 - share) * that of the labels + share * that of the partners' (Zhang et al. 2018), whatever smooths or weighs it.
    """
    if partners is not None:
        own = _weighted(loss, labels, classes, None, of_pictures)
        second = _weighted(loss, partners.labels, classes, None, partners.weights)
        first, other = 1 - partners.share, partners.share
        return first * own[0] + other * second[0], first * own[1] + other * second[1]
    weights = np.ones(classes) if loss.class_weights is None else np.asarray(loss.class_weights, np.float64)
    targets = np.full((len(labels), classes), loss.label_smoothing / classes)  # no eye: that is the square of classes
    targets[np.arange(len(labels)), labels] += 1 - loss.label_smoothing
    weighted = targets * weights
    return weighted if of_pictures is None else weighted * of_pictures[:, None], float(weights[labels].sum())
