"""Figures of logits: losses, accuracy, the evaluation of a split, and which of two is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from xfer.arrays import Float32, Int64
from xfer.backend import PredictStep
from xfer.data.order import Source, chunks
from xfer.errors import XferError
from xfer.multilabel import logistic_losses, mean_average_precision, several, sigmoid
from xfer.progress import Progress
from xfer.section import Section

Count = Annotated[int, Field(ge=0)]
Place = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Epoch(Section):
    """One line of `metrics.jsonl`. Losses are means over samples, accuracies fractions, `lr` the base rate at the end.

    Where pictures are mixed, `train_loss` is of both labels, and `train_accuracy` of the label of the larger share.
    Pictures with any number of labels have no accuracy: `val_map` is the mean average precision, by which epochs are
    better, and `train_exact_match`, `val_exact_match` are the shares of pictures with every label right at 0.5.
    `batches_digest` covers every training batch so far, in order: pictures, labels, dropout masks, and what was mixed;
    it is a chain:
    each batch's is the sha256, in hexadecimal, of the one before (32 zero bytes at first) and the batch's own bytes.
    """

    epoch: Place  # 1-based, over the whole run
    phase: Place
    train_loss: NonNegative
    train_accuracy: Share | None = None
    train_exact_match: Share | None = None
    val_loss: NonNegative
    val_accuracy: Share | None = None
    val_exact_match: Share | None = None
    val_map: Share | None = None
    lr: NonNegative
    seconds: NonNegative
    images_per_second: Annotated[float, Field(gt=0)]  # training images, in training time
    best: bool
    batches_digest: Digest

    @model_validator(mode="after")
    def _of_one_task(self) -> Self:
        refuse_mixed(self)
        return self

    @model_serializer(mode="wrap")
    def _as_row(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What the epoch has, and nothing of the other task."""
        return {key: value for key, value in serialize(self).items() if value is not None}

    @property
    def score(self) -> float:
        """The figure by which epochs are better: the accuracy, or the mean average precision."""
        return float(self.val_accuracy if self.val_map is None else self.val_map)  # type: ignore[arg-type]


OF_CLASSES = frozenset({"train_accuracy", "val_accuracy"})
OF_LABELS = frozenset({"train_exact_match", "val_exact_match", "val_map"})
"""Figures of an epoch that one task has and the other has not."""


def refuse_mixed(record: Section) -> None:
    """Raises ValueError for a record of an epoch that lacks a figure of its task, or has one of the other."""
    present = {key for key in OF_CLASSES | OF_LABELS if getattr(record, key) is not None}
    wanted = OF_LABELS if present & OF_LABELS else OF_CLASSES
    if missing := sorted(wanted - present):
        raise ValueError(f"{missing[0]} is missing")
    if unknown := sorted(present - wanted):
        raise ValueError(f"unknown {unknown[0]} beside {min(wanted)}")


def train_figure(share: float, several: bool) -> dict[str, float]:
    """What an epoch calls the share of training pictures that were right."""
    return {"train_exact_match" if several else "train_accuracy": share}


@dataclass(frozen=True)
class Evaluation:
    """Logits `(n, C)` float32 and labels `(n,)` of a whole split, with mean cross-entropy and accuracy in [0, 1]."""

    logits: Float32
    labels: Int64
    loss: float
    accuracy: float

    @property
    def score(self) -> float:
        """The figure by which one is better than another."""
        return self.accuracy

    @property
    def figures(self) -> dict[str, float]:
        """As an epoch calls them."""
        return {"val_loss": self.loss, "val_accuracy": self.accuracy}

    @property
    def predictions(self) -> Int64:
        most: Int64 = self.logits.argmax(axis=1)
        return most

    @property
    def probabilities(self) -> Float32:
        return probabilities(self.logits)

    @property
    def losses(self) -> Float32:
        """Cross-entropy of each sample."""
        return cross_entropy(self.logits, self.labels).astype(np.float32)


