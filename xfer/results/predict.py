"""Predicting and evaluating with a checkpoint, whichever backend wrote it, on whichever backend."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfer import metrics
from xfer.arrays import Float32, Pixels
from xfer.backend import Backend, PredictStep
from xfer.backends import load_backend, pick_device
from xfer.data.given import Given, Picture, find_given, read_given, read_whole
from xfer.data.lists import Skipped
from xfer.data.loader import refuse_large_batches
from xfer.data.sources import Pictures
from xfer.data.split import Split
from xfer.errors import ConfigError, DataError
from xfer.multilabel import placed, sigmoid
from xfer.nets.net import PREDICT_BATCH, Net
from xfer.pixels.augment import Transform
from xfer.pixels.images import SUFFIXES
from xfer.pixels.levels import levels_of
from xfer.pixels.views import COUNTS, Tta, with_views
from xfer.progress import Progress, silent
from xfer.results.checkpoint import Checkpoint
from xfer.results.predictions import Predictions

OnBadImage = Literal["error", "skip"]


def predict(
    checkpoint: Checkpoint,
    given: Given | Iterable[Given],
    backend: str | Backend,
    device: str = "auto",
    progress: Progress = silent,
    on_bad_image: OnBadImage = "error",
    suffixes: Sequence[str] = SUFFIXES,
    tta: Tta | None = None,
) -> Predictions:
    """Probabilities for pictures, in order; see `xfer.data.given` for what can be given, and `suffixes`.

    `tta`: means over several views of each picture, see `xfer.pixels.views`. Raises DataError for a picture that cannot
    be used; with `on_bad_image = "skip"` only where none of them can.
    """
    pictures = to_predict(given, suffixes)
    backend = load_backend(backend) if isinstance(backend, str) else backend
    net = _net(checkpoint, _views(checkpoint.transforms, tta), backend, device, len(pictures))
    transforms, name, batch = checkpoint.transforms, checkpoint.name, net.predict_batch()
    of = Predictor(net.predict_step(), checkpoint.classes, transforms, name, False, batch, checkpoint.thresholds)
    of = of.with_views(tta)
    return of.predict(pictures, progress, on_bad_image)


def to_predict(given: Given | Iterable[Given], suffixes: Sequence[str] = SUFFIXES) -> list[tuple[str, Picture]]:
    """The pictures that are given, by name. Raises DataError where there are none."""
    pictures = list(find_given(given, suffixes).items())
    if not pictures:
        raise DataError("nothing to predict: expected at least one picture")
    return pictures


@dataclass(frozen=True)
class Predictor:
    """What gives logits of pictures, whoever computes them.

    name    of its file, for errors
    whole   whether `step` does what the transforms do: it takes pictures of any size, one by one
    batch   pictures at a time, where it does not
    """

    step: PredictStep
    classes: tuple[str, ...]
    transforms: tuple[Transform, ...]
    name: str
    whole: bool = False
    batch: int = PREDICT_BATCH
    thresholds: tuple[float, ...] | None = None  # as of `Predictions`

    def with_views(self, tta: Tta | None) -> Predictor:
        """The same over several views of each picture. Raises ConfigError where the step makes the only one itself."""
        if tta is not None and self.whole:
            raise ConfigError(f"tta = {tta!r}: {self.name} resizes and crops by itself. Cure: leave it out")
        views = _views(self.transforms, tta)
        step, batch = views.step(self.step, self.thresholds is not None), views.batch(self.batch)
        return replace(self, step=step, transforms=views.transforms, batch=batch)

    def shares(self, logits: Float32) -> Float32:
        """The probabilities (N, C) of these, together or each for itself."""
        return metrics.probabilities(logits) if self.thresholds is None else sigmoid(logits)

    def predict(
        self, pictures: Sequence[tuple[str, Picture]], progress: Progress = silent, on_bad_image: OnBadImage = "error"
    ) -> Predictions:
        """As the function of this name does."""
        skipped: list[Skipped] = []

        def usable() -> Generator[Pixels, None, None]:
            with closing(self._read(pictures)) as results:
                for done, result in enumerate(results, start=1):
                    progress("predicting", done, len(pictures))
                    if not isinstance(result, Skipped):
                        yield result
                    elif on_bad_image == "error":
                        raise DataError(f"{result.path}: {result.reason}")
                    else:
                        skipped.append(result)

        with closing(usable()) as pixels:
            size = 1 if self.whole else self.batch
            logits = [self.step(np.stack(batch)) for batch in iter(lambda: list(islice(pixels, size)), [])]
        if not logits:
            raise DataError(_none_usable(skipped))
        lost = {file for file, _ in skipped}
        files = tuple(name for name, _ in pictures if name not in lost)
        every = np.concatenate(logits)
        metrics.refuse_not_finite(every, files.__getitem__, _overflow(self.name))
        return Predictions(files, self.classes, self.shares(every), tuple(skipped), self.thresholds)

    def _read(self, pictures: Sequence[tuple[str, Picture]]) -> Generator[Pixels | Skipped, None, None]:
        if self.whole:
            return read_whole(pictures, levels_of(self.transforms))
        return read_given(pictures, self.transforms)


def _overflow(name: str) -> str:
    return f"another checkpoint: the numbers in {name} are too large for float32"


def _none_usable(skipped: Sequence[Skipped]) -> str:
    file, reason = skipped[0]
    count = "" if len(skipped) == 1 else f"none of {len(skipped)} pictures can be used, the first: "
    return f"{count}{file}: {reason}"


def evaluate(
    checkpoint: Checkpoint,
    split: Split,
    backend: str | Backend,
    device: str = "auto",
    progress: Progress = silent,
    tta: Tta | None = None,
) -> metrics.Evaluation:
    """Loss and accuracy on a split whose labels count the checkpoint's classes; `tta` as in `predict`."""
    backend, views = load_backend(backend) if isinstance(backend, str) else backend, _views(checkpoint.transforms, tta)
    net = _net(checkpoint, views, backend, device, len(split.labels))
    source, size = Pictures(split, views.transforms, seed=0, workers=0), views.batch(net.predict_batch())
    step = views.step(net.predict_step(), checkpoint.thresholds is not None)
    result = metrics.evaluate(step, source, split.labels, size, progress)
    metrics.refuse_not_finite(result.logits, split.files.__getitem__, _overflow(checkpoint.name))
    return result


