"""The figures of a study, and the page that holds them with its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np

from xfer.plots.files import attempt, write_figure
from xfer.results.page import listed, picture, table, write_page
from xfer.results.run import Run
from xfer.studies import text as study_text
from xfer.studies.record import FIGURES, Group, Study

Curves = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
CAPTION = "{} by epoch, mean over seeds with its 95 % interval; a run that ended early stays where it ended"
STEMS = ("accuracy", "mean_average_precision")


def names(modes: Iterable[str]) -> list[str]:
    """Of the figures, of either task."""
    of = list(modes)
    return [f"{name}.png" for stem in STEMS for name in (stem, *(f"{stem}_{mode}" for mode in of))]


def draw(groups: Sequence[Group], folder: Path, earlier: Iterable[str] = ()) -> list[Path]:
    """Draw `accuracy.png` and an `accuracy_<mode>.png` for each mode; gives the files. Those of `earlier` modes go.

    Of any number of labels the names begin with `mean_average_precision`.
    """
    for stale in names(earlier):
        (folder / stale).unlink(missing_ok=True)
    if not groups:
        return []
    several = len({group.backend for group in groups}) > 1
    labels = [f"{group.mode} ({group.backend})" if several else group.mode for group in groups]
    curves = [_together([_curves(runs) for runs in group.runs.values()]) for group in groups]
    stem = STEMS[curves[0].shape[-1] == 1]
    files = [folder / f"{stem}.png"]
    with attempt(files[0]):
        from xfer.studies.figures import figure_accuracies

        write_figure(files[0], figure_accuracies(dict(zip(labels, curves, strict=True))))
    for mode, members in groupby(zip(groups, curves, strict=True), key=lambda pair: pair[0].mode):
        files.append(folder / f"{stem}_{mode}.png")
        with attempt(files[-1]):
            from xfer.studies.figures import figure_mode

            write_figure(files[-1], figure_mode(mode, {group.backend: values for group, values in members}))
    return [file for file in files if file.exists()]


def _curves(runs: Sequence[Run]) -> Curves:
    """(epochs, 2): training and validation accuracy, in [0, 1], means over the folds of a seed.

    Of any number of labels (epochs, 1): mean average precision, which training pictures have none of.
    """
    keys = ("val_map",) if "val_map" in runs[0].history[0] else ("train_accuracy", "val_accuracy")
    folds = [[[row[key] for key in keys] for row in run.history] for run in runs]
    mean: Curves = _together([np.asarray(fold, np.float64) for fold in folds]).mean(axis=0)
    return mean


def _together(runs: Sequence[Curves]) -> Curves:
    """(seeds, epochs, F), of (epochs, F) each. A run that ended early has its last figures from there on.

    Without them the mean would be of ever fewer runs, those that went on because they still gained.
    """
    most = max(map(len, runs))
    return np.stack([np.pad(run, ((0, most - len(run)), (0, 0)), mode="edge") for run in runs])


def report(study: Study, pictures: Sequence[Path], path: Path) -> None:
    """Write the page: tables, what they show, and figures. It needs no other file."""
    tables = [study_text.result_table(study), study_text.pair_table(study)]
    sections = [
        *(f"<section>{table(*each)}</section>" for each in tables if each[1]),
        listed(study_text.verdicts(study)),
        *(f"<p>{escape(note)}</p>" for note in study_text.notes(study)),
        listed(study_text.failures(study)),
        *(picture(file, CAPTION.format(FIGURES[study.several])) for file in pictures),
    ]
    write_page(path, study.name, f"{len(study.runs)} runs", sections)
