"""What a recipe's loss is, for the classes and the labels of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xfer.arrays import Int64
from xfer.backend import LossName
from xfer.data.dataset import Dataset
from xfer.errors import ConfigError, DataError, expected
from xfer.losses import LossSpec
from xfer.multilabel import class_counts, several
from xfer.recipe.recipe import Recipe

MOST_NAMED = 5  # labels in a message
LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6  # as of those that a recipe gives


def loss_spec(recipe: Recipe, data: Dataset) -> LossSpec:
    """Raises ConfigError for class weights that are not one for each class, DataError for no label to validate."""
    _refuse_same_labels(data)
    weights, classes = recipe.loss.class_weights, len(data.classes)
    kind: LossName = "sigmoid" if recipe.data.task == "multilabel" else "softmax"
    if weights == "balanced":
        return LossSpec(recipe.loss.label_smoothing, balanced_weights(data.train.labels, classes), kind)
    if isinstance(weights, dict):
        return LossSpec(recipe.loss.label_smoothing, _by_name(weights, data.classes), kind)
    if weights is not None and len(weights) != classes:
        raise ConfigError(f"loss.class_weights has {len(weights)} values, expected one for each of {classes} classes")
    return LossSpec(recipe.loss.label_smoothing, weights, kind)


def _refuse_same_labels(data: Dataset) -> None:
    """Raises DataError where pictures have any number of labels, and nothing can be learned of them, or validated."""
    if not several(data.train.labels):
        return
    if data.train.labels.all():
        what = f"every training picture has the same labels ({', '.join(data.classes[:MOST_NAMED])})"
        raise DataError(f"data {data.root}: {what}, and there is nothing to tell. Cure: pictures without them")
    if not data.val.labels.any():
        what = "no validation picture has a label, so that no epoch is better than another"
        raise DataError(f"data {data.root}: {what}. Cure: validation pictures with labels")


def _by_name(weights: Mapping[str, float], classes: Sequence[str]) -> tuple[float, ...]:
    """Class weights in the order of the classes. Raises ConfigError for other names than theirs."""
    for name in weights:
        if name not in classes:
            raise ConfigError(expected("a class of loss.class_weights", name, classes))
    if missing := [name for name in classes if name not in weights]:
        cure = "Cure: give each class of the data one; 1.0 is the weight of a class without any"
        raise ConfigError(f"loss.class_weights has none for {', '.join(missing)}. {cure}")
    return tuple(weights[name] for name in classes)


def balanced_weights(labels: Int64, classes: int) -> tuple[float, ...]:
    """Class weights inverse to the counts, with a mean of 1 over the samples: n / (classes * count).

    Of any number of labels each, what makes those that have a label weigh as much as those that do not:
    (n - count) / count, within the bounds of a weight.
    """
    counts = class_counts(labels, classes)
    if several(labels):
        ratios = (len(labels) - counts) / counts
        return tuple(ratios.clip(LEAST_WEIGHT, MOST_WEIGHT).tolist())
    return tuple(float(w) for w in len(labels) / (classes * counts))