@dataclass(frozen=True)
class LabelEvaluation(Evaluation):
    """Of pictures with any number of labels (n, C): mean binary cross-entropy, and the mean average precision.

    `accuracy` is that of whole pictures (exact match): every label right at a threshold of 0.5, as `predictions` are.
    """

    mean_average_precision: float

    @property
    def score(self) -> float:
        return self.mean_average_precision

    @property
    def figures(self) -> dict[str, float]:
        return {"val_loss": self.loss, "val_exact_match": self.accuracy, "val_map": self.mean_average_precision}

    @property
    def predictions(self) -> Int64:
        """(n, C) of 0 and 1."""
        return (self.logits > 0).astype(np.int64)

    @property
    def probabilities(self) -> Float32:
        return sigmoid(self.logits)

    @property
    def losses(self) -> Float32:
        """Binary cross-entropy of each sample, the mean over its labels."""
        each: Float32 = logistic_losses(self.logits, self.labels).mean(axis=1).astype(np.float32)
        return each


def right(logits: Float32, labels: Int64) -> NDArray[np.bool_]:
    """(n,): whether the most probable class is a picture's own, or of any number of labels each is right at 0.5."""
    answers: NDArray[np.bool_]
    answers = ((logits > 0) == (labels > 0)).all(axis=1) if several(labels) else logits.argmax(axis=1) == labels
    return answers


def log_softmax(logits: Float32) -> NDArray[np.float64]:
    """In float64, so that a difference between two frameworks is theirs. NaN for every row that is not finite."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def probabilities(logits: Float32) -> Float32:
    """The softmax of each row of logits (n, C)."""
    return np.exp(log_softmax(logits)).astype(np.float32)


def mean_over_views(logits: Float32, views: int) -> Float32:
    """Logits (n, C) whose probabilities are the means of those of logits (n * views, C): their logarithms."""
    each = log_softmax(logits).reshape(-1, views, logits.shape[1])
    most = each.max(axis=1, keepdims=True)
    mean: NDArray[np.float64] = most[:, 0] + np.log(np.exp(each - most).mean(axis=1))
    return mean.astype(np.float32)


def mean_of_labels(logits: Float32, views: int) -> Float32:
    """The same of probabilities that are each for itself: the logits of the means of their sigmoids."""
    each = logits.astype(np.float64).reshape(-1, views, logits.shape[1])
    on, off = (np.logaddexp.reduce(-np.logaddexp(0, sign * each), axis=1) for sign in (-1, 1))
    mean: Float32 = (on - off).astype(np.float32)
    return mean


def evaluate(predict: PredictStep, source: Source, labels: Int64, batch_size: int, progress: Progress) -> Evaluation:
    """Run a whole split through `predict`, in order. Its one view is number 0."""
    parts, done = [], 0
    for batch, _ in source.batches(chunks(np.arange(len(labels)), batch_size), 0):
        parts.append(predict(batch.inputs))
        done += len(batch.inputs)
        progress("validation", done, len(labels))
    logits = np.concatenate(parts)
    return evaluation(logits, labels)


def refuse_not_finite(logits: Float32, of: Callable[[int], str], cure: str) -> None:
    """Raises XferError for logits (n, C) with NaN or infinities: there is a most probable class in them, of no worth.

    `of` says what a row belongs to, such as a file.
    """
    if not np.isfinite(logits).all():
        rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        more = f" and of {len(rows) - 1} more" if len(rows) > 1 else ""
        raise XferError(f"the logits of {of(int(rows[0]))}{more} are not finite. Cure: {cure}")


def evaluation(logits: Float32, labels: Int64) -> Evaluation:
    """The figures of logits `(n, C)` against labels `(n,)`, or `(n, C)` of 0 and 1."""
    share = float(right(logits, labels).mean())
    if several(labels):
        loss = float(logistic_losses(logits, labels).mean())
        return LabelEvaluation(logits, labels, loss, share, mean_average_precision(labels, logits))
    return Evaluation(logits, labels, float(cross_entropy(logits, labels).mean()), share)


def cross_entropy(logits: Float32, labels: Int64) -> NDArray[np.float64]:
    """Of each sample, without smoothing or class weights."""
    picked: NDArray[np.float64] = log_softmax(logits)[np.arange(len(labels)), labels]
    return -picked


def better(new: Evaluation, best: Evaluation | None) -> bool:
    """Higher accuracy (or mean average precision) wins; between equals, lower loss; between equals, the earlier."""
    return best is None or (new.score, -new.loss) > (best.score, -best.loss)