@dataclass(frozen=True)
class _Views:
    """How pictures are read, and how many views of each one lie below the other then."""

    transforms: tuple[Transform, ...]
    count: int

    def batch(self, most: int) -> int:
        """Pictures, so that no more views than `most` go through the network together."""
        return max(most // self.count, 1)

    def step(self, step: PredictStep, several: bool = False) -> PredictStep:
        """Logits (N, C) of pictures (N, count * H, W, 3), by a step that takes pictures (N, H, W, 3).

        `several`: whose probabilities are each for itself.
        """
        mean = metrics.mean_of_labels if several else metrics.mean_over_views
        if self.count == 1:
            return step

        def over_views(inputs: NDArray[Any]) -> Float32:
            n, height, *rest = inputs.shape
            each = inputs.reshape(n * self.count, height // self.count, *rest)
            return mean(step(each), self.count)

        return over_views


def _views(transforms: tuple[Transform, ...], tta: Tta | None) -> _Views:
    return _Views(transforms, 1) if tta is None else _Views(with_views(transforms, tta), COUNTS[tta])


def _net(checkpoint: Checkpoint, views: _Views, backend: Backend, device: str, count: int) -> Net:
    """To go through `count` pictures. Raises ConfigError where there is no memory for batches of them."""
    device = pick_device(backend, device)
    cure = "more memory: the checkpoint is for pictures of this size"
    refuse_large_batches(views.transforms, min(views.batch(PREDICT_BATCH), count), 0, device, cure)
    return checkpoint.net(backend, device)


def relabel(split: Split, classes: Sequence[str], wanted: Sequence[str]) -> Split:
    """The split with its labels counting `wanted`. Raises DataError for a class the checkpoint does not know."""
    unknown = [name for name in classes if name not in wanted]
    if unknown:
        raise DataError(
            f"the checkpoint knows the classes {', '.join(wanted)}; the data also has {', '.join(unknown)}. "
            f"Cure: evaluate on folders of those classes only"
        )
    positions = [wanted.index(name) for name in classes]
    return replace(split, labels=placed(split.labels, positions, len(wanted)))
