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

from xfer.backend import Batch, Float32, Int64, Lazy, LossSpec, PredictStep, TrainStep
from xfer.errors import XferError
from xfer.loader import chunks, sample_order
from xfer.progress import Progress
from xfer.schedule import Schedule, factor
from xfer.sources import Digests, Source, keep_mask

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

    `batches_digest` covers every training batch so far, in order: pictures, labels and dropout masks. It is a chain:
    each batch's is the sha256, in hexadecimal, of the one before (32 zero bytes at first) and the batch's own bytes.
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
class Point:
    """Where training stands between two steps. With the weights and the optimizer's state it decides all that follows.

    The sums are those of the epoch in progress: of losses and of right answers over samples, and of its seconds.
    """

    epoch: int = 0  # 0-based, over the whole run: the one in progress
    step: int = 0  # how many of its steps are done
    loss_sum: float = 0.0
    right: int = 0
    digest: str = 64 * "0"  # as `batches_digest` of an epoch, up to here
    seconds: float = 0.0


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
    loss: LossSpec | None = None  # for `train_loss`; None: the figure that the step gives


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


def mean_loss(logits: Float32, labels: Int64, spec: LossSpec) -> float:
    """What a step minimises, over a batch: as `xfer.backend.LossSpec` says, in float64."""
    classes = logits.shape[1]
    weights = np.ones(classes) if spec.class_weights is None else np.asarray(spec.class_weights)
    targets = (1 - spec.label_smoothing) * np.eye(classes)[labels] + spec.label_smoothing / classes
    return float(-(targets * weights * log_softmax(logits)).sum() / weights[labels].sum())


def train(
    t: Training, first_epoch: int, phase: int, start: Point, progress: Progress
) -> Iterator[Tally | tuple[Epoch, Evaluation, Point]]:
    """Train from `start` to the end of the phase, which began with `first_epoch`.

    After each step the tally is given, always the same one; after each epoch the epoch, the evaluation that follows
    it, and where training stands now. `progress` is called for a step when its tally has been given.
    `best` is the caller's to decide. Raises XferError when a loss is not finite, with the step and the likely cause.
    """
    count = len(t.train_labels)
    steps = math.ceil(count / t.batch_size)
    point = start
    for epoch in range(start.epoch, first_epoch + t.epochs):
        done = epoch - first_epoch
        rates = [t.lr * factor(t.schedule, done * steps + s, steps, t.epochs) for s in range(steps)]
        tally = Tally(point, rates, t.loss)
        yield from _train_epoch(t, tally, progress)
        trained, validating = tally.point(), time.perf_counter()
        result = evaluate(t.predict, t.val, t.val_labels, t.batch_size, progress)
        point = Point(epoch=epoch + 1, digest=trained.digest)
        yield (
            Epoch(
                epoch=epoch + 1,
                phase=phase + 1,
                train_loss=trained.loss_sum / count,
                train_accuracy=trained.right / count,
                val_loss=result.loss,
                val_accuracy=result.accuracy,
                lr=rates[-1],
                seconds=trained.seconds + time.perf_counter() - validating,
                images_per_second=count / trained.seconds,
                best=False,
                batches_digest=trained.digest,
            ),
            result,
            point,
        )


class Tally:
    """Counts the steps of an epoch. The results of the last LAG stay on the device until they are asked for."""

    def __init__(self, start: Point, rates: Sequence[float], spec: LossSpec | None = None) -> None:
        self.start, self.rates, self.spec = start, rates, spec
        self.started = time.perf_counter() - start.seconds
        self.step, self.digest = start.step, bytes.fromhex(start.digest)
        self.loss_sum, self.right = start.loss_sum, start.right
        self.waiting: deque[tuple[int, Int64, Lazy]] = deque()

    def add(self, batch: Batch, digests: Digests, lazy: Lazy) -> None:
        """Count a step that was taken."""
        link = hashlib.sha256(self.digest)
        for part in (digests, batch.labels, batch.keep):
            link.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        self.digest = link.digest()
        self.waiting.append((self.step, batch.labels, lazy))
        self.step += 1
        self._read(LAG)

    def point(self) -> Point:
        """Where training stands. Waits for the device."""
        self._read(0)
        seconds = time.perf_counter() - self.started
        return Point(self.start.epoch, self.step, self.loss_sum, self.right, self.digest.hex(), seconds)

    def _read(self, leave: int) -> None:
        while len(self.waiting) > leave:
            number, labels, lazy = self.waiting.popleft()
            loss, logits = lazy()
            if not math.isfinite(loss):
                raise XferError(
                    f"the loss became {loss} at step {number + 1} of epoch {self.start.epoch + 1}, at a learning rate "
                    f"of {self.rates[number]:g}. Cure: a smaller optimizer.lr, or optimizer.clip_norm = 1.0"
                )
            # A framework may sum a batch's losses in any order, and not repeat the last bit; its logits do repeat.
            self.loss_sum += len(labels) * (loss if self.spec is None else mean_loss(logits, labels, self.spec))
            self.right += int((logits.argmax(axis=1) == labels).sum())


def _train_epoch(t: Training, tally: Tally, progress: Progress) -> Iterator[Tally]:
    """The steps that the tally's epoch still lacks."""
    epoch, count = tally.start.epoch, len(t.train_labels)
    todo = chunks(sample_order(count, t.seed, epoch), t.batch_size)[tally.step :]
    if not todo:  # it was left after its last step, before the evaluation
        return
    done = count - sum(map(len, todo))
    view = epoch if t.views is None else epoch % t.views
    for indices, (batch, digests) in zip(todo, t.train.batches(todo, view), strict=True):
        batch = replace(batch, keep=keep_mask(t.seed, epoch, indices, t.head_width, t.dropout))
        lrs = [tally.rates[tally.step] * mult for mult in t.lr_mults]
        tally.add(batch, digests, t.step(batch, lrs))
        done += len(indices)
        yield tally  # before others hear of it: an error of theirs then finds a boundary that was given
        progress(f"epoch {epoch + 1}", done, count)


def better(new: Evaluation, best: Evaluation | None) -> bool:
    """Higher accuracy wins; between equals, lower loss; between equals, the earlier."""
    return best is None or (new.accuracy, -new.loss) > (best.accuracy, -best.loss)
