"""A finished run: what it left, and evaluating and predicting with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from xfer.backend import Backend
from xfer.data.dataset import is_there
from xfer.data.find import find_images
from xfer.data.split import Split, joined
from xfer.errors import CheckpointError, DataError
from xfer.metrics import Evaluation
from xfer.progress import Progress, silent
from xfer.recipe.meaning import open_data
from xfer.recipe.recipe import Recipe
from xfer.results import predict
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.results.predict import Predictions
from xfer.results.read import data_of, read_metrics, read_recipe, read_result

Which = Literal["train", "val", "all"]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and what its `result.json` says."""

    path: Path
    result: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Raises CheckpointError when the folder holds no finished run."""
        return cls(Path(path), read_result(Path(path)))

    @cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.path)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The best weights, with all that predicting needs."""
        return load_checkpoint(self.path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record for each epoch."""
        return read_metrics(self.path)

    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        split: Which = "val",
        backend: str | Backend | None = None,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Evaluation:
        """Loss and accuracy of the best checkpoint. `data` None: what the run was trained on."""
        data = data_of(self.path) if data is None else data
        chosen = open_split(self.checkpoint, data, split, self.recipe, progress)
        return predict.evaluate(self.checkpoint, chosen, backend or self.result["backend"], device, progress)

    def predict(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        backend: str | Backend | None = None,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Predictions:
        """Class probabilities for files, folders (searched recursively) and glob patterns."""
        names = [str(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
        used = backend or self.result["backend"]
        return predict.predict(self.checkpoint, find_images(names), used, device, progress)


def open_split(
    checkpoint: Checkpoint, data: str | Path | None, which: Which, recipe: Recipe | None, progress: Progress = silent
) -> Split:
    """A split of a data set, its labels counting the checkpoint's classes.

    `recipe` is the one the checkpoint was trained with, where it is known: it names the data, and repeats its split.
    """
    if data is None and recipe is None:
        raise CheckpointError("a checkpoint does not say which data to evaluate on. Cure: --data DIR")
    if data is None and recipe and not is_there(recipe.data.source):
        raise DataError(f"data {recipe.data.source}: what it was trained on is no longer there. Cure: --data DIR")
    dataset = open_data(recipe or Recipe(), progress, None if data is None else str(data))
    splits = {"train": [dataset.train], "val": [dataset.val], "all": [dataset.train, dataset.val]}[which]
    return predict.relabel(joined(splits), dataset.classes, checkpoint.classes)
