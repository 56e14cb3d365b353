"""The public Python interface: `train` a recipe, `Run.load` what it left, evaluate and predict with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xfer import folder, predict
from xfer.backend import Backend
from xfer.checkpoint import Checkpoint, load_checkpoint
from xfer.config import load_recipe, make_recipe
from xfer.data import Split, find_images
from xfer.errors import CheckpointError
from xfer.gallery import draw
from xfer.loop import Evaluation
from xfer.predict import Predictions
from xfer.progress import Progress, silent
from xfer.recipe import Recipe
from xfer.run import Fitted, Prepared, fit, open_data, prepare

Which = Literal["train", "val", "all"]


def train(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend = "torch",
    *,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **overrides: Any,
) -> Run:
    """Train and give the finished run.

    recipe     a Recipe, a TOML file, or None for the defaults
    overrides  plain names (`data`, `weights`, `arch`, `epochs`, `batch_size`, `lr`, `seed`, `train_from`, `size`,
               `views`), or dotted keys of the recipe: `**{"optimizer.momentum": 0.8}`

    Raises XferError, in one line with its cure, for whatever a user can put right.
    """
    *_, run = events(as_recipe(recipe, overrides), backend, device, output, overwrite, progress)
    assert isinstance(run, Run)
    return run


def events(
    recipe: Recipe,
    backend: str | Backend,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Iterator[Prepared | Fitted | Run]:
    """A run as it happens: what was prepared, then each epoch, then the finished run. `train` gives the last alone."""
    started = time.perf_counter()
    prepared = prepare(recipe, backend, device, progress)
    path = folder.create(prepared, None if output is None else Path(output), overwrite)
    yield prepared
    last: Fitted | None = None
    for last in folder.record(prepared, path, fit(prepared, progress)):
        yield last
    assert last is not None, "a recipe has at least one epoch"
    result = folder.finish(prepared, path, last, time.perf_counter() - started)
    draw(prepared, path, last.best)
    yield Run(path, result)


def from_random(recipe: Recipe, stem: str) -> Recipe:
    """The same data, network and epochs, but everything from the stage `stem` on trained from random weights.

    With Adam and a warm-up, which serve random weights better than what a recipe says for pretrained ones.
    """
    epochs = sum(phase.epochs for phase in recipe.plan)
    own = {
        "weights.source": "random",
        "train.train_from": stem,
        "train.norm_stats": "follow",
        "train.epochs": epochs,
        "train.views": "fresh",
        "optimizer.kind": "adam",
        "optimizer.nesterov": False,
        "optimizer.lr": 1e-3,
        "schedule.kind": "cosine",
        "schedule.warmup_epochs": 0.2 * epochs,
    }
    return make_recipe(recipe.model_dump(mode="json", exclude_none=True) | {"phases": []}, own)


def as_recipe(recipe: Recipe | str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    if isinstance(recipe, Recipe):
        return make_recipe(recipe.model_dump(mode="json", exclude_none=True), overrides)
    return load_recipe(recipe, overrides)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and what its `result.json` says."""

    path: Path
    result: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Raises CheckpointError when the folder holds no finished run."""
        return cls(Path(path), folder.read_result(Path(path)))

    @cached_property
    def recipe(self) -> Recipe:
        return folder.read_recipe(self.path)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The best weights, with all that predicting needs."""
        return load_checkpoint(self.path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record for each epoch."""
        return folder.read_metrics(self.path)

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
    dataset = open_data(recipe or Recipe(), progress, None if data is None else str(data))
    splits = {"train": [dataset.train], "val": [dataset.val], "all": [dataset.train, dataset.val]}[which]
    files = [file for part in splits for file in part.files]
    joined = Split(files, np.concatenate([part.labels for part in splits]))
    return predict.relabel(joined, dataset.classes, checkpoint.classes)
