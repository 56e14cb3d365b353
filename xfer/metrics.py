"""Figures of logits: losses, accuracy, the evaluation of a split, and which of two is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xfer.arrays import Float32, Int64
from xfer.backend import PredictStep
from xfer.data.order import Source, chunks
from xfer.errors import XferError
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
    `batches_digest` covers every training batch so far, in order: pictures, labels, dropout masks, and what was mixed;
    it is a chain:
    each batch's is the sha256, in hexadecimal, of the one before (32 zero bytes at first) and the batch's own bytes.
    """

    epoch: Place  # 1-based, over the whole run
    phase: Place
    train_loss: NonNegative
    train_accuracy: Share
    val_loss: NonNegative
    val_accuracy: Share
    lr: NonNegative
    seconds: NonNegative
    images_per_second: Annotated[float, Field(gt=0)]  # training images, in training time
    best: bool
    batches_digest: Digest


@dataclass(frozen=True)
class Evaluation:
    """Logits `(n, C)` float32 and labels `(n,)` of a whole split, with mean cross-entropy and accuracy in [0, 1]."""

    logits: Float32
    labels: Int64
    loss: float
    accuracy: float

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
    """The figures of logits `(n, C)` against labels `(n,)`."""
    loss, right = cross_entropy(logits, labels).mean(), (logits.argmax(axis=1) == labels).mean()
    return Evaluation(logits, labels, float(loss), float(right))


def cross_entropy(logits: Float32, labels: Int64) -> NDArray[np.float64]:
    """Of each sample, without smoothing or class weights."""
    picked: NDArray[np.float64] = log_softmax(logits)[np.arange(len(labels)), labels]
    return -picked


def better(new: Evaluation, best: Evaluation | None) -> bool:
    """Higher accuracy wins; between equals, lower loss; between equals, the earlier."""
    return best is None or (new.accuracy, -new.loss) > (best.accuracy, -best.loss)
