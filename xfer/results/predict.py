"""Predicting and evaluating with a checkpoint, whichever backend wrote it, on whichever backend."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xfer import metrics
from xfer.arrays import Float32, Int64
from xfer.backend import Backend
from xfer.backends import load_backend, pick_device
from xfer.data.sources import Pictures
from xfer.data.split import Split
from xfer.errors import DataError
from xfer.progress import Progress, silent
from xfer.results.checkpoint import Checkpoint
from xfer.system.files import write_json, write_text

BATCH = 32


@dataclass(frozen=True)
class Predictions:
    """Class probabilities `(n, C)` of n files, each row summing to 1."""

    files: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float32

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each file."""
        return tuple(self.classes[i] for i in self.probabilities.argmax(axis=1))

    def rows(self, truth: Int64 | None = None) -> list[dict[str, Any]]:
        """A plain record for each file, for CSV or JSON; with the true class where `truth` is known."""
        records = []
        for i, (file, label, row) in enumerate(zip(self.files, self.labels, self.probabilities, strict=True)):
            known = {} if truth is None else {"label": self.classes[truth[i]]}
            shares = {f"p_{name}": float(p) for name, p in zip(self.classes, row, strict=True)}
            records.append({"file": file, **known, "predicted": label, "probability": float(row.max()), **shares})
        return records


def predict(
    checkpoint: Checkpoint,
    files: Sequence[str],
    backend: str | Backend,
    device: str = "auto",
    progress: Progress = silent,
) -> Predictions:
    """Probabilities for picture files, in order. Raises DataError for a file that is no picture."""
    if not files:
        raise DataError("nothing to predict: expected at least one picture")
    split = Split(files, np.zeros(len(files), np.int64))
    result = evaluate(checkpoint, split, backend, device, progress)
    return Predictions(tuple(files), checkpoint.classes, result.probabilities)


def evaluate(
    checkpoint: Checkpoint, split: Split, backend: str | Backend, device: str = "auto", progress: Progress = silent
) -> metrics.Evaluation:
    """Loss and accuracy on a split whose labels count the checkpoint's classes."""
    backend = load_backend(backend) if isinstance(backend, str) else backend
    net = checkpoint.net(backend, pick_device(backend, device))
    source = Pictures(split, checkpoint.transforms, seed=0, workers=0)
    return metrics.evaluate(net.predict_step(), source, split.labels, BATCH, progress)


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


def save(path: Path, predictions: Predictions, truth: Int64 | None = None) -> None:
    """A record for each file: JSON where the name ends in .json, else CSV.

    Columns: file, label (where known), predicted, probability, and p_<class> for each class.
    """
    rows = predictions.rows(truth)
    if path.suffix == ".json":
        write_json(path, rows)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def is_own(path: Path) -> bool:
    """Whether a file holds predictions as `save` writes them where labels are not known."""
    columns = ["file", "predicted", "probability"]
    try:
        with path.open(encoding="utf-8") as file:
            if path.suffix != ".json":
                return file.readline().startswith(",".join(columns))
            rows = json.load(file)
            return isinstance(rows, list) and all(isinstance(row, dict) and list(row)[:3] == columns for row in rows)
    except (OSError, ValueError, RecursionError):
        return False
