"""A finished run: what it left, and evaluating and predicting with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from xfer.backend import Backend
from xfer.backends import load_backend, pick_device
from xfer.data.files import Files
from xfer.data.given import Given
from xfer.data.leaks import ACROSS, Leaks
from xfer.data.lists import Skipped
from xfer.data.locate import anywhere, is_there
from xfer.data.parts import HeldOut
from xfer.data.recheck import warnings_of
from xfer.data.split import Split, joined
from xfer.errors import CheckpointError, DataError
from xfer.pixels.views import Tta
from xfer.progress import Progress, silent
from xfer.recipe.meaning import open_data
from xfer.recipe.recipe import Recipe
from xfer.results import notebook, predict
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.results.evaluated import Evaluated, EvaluatedLabels, evaluated
from xfer.results.predict import OnBadImage
from xfer.results.predictions import Predictions
from xfer.results.read import located, read_metrics, read_recipe, read_result
from xfer.results.scores import read_scores
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Scores
from xfer.system.files import expanded

Which = Literal["train", "val", "all", "test"]


@dataclass(frozen=True)
class Chosen:
    """What is measured: a split whose labels count a checkpoint's classes, what was left out of it, and its copies.

    `warnings`: of pictures that are elsewhere as well, and of an earlier check that no longer holds. `fitted`: whether
    thresholds of the checkpoint were chosen with these very pictures.
    """

    split: Split
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    fitted: bool = False


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and what its `result.json` says."""

    path: Path
    result: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Raises CheckpointError when the folder holds no finished run."""
        return cls(Path(path), read_result(Path(path)))

    def __repr__(self) -> str:
        r = self.result
        parts = [f"{r.get('arch')} on {r.get('dataset')}", f"{r.get('backend')} on {r.get('device')}"]
        if isinstance(accuracy := r.get("val_accuracy"), float):
            parts.append(f"{accuracy:.2%} of {r.get('n_val')} validation images, best epoch {r.get('best_epoch')}")
        if isinstance(precision := r.get("val_map"), float):
            parts.append(f"mAP {precision:.4f} of {r.get('n_val')} validation images, best epoch {r.get('best_epoch')}")
        return f"<Run {str(self.path)!r}: {'; '.join(parts)}>"

    def _repr_html_(self) -> str | None:
        return notebook.form(lambda: notebook.of_run(self.path, self.result))

    @cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.path)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The best weights, with all that predicting needs."""
        return load_checkpoint(self.path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record for each epoch, of plain values: `pandas.DataFrame(run.history)`."""
        return read_metrics(self.path)

    @cached_property
    def metrics(self) -> Scores | LabelScores:
        """F1, ROC-AUC, calibration and more of the best epoch's validation, with intervals: `run.metrics.macro_f1`.

        Those of a run of before they were written down are made of its `predictions.csv`.
        """
        return read_scores(self.path, self.result)

    def model(self, *, backend: str | Backend | None = None, device: str = "auto") -> Any:
        """The best checkpoint as a module of the framework: a `torch.nn.Module` or a `mindspore.nn.Cell`.

        It takes images (N, 3, H, W) float32, red, green and blue, and gives logits (N, C) in the order of
        `run.checkpoint.classes`. Values are normalised: (x - mean) / std for x in [0, 1], with `mean` and `std` of
        `run.checkpoint.spec`; its `image_size` is that of training, and `run.checkpoint.transforms` how pictures came
        to it. In inference mode, without dropout. The weights are the caller's: each call builds another. Raises
        BackendError for a backend that has no module to give.
        """
        used = backend or self.result["backend"]
        used = load_backend(used) if isinstance(used, str) else used
        return self.checkpoint.net(used, pick_device(used, device)).native()

    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        split: Which = "val",
        backend: str | Backend | None = None,
        device: str = "auto",
        progress: Progress = silent,
        tta: Tta | None = None,
    ) -> Evaluated | EvaluatedLabels:
        """Loss, accuracy, and as `metrics` all figures of the best checkpoint, with intervals.

        data  None: what the run was trained on
        tta   `flip`, `five`, `ten`: of the mean of the probabilities over so many views of each picture, see
              docs/recipes.md; its logits are the logarithms of these means
        """
        saved = self.checkpoint
        chosen = choose(saved, data, split, located(self.recipe, self.path), progress)
        used = backend or self.result["backend"]
        result = predict.evaluate(saved, chosen.split, used, device, progress, tta)
        return evaluated(result, saved.classes, None if chosen.fitted else saved.thresholds)

    def predict(
        self,
        paths: Given | Iterable[Given],
        *,
        backend: str | Backend | None = None,
        device: str = "auto",
        progress: Progress = silent,
        on_bad_image: OnBadImage = "error",
        tta: Tta | None = None,
    ) -> Predictions:
        """Class probabilities for files, folders (searched recursively), glob patterns, PIL images and uint8 arrays.

        paths         one of these or several; an array is (H, W, 3), or (N, H, W, 3) for N pictures, red first
        on_bad_image  `error`: the first picture that cannot be used raises DataError, so that what is given fits what
                      was asked for, one by one. `skip`: such pictures are in the result's `skipped`, with the reason
        tta           as in `evaluate`
        """
        used, suffixes = backend or self.result["backend"], self.recipe.data.suffixes
        return predict.predict(self.checkpoint, paths, used, device, progress, on_bad_image, suffixes, tta)


def choose(
    checkpoint: Checkpoint, data: str | Path | None, which: Which, recipe: Recipe | None, progress: Progress = silent
) -> Chosen:
    """The pictures to measure a checkpoint with.

    `recipe` is the one the checkpoint was trained with, where it is known: it names the data, and repeats its split.
    Of any other folder without splits every picture is taken, whatever `which` says.
    Raises DataError for the split `test` where train has no third folder beside it.
    """
    if data is None and recipe is None:
        raise CheckpointError("a checkpoint does not say which data to evaluate on. Cure: --data DIR")
    if data is None and recipe and not is_there(recipe.data.source):
        raise DataError(f"data {recipe.data.source}: what it was trained on is no longer there. Cure: --data DIR")
    source = None if data is None else str(data)
    whole = source is not None and not (recipe and _is_own(source, recipe.data.source))
    held_out: HeldOut = "test" if which == "test" else "val"
    dataset = open_data(_of_task(recipe or Recipe(), checkpoint), progress, source, held_out=held_out, whole=whole)
    if not len(dataset.val.labels):  # a folder without splits, and not the run's own
        which = "all"
    held = [dataset.val]
    parts = {"train": [dataset.train], "val": held, "test": held, "all": [dataset.train, *held]}[which]
    split = predict.relabel(joined(parts), dataset.classes, checkpoint.classes)
    roots = {part.files.root for part in parts if isinstance(part.files, Files)}
    skipped = tuple(s for s in dataset.skipped if any(Path(s.path).is_relative_to(root) for root in roots))
    seen = _seen(dataset.leaks) if which == "test" else ()
    fitted = recipe is not None and not whole and which in ("val", "all")
    return Chosen(split, skipped, (*warnings_of(dataset.wrong), *seen), fitted)


def _of_task(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """As the checkpoint reads labels, which is how the run that it is of did."""
    data = recipe.data.model_copy(update={"task": "classification" if checkpoint.thresholds is None else "multilabel"})
    return recipe.model_copy(update={"data": data})


def _seen(leaks: Leaks) -> tuple[str, ...]:
    """What is to be said of pictures kept for the end that training has seen."""
    copies = [leak for leak in leaks.rows() if leak.kind == ACROSS]
    if not copies:
        return ()
    return (
        f"warning: {len(copies)} of these pictures have a copy in train, which makes the figures too good; the first: "
        f"{copies[0].copy} = {copies[0].path}. Cure: remove the copies from train, and train again",
    )


def _is_own(source: str, trained_on: str) -> bool:
    """Whether these data are those that a run was trained on, which may have been named from another folder."""
    if anywhere(source) == anywhere(trained_on):
        return True
    ours, theirs = expanded(source), expanded(trained_on)
    if source == trained_on or not ours.exists():
        return source == trained_on
    if theirs.exists():
        return ours.samefile(theirs)
    parts = theirs.parts
    return ours.resolve().parts[-len(parts) :] == parts
