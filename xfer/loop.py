"""The training loop, written once. It calls closures and knows neither frameworks, nor files, nor printing."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfer.backend import Float32, Int64, Lazy, PredictStep, TrainStep
from xfer.errors import XferError
from xfer.loader import chunks, sample_order
from xfer.progress import Progress
from xfer.schedule import Schedule, factor
from xfer.sources import Source, keep_mask

LAG = 8  # steps whose results stay on the device, so that reading a loss never waits for the step in progress


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
        return np.exp(log_softmax(self.logits)).astype(np.float32)

    @property
    def losses(self) -> Float32:
        """Cross-entropy of each sample."""
        return cross_entropy(self.logits, self.labels).astype(np.float32)


@dataclass(frozen=True)
class Epoch:
    """One line of `metrics.jsonl`. Losses are means over samples, accuracies fractions, `lr` the base rate at the end.

    `batches_digest` covers every training batch so far, in order: pictures, labels and dropout masks.
    """

    epoch: int  # 1-based, over the whole run
    phase: int  # 1-based
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float
    images_per_second: float  # training images, in training time
    best: bool
    batches_digest: str


@dataclass(frozen=True)
class Training:
    """All that one phase of training needs, as closures and data."""

    step: TrainStep
    predict: PredictStep
    train: Source
    val: Source
    train_labels: Int64
    val_labels: Int64
    lr_mults: tuple[float, ...]  # of each group the step moves
    schedule: Schedule
    lr: float
    epochs: int
    batch_size: int
    views: int | None  # None: a fresh one each epoch
    dropout: float
    head_width: int
    seed: int


def log_softmax(logits: Float32) -> NDArray[np.float64]:
    """In float64, so that a difference between two frameworks is theirs."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def evaluate(predict: PredictStep, source: Source, labels: Int64, batch_size: int, progress: Progress) -> Evaluation:
    """Run a whole split through `predict`, in order. Its one view is number 0."""
    parts, done = [], 0
    for batch, _ in source.batches(chunks(np.arange(len(labels)), batch_size), 0):
        parts.append(predict(batch.inputs))
        done += len(batch.labels)
        progress("validation", done, len(labels))
    logits = np.concatenate(parts)
    return evaluation(logits, labels)


def evaluation(logits: Float32, labels: Int64) -> Evaluation:
    """The figures of logits `(n, C)` against labels `(n,)`."""
    loss, right = cross_entropy(logits, labels).mean(), (logits.argmax(axis=1) == labels).mean()
    return Evaluation(logits, labels, float(loss), float(right))


def cross_entropy(logits: Float32, labels: Int64) -> NDArray[np.float64]:
    """Of each sample, without smoothing or class weights."""
    picked: NDArray[np.float64] = log_softmax(logits)[np.arange(len(labels)), labels]
    return -picked


def train(
    t: Training, first_epoch: int, phase: int, digest: hashlib._Hash, progress: Progress
) -> Iterator[tuple[Epoch, Evaluation]]:
    """Train for `t.epochs`, giving each epoch with the evaluation after it. `best` is the caller's to decide.

    Raises XferError when a loss is not finite, with the step and the likely cause.
    """
    count = len(t.train_labels)
    steps = math.ceil(count / t.batch_size)
    for done in range(t.epochs):
        epoch, started = first_epoch + done, time.perf_counter()
        rates = [t.lr * factor(t.schedule, done * steps + s, steps, t.epochs) for s in range(steps)]
        loss, accuracy = _train_epoch(t, epoch, rates, digest, progress)
        trained = time.perf_counter()
        result = evaluate(t.predict, t.val, t.val_labels, t.batch_size, progress)
        yield (
            Epoch(
                epoch=epoch + 1,
                phase=phase + 1,
                train_loss=loss,
                train_accuracy=accuracy,
                val_loss=result.loss,
                val_accuracy=result.accuracy,
                lr=rates[-1],
                seconds=time.perf_counter() - started,
                images_per_second=count / (trained - started),
                best=False,
                batches_digest=digest.copy().hexdigest(),
            ),
            result,
        )


def _train_epoch(
    t: Training, epoch: int, rates: Sequence[float], digest: hashlib._Hash, progress: Progress
) -> tuple[float, float]:
    """Mean loss and accuracy over the epoch's training batches, as they were when each was trained on."""
    count = len(t.train_labels)
    order = chunks(sample_order(count, t.seed, epoch), t.batch_size)
    view = epoch if t.views is None else epoch % t.views
    waiting: deque[tuple[int, Int64, Lazy]] = deque()
    loss_sum = right = done = 0.0
    for number, (indices, (batch, digests)) in enumerate(zip(order, t.train.batches(order, view), strict=True)):
        batch = replace(batch, keep=keep_mask(t.seed, epoch, indices, t.head_width, t.dropout))
        for part in (digests, batch.labels, batch.keep):
            digest.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        lrs = [rates[number] * mult for mult in t.lr_mults]
        waiting.append((number, batch.labels, t.step(batch, lrs)))
        done += len(indices)
        progress(f"epoch {epoch + 1}", int(done), count)
        while len(waiting) > (LAG if number + 1 < len(order) else 0):
            loss, correct = _read(*waiting.popleft(), epoch, rates)
            loss_sum, right = loss_sum + loss, right + correct
    return loss_sum / count, right / count


def _read(number: int, labels: Int64, lazy: Lazy, epoch: int, rates: Sequence[float]) -> tuple[float, int]:
    loss, logits = lazy()
    if not math.isfinite(loss):
        raise XferError(
            f"the loss became {loss} at step {number + 1} of epoch {epoch + 1}, at a learning rate of "
            f"{rates[number]:g}. Cure: a smaller optimizer.lr, or optimizer.clip_norm = 1.0"
        )
    return loss * len(labels), int((logits.argmax(axis=1) == labels).sum())


def better(new: Evaluation, best: Evaluation | None) -> bool:
    """Higher accuracy wins; between equals, lower loss; between equals, the earlier."""
    return best is None or (new.accuracy, -new.loss) > (best.accuracy, -best.loss)
