"""The training loop, written once. It calls closures and knows neither frameworks, nor files, nor printing."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32, Float64, Int64
from xfer.backend import Batch, Lazy, Precision, PredictStep, TrainStep
from xfer.data.order import Sampler, Source, chunks, epoch_order
from xfer.losses import PLAIN, LossSpec, Partners, leading, mean_logistic_loss, mean_loss, targets_of
from xfer.metrics import Count, Digest, Epoch, Evaluation, NonNegative, evaluate, log_softmax, right, train_figure
from xfer.multilabel import several
from xfer.progress import Progress
from xfer.recipe.recipe import Mix
from xfer.recipe.schedule import Schedule, factor, falls
from xfer.section import Section
from xfer.training import diverged
from xfer.training.masks import Masks
from xfer.training.mixing import UNMIXED, mixed

LAG = 8  # steps whose results stay on the device, so that reading a loss never waits for the step in progress


class Point(Section):
    """Where training stands between two steps. With the weights and the optimizer's state it decides all that follows.

    The sums are those of the epoch in progress: of losses and of right answers over samples, and of its seconds.
    """

    epoch: Count = 0  # 0-based, over the whole run: the one in progress
    step: Count = 0  # how many of its steps are done
    loss_sum: NonNegative = 0.0
    right: Count = 0
    digest: Digest = 64 * "0"  # as `batches_digest` of an epoch, up to here
    seconds: NonNegative = 0.0


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
    phase: int  # 0-based
    first_epoch: int  # 0-based, over the whole run
    epochs: int
    batch_size: int  # of a part of a step
    val_batch: int  # pictures at a time through `predict`
    views: int | None  # None: a fresh one each epoch
    masks: Masks
    seed: int
    classes: int
    accumulate: int = 1  # parts of a step, at most
    losses: tuple[float, ...] = ()  # on the validation pictures, of the epochs of the phase before the start
    loss: LossSpec | None = None  # None: plain, and `train_loss` is the figure that the step gives
    precision: Precision = "float32"
    mix: Mix = UNMIXED
    mixed_until: int | None = None  # the first epoch, over the whole run, that is not mixed; None: all are
    sampler: Sampler = "shuffle"
    weights: Float64 | None = None  # of each training picture, where they have any


def train(t: Training, start: Point, progress: Progress) -> Iterator[Tally | tuple[Epoch, Evaluation, Point]]:
    """Train from `start` to the end of the phase.

    After each step the tally is given, always the same one; after each epoch the epoch, the evaluation that follows
    it, and where training stands now. `progress` is called for a step when its tally has been given.
    `best` is the caller's to decide. Raises XferError when a loss or a logit is not finite, with the step or the epoch
    and the likely cause; ConfigError for a rate near the end of float32: that of a group is
    a product.
    """
    count = len(t.train_labels)
    steps = math.ceil(count / (t.batch_size * t.accumulate))
    point, losses = start, list(t.losses)
    for epoch in range(start.epoch, t.first_epoch + t.epochs):
        done = epoch - t.first_epoch
        fallen = falls(t.schedule, losses)
        rates = [t.lr * factor(t.schedule, done * steps + s, steps, t.epochs, fallen) for s in range(steps)]
        diverged.refuse_rate(max(rates), max(t.lr_mults, default=1.0), epoch + 1)
        tally = Tally(point, rates, t.loss, t.precision)
        yield from train_epoch(t, tally, progress)
        trained, validating = tally.point(), time.perf_counter()
        result = evaluate(t.predict, t.val, t.val_labels, t.val_batch, progress)
        losses.append(result.loss)
        diverged.refuse_logits(result.logits, epoch + 1, rates[-1], t.precision)
        point = Point(epoch=epoch + 1, digest=trained.digest)
        yield (
            Epoch(
                epoch=epoch + 1,
                phase=t.phase + 1,
                train_loss=trained.loss_sum / count,
                **train_figure(trained.right / count, several(t.train_labels)),
                **result.figures,
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

    def __init__(
        self, start: Point, rates: Sequence[float], spec: LossSpec | None = None, precision: Precision = "float32"
    ) -> None:
        self.start, self.rates, self.spec, self.precision = start, rates, spec, precision
        self.started = time.perf_counter() - start.seconds
        self.step, self.digest = start.step, bytes.fromhex(start.digest)
        self.loss_sum, self.right = start.loss_sum, start.right
        self.latest = math.nan  # loss of the last step that was read
        self.waiting: deque[tuple[int, Int64, Lazy, Partners | None, Float64 | None]] = deque()

    def add(
        self,
        labels: Int64,
        arrays: Iterable[NDArray[Any]],
        lazy: Lazy,
        partners: Partners | None = None,
        weights: Float64 | None = None,
    ) -> None:
        """Count a step that was taken, on a batch that is what the arrays say."""
        link = hashlib.sha256(self.digest)
        for array in arrays:
            link.update(np.ascontiguousarray(array).tobytes())
        self.digest = link.digest()
        self.waiting.append((self.step, labels, lazy, partners, weights))
        self.step += 1
        self._read(LAG)

    def point(self) -> Point:
        """Where training stands. Waits for the device."""
        self._read(0)
        seconds = time.perf_counter() - self.started
        return Point(
            epoch=self.start.epoch,
            step=self.step,
            loss_sum=self.loss_sum,
            right=self.right,
            digest=self.digest.hex(),
            seconds=seconds,
        )

    def _read(self, leave: int) -> None:
        while len(self.waiting) > leave:
            number, labels, lazy, partners, weights = self.waiting.popleft()
            loss, logits = lazy()
            # A framework may sum a batch's losses in any order, and not repeat the last bit; its logits do repeat.
            mean = loss if self.spec is None else _mean_loss(logits, labels, self.spec, partners, weights)
            if not (math.isfinite(loss) and math.isfinite(mean)):
                wrong = mean if math.isfinite(loss) else loss
                raise diverged.lost(wrong, number + 1, self.start.epoch + 1, self.rates[number], self.precision)
            self.loss_sum += len(labels) * mean
            self.latest = mean
            self.right += int(right(logits, leading(labels, partners)).sum())


def _mean_loss(
    logits: Float32, labels: Int64, spec: LossSpec, partners: Partners | None, weights: Float64 | None
) -> float:
    if spec.kind == "sigmoid":
        return mean_logistic_loss(logits, labels, spec, partners, weights)
    return mean_loss(log_softmax(logits), labels, spec, partners, weights)


def train_epoch(t: Training, tally: Tally, progress: Progress) -> Iterator[Tally]:
    """The steps that the tally's epoch still lacks."""
    epoch, count = tally.start.epoch, len(t.train_labels)
    todo = chunks(epoch_order(t.sampler, t.train_labels, t.seed, epoch), t.batch_size * t.accumulate)[tally.step :]
    if not todo:  # it was left after its last step, before the evaluation
        return
    done = count - sum(map(len, todo))
    view = epoch if t.views is None else epoch % t.views
    asked = (
        todo if t.views is None else [positions % count for positions in todo]
    )  # one picture in a view, however often
    asked_mix = t.mix if t.mixed_until is None or epoch < t.mixed_until else UNMIXED
    for indices, (labelled, digests) in zip(todo, t.train.batches(asked, view), strict=True):
        masks = t.masks.draw(t.seed, epoch, indices)
        weights = None if t.weights is None else t.weights[indices % count]
        mix = mixed(asked_mix, labelled, t.seed, epoch, done, weights)
        targets, factors = targets_of(t.loss or PLAIN, labelled.labels, t.classes, mix.partners, weights)
        batch = Batch(mix.inputs, targets, factors, masks)
        lrs = [tally.rates[tally.step] * mult for mult in t.lr_mults]
        result = t.step(parts_of(batch, t.batch_size), lrs)
        given = () if weights is None else (weights,)
        arrays = (digests, labelled.labels, *given, *mix.changed, *masks.values())
        tally.add(labelled.labels, arrays, result, mix.partners, weights)
        done += len(indices)
        yield tally  # before others hear of it: an error of theirs then finds a boundary that was given
        progress(f"epoch {epoch + 1}", done, count)


def parts_of(batch: Batch, size: int) -> list[Batch]:
    """A batch in parts of `size` samples, the last of which may have fewer. Factors stay those of the whole."""

    def cut(array: NDArray[Any], place: int) -> NDArray[Any]:
        return array[place : place + size]

    return [
        Batch(
            cut(batch.inputs, place),
            cut(batch.targets, place),
            cut(batch.factors, place),
            {node: cut(mask, place) for node, mask in batch.masks.items()},
        )
        for place in range(0, len(batch.inputs), size)
    ]
