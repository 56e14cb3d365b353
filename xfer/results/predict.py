"""Predicting and evaluating with a checkpoint, whichever backend wrote it, on whichever backend."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfer import metrics
from xfer.arrays import Float32, Int64, Pixels
from xfer.backend import Backend, PredictStep
from xfer.backends import load_backend, pick_device
from xfer.data.given import Given, Picture, find_given, read_given, read_whole
from xfer.data.lists import Skipped
from xfer.data.loader import refuse_large_batches
from xfer.data.sources import Pictures
from xfer.data.split import Split
from xfer.errors import ConfigError, DataError
from xfer.nets.net import PREDICT_BATCH, Net
from xfer.pixels.augment import Transform
from xfer.pixels.images import SUFFIXES
from xfer.pixels.levels import levels_of
from xfer.pixels.views import COUNTS, Tta, with_views
from xfer.progress import Progress, silent
from xfer.results import notebook
from xfer.results.checkpoint import Checkpoint, shortened
from xfer.system.doors import open_regular
from xfer.system.files import write_json, write_text
from xfer.system.tables import csv_text

_BEGINNING = 2**22  # bytes in which the first record of a file of predictions ends
_SHOWN, _WIDTH = 10, 80  # files in what is shown of predictions, and characters of their names
OnBadImage = Literal["error", "skip"]


@dataclass(frozen=True)
class Predictions:
    """Class probabilities `(n, C)` of n files, each row summing to 1. `skipped`: what could not be used, and why.

    Pictures that were given as images or arrays are called `image 0`, `image 1`, ... by their place in what was given.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float32
    skipped: tuple[Skipped, ...] = ()

    def __repr__(self) -> str:
        """The first files with their classes, a line each."""
        lines = [f"<{self._heading}"]
        first = zip(self.top(1), self.files[:_SHOWN], strict=False)
        lines += [f"  {name}  {probability:.2%}  {_end(file)}" for ((name, probability),), file in first]
        if (more := len(self.files) - _SHOWN) > 0:
            lines.append(f"  and {more} more")
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str | None:
        first = zip(self.files[:_SHOWN], self.top(1), strict=False)
        rows = [(file, name, f"{probability:.2%}") for file, ((name, probability),) in first]
        rows += [(file, f"not used: {reason}", "") for file, reason in self.skipped[: _SHOWN - len(rows)]]
        more = len(self.files) + len(self.skipped) - len(rows)
        return notebook.form(lambda: notebook.pictures(self._heading, rows, more))

    @property
    def _heading(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Predictions of {len(self.files)} pictures, {shortened(self.classes)}{skipped}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each file."""
        return tuple(self.classes[i] for i in self.probabilities.argmax(axis=1))

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each file with their probabilities, the best first; all where k is larger."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        places = zip(order, self.probabilities, strict=True)
        return [[(self.classes[i], float(row[i])) for i in best] for best, row in places]

    def rows(self, truth: Int64 | None = None) -> list[dict[str, Any]]:
        """A plain record for each file, for CSV, JSON or pandas; with the true class where `truth` is known.

        What was skipped comes last, with a `reason` in place of a class; where nothing was, no row has a reason.
        """
        records = []
        for i, (file, label, row) in enumerate(zip(self.files, self.labels, self.probabilities, strict=True)):
            known = {} if truth is None else {"label": self.classes[truth[i]]}
            shares = {f"p_{name}": float(p) for name, p in zip(self.classes, row, strict=True)}
            records.append({"file": file, **known, "predicted": label, "probability": float(row.max()), **shares})
        if not self.skipped:
            return records
        blank = dict.fromkeys(records[0])
        unusable = [{**blank, "file": file, "reason": reason} for file, reason in self.skipped]
        return [{**record, "reason": None} for record in records] + unusable


def _end(file: str) -> str:
    return file if len(file) <= _WIDTH else f"...{file[-_WIDTH:]}"


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
    of = Predictor(net.predict_step(), checkpoint.classes, transforms, name, batch=batch).with_views(tta)
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

    def with_views(self, tta: Tta | None) -> Predictor:
        """The same over several views of each picture. Raises ConfigError where the step makes the only one itself."""
        if tta is not None and self.whole:
            raise ConfigError(f"tta = {tta!r}: {self.name} resizes and crops by itself. Cure: leave it out")
        views = _views(self.transforms, tta)
        step, batch = views.step(self.step), views.batch(self.batch)
        return replace(self, step=step, transforms=views.transforms, batch=batch)

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
        return Predictions(files, self.classes, metrics.probabilities(every), tuple(skipped))

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
    result = metrics.evaluate(views.step(net.predict_step()), source, split.labels, size, progress)
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

    def step(self, step: PredictStep) -> PredictStep:
        """Logits (N, C) of pictures (N, count * H, W, 3), by a step that takes pictures (N, H, W, 3)."""
        if self.count == 1:
            return step

        def over_views(inputs: NDArray[Any]) -> Float32:
            n, height, *rest = inputs.shape
            each = inputs.reshape(n * self.count, height // self.count, *rest)
            return metrics.mean_over_views(step(each), self.count)

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
    positions = np.array([wanted.index(name) for name in classes], np.int64)
    return replace(split, labels=positions[split.labels])


def save(path: Path, predictions: Predictions, truth: Int64 | None = None, raw: bool = False) -> None:
    """A record for each file: JSON where the name ends in .json, else CSV.

    Columns: file, label (where known), predicted, probability, and p_<class> for each class. Names that a spreadsheet
    would run are quoted, see `xfer.system.tables`, unless `raw`.
    """
    rows = predictions.rows(truth)
    if path.suffix == ".json":
        write_json(path, rows)
        return
    write_text(path, csv_text(list(rows[0]), (row.values() for row in rows), raw))


def is_own(path: Path) -> bool:
    """Whether a file holds predictions as `save` writes them where labels are not known."""
    columns = ["file", "predicted", "probability"]
    try:
        with open_regular(path) as file:
            beginning = file.read(_BEGINNING).decode("utf-8", "replace")
        if path.suffix != ".json":
            return beginning.startswith(",".join(columns))
        before, brace, _ = beginning.partition("{")
        record, _ = json.JSONDecoder().raw_decode(beginning, len(before))
        return before.strip() == "[" and bool(brace) and list(record)[:3] == columns
    except (OSError, ValueError, RecursionError):
        return False
