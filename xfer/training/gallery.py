"""The pictures of a finished run, and its report."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.backend import Labelled
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import DataError
from xfer.metrics import Evaluation
from xfer.multilabel import as_words, several
from xfer.pixels.augment import Transform, output_size
from xfer.pixels.channels import channels_of
from xfer.plots import files as plots
from xfer.plots.confused import MOST_COUNTED
from xfer.results.predicted import chance, read_predictions
from xfer.results.read import read_metrics, read_result
from xfer.results.records import Result, check_as
from xfer.results.report import write_report
from xfer.scores.thresholds import cross_fitted
from xfer.training.mixing import examples
from xfer.training.prepared import Prepared

TILES = 16


def draw(p: Prepared, path: Path, best: Evaluation) -> None:
    """Draw everything into `plots/`, and the report that shows it. What cannot be drawn is warned of, and left out."""
    target = path / "plots"
    classes, train, val = p.data.classes, p.data.train, p.data.val
    augment = p.recipe.augment
    to_train, to_evaluate = p.data.seen(augment.train_transforms), p.data.seen(augment.eval_transforms)
    with plots.attempt(file := target / "samples.png"):
        images, places = _read(p, train, to_train, _spread(len(train.labels), p.recipe.seed))
        names = [_short(train, place) for place in places]
        if p.recipe.mix.on:
            images, titles = examples(p.recipe.mix, Labelled(images, train.labels[places]), classes, p.recipe.seed)
            plots.plot_samples(file, images, np.arange(len(images)), titles, names)
        else:
            (own,), words = as_words([train.labels[places]], classes)
            plots.plot_samples(file, images, own, words, names)
    with plots.attempt(file := target / "curves.png"):
        plots.plot_curves(file, read_metrics(path))
    predictions = best.predictions
    if several(val.labels):
        predictions = cross_fitted(val.labels, best.probabilities)
        with plots.attempt(file := target / "labels.png"):
            each = check_as(Result, read_result(path), str(path)).label_metrics
            assert each is not None, "a result of several labels has them"
            of = each.by_label
            plots.plot_labels(file, classes, of.average_precision, of.f1, of.support)
    elif len(classes) <= MOST_COUNTED:
        with plots.attempt(file := target / "confusion_matrix.png"):
            plots.plot_confusion_matrix(file, val.labels, predictions, classes)
    with plots.attempt(file := target / "predictions.png"):
        images, places = _read(p, val, to_evaluate, _spread(len(val.labels), p.recipe.seed))
        chances = None if several(val.labels) else best.probabilities[places].max(axis=1)
        names = [_short(val, place) for place in places]
        (labels, guesses), words = as_words([val.labels[places], predictions[places]], classes)
        plots.plot_predictions(file, images, labels, guesses, chances, words, names)
    with plots.attempt(file := target / "top_losses.png"):
        images, worst = _read(p, val, to_evaluate, np.argsort(-best.losses, kind="stable")[:TILES])
        names = [_short(val, place) for place in worst]
        (labels, guesses), words = as_words([val.labels[worst], predictions[worst]], classes)
        plots.plot_top_losses(file, images, labels, guesses, best.losses[worst], words, names)
    with plots.attempt(path / "report.html"):
        write_report(path)


def draw_against(path: Path, baseline: Path) -> Path:
    """The run in `path` against one from random weights in `baseline`, into a picture of `path` and its report."""
    target = path / "plots" / "against_random.png"
    with plots.attempt(target):
        curves = {"from ImageNet weights": read_metrics(path), "from random weights": read_metrics(baseline)}
        plots.plot_comparison(target, curves, chance(read_predictions(path / "predictions.csv").labels))
    with plots.attempt(path / "report.html"):
        write_report(path)
    return target


def _spread(count: int, seed: int) -> Int64:
    """Up to TILES samples, in a seeded order: files lie sorted by class, and the first few would be of one."""
    return np.random.default_rng((seed, 2)).permutation(count)[:TILES]


def _short(split: Split, place: int) -> str:
    """The folder and the name of a file: the path as a whole would not fit above a picture."""
    return "/".join(Path(str(split.files[place])).parts[-2:])


def _read(
    p: Prepared, split: Split, transforms: tuple[Transform, ...], indices: Int64
) -> tuple[NDArray[np.uint8], Int64]:
    """The pictures at these places, and the places: without those of files that changed or vanished in the meantime.

    All is trained and saved by now, and what could not be shown is no reason to fail.
    """
    try:
        return read_now(split, transforms, indices, p.recipe.seed), indices
    except DataError:
        left = {}
        for place in indices.tolist():
            with suppress(DataError):
                left[place] = read_now(split, transforms, np.array([place]), p.recipe.seed)
        none = np.zeros((0, *output_size(transforms), channels_of(transforms)), np.uint8)
        return np.concatenate([none, *left.values()]), np.array(list(left), np.int64)
