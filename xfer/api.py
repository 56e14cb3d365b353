"""The public Python interface: `train` a recipe, `find_lr` for it, and `Run.load` what training left."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Unpack

from xfer.backend import Backend
from xfer.crossvalidation import FoldBegins, begin
from xfer.display.show import shown
from xfer.errors import ConfigError
from xfer.progress import Progress
from xfer.recipe.load import as_recipe
from xfer.recipe.overrides import Overrides, overrides_of
from xfer.recipe.recipe import Recipe
from xfer.recipe.shipped import find_recipe
from xfer.results.run import Run
from xfer.studies.folds import CrossValidation
from xfer.system.interrupts import caught
from xfer.tracking.logger import Factory
from xfer.tracking.loggers import load_loggers
from xfer.training import lr_files, record
from xfer.training.epoch_text import epoch_lines
from xfer.training.lr_range import END, START, LrRange, Ramp, find_range
from xfer.training.resume import asked_of, find_run
from xfer.training.run import EpochEnd, prepare


def train(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend | None = None,
    *,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: str | Path | None = None,
    checkpoint_every: float = record.CHECKPOINT_EVERY,
    progress: Progress | bool = True,
    loggers: Sequence[str | Factory] = (),
    set: Mapping[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> Run:
    """Train and give the finished run.

    recipe     a Recipe, a TOML file, the name of one that comes with xfer, `ants_bees_frozen`, or None for the defaults
    backend    a name or an object; None: torch, or that of the run which is resumed
    resume     the folder of a run to go on with: no recipe is needed then, and another one is refused. Or `auto`: the
               run in `output`, or else the newest unfinished one below `runs/`; where there is none, a fresh run.
               A finished one is given as it is; with more `epochs`, a new run trains on from its best weights
    checkpoint_every   minutes between saved states inside an epoch; 0: only where epochs end
    progress   True: epochs and a bar on a terminal or in a notebook, and elsewhere, on standard error, a line every ten
               seconds at most. False: nothing. Or a function that is told of it, see `xfer.progress`
    loggers    who else hears of each epoch: names, `tensorboard`, `mlflow`, `csv` or of a package, or what makes one,
               see `xfer.tracking.logger`; none: those that the environment's XFER_LOGGERS names
    set        any keys of the recipe by their dotted names, as `--set` on the command line: {"optimizer.momentum": 0.8}
    overrides  the usual ones by the names of their flags: `data`, `weights`, `arch`, `epochs`, `batch_size`, `lr`,
               `seed`, `train_from`, `size`, `views`, `on_leak`, `fast`

    Raises XferError, in one line with its cure, for whatever a user can put right. Ctrl-C ends the step, saves the
    state and then raises KeyboardInterrupt; a second one raises it at once.
    """
    changes = overrides_of(train, overrides, set)
    _refuse_folder(recipe)
    target = None if output is None else Path(output)
    with shown(progress) as display, caught([signal.SIGINT]) as interrupts:
        told = load_loggers(loggers)
        watch = record.Watch(display.progress, checkpoint_every, interrupts, "xfer.train(...)", loggers=told)
        path = None if resume is None else find_run(resume, target, overwrite)
        if path is None:
            events = record.begin(as_recipe(recipe, changes), backend or "torch", device, target, overwrite, watch)
        else:
            asked = None if recipe is None and not changes else asked_of(path, recipe, changes)
            events = record.go_on(path, asked, backend, device, target, watch)
        with closing(events):  # whatever is raised here, it ends its run in good order
            for event in events:
                if isinstance(event, EpochEnd):
                    for line in epoch_lines(event):
                        display.say(line)
    assert isinstance(event, Run), "a run ends with itself"
    return event


def cross_validate(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend = "torch",
    *,
    folds: int = 5,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    checkpoint_every: float = record.CHECKPOINT_EVERY,
    progress: Progress | bool = True,
    loggers: Sequence[str | Factory] = (),
    set: Mapping[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> CrossValidation:
    """Train once for each of `folds` parts of the pictures, without it, and give what all networks predict of theirs.

    The parts are stratified, and the same for the same seed (`data.split_seed`). Of a folder with splits they are those
    of its train folder: the others are not looked at.

    output     the folder of all runs, `fold-1`, ...; runs that are done there are not repeated, one that was left goes
               on. None: a new folder below `runs/`
    overwrite  also where the folder holds runs of another recipe

    The other arguments are those of `xfer.train`, and so is what is raised.
    """
    changes = overrides_of(cross_validate, overrides, set)
    target = None if output is None else Path(output)
    with shown(progress) as display, caught([signal.SIGINT]) as interrupts:
        told = load_loggers(loggers)
        watch = record.Watch(display.progress, checkpoint_every, interrupts, "xfer.cross_validate(...)", loggers=told)
        with closing(begin(as_recipe(recipe, changes), folds, backend, device, target, overwrite, watch)) as events:
            for event in events:
                if isinstance(event, FoldBegins):
                    display.say(f"fold {event.number} of {event.of}{', done before' if event.before else ''}")
                elif isinstance(event, EpochEnd):
                    for line in epoch_lines(event):
                        display.say(line)
    assert isinstance(event, CrossValidation), "folds end with what they show"
    return event


def find_lr(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend = "torch",
    *,
    device: str = "auto",
    start_lr: float = START,
    end_lr: float = END,
    steps: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | bool = True,
    set: Mapping[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> LrRange:
    """Find a learning rate for the first phase of a recipe: train for a few steps, with a rate that rises, and look.

    recipe, backend, device, progress, set and overrides are as for `train`. Nothing is left of what was trained.

    start_lr, end_lr   the rates of the first and the last step
    steps      between them; None: as many as two epochs have, 50 to 100
    output     a folder for a picture, a table and a record: lr_range.png, lr_range.csv, lr_range.json

    What it gives has the rates, the losses, and two suggestions: `valley` and `steepest`. Raises XferError, in one line
    with its cure, for whatever a user can put right.
    """
    changes, ramp = overrides_of(find_lr, overrides, set), Ramp(start_lr, end_lr, steps)
    _refuse_folder(recipe)
    target = None if output is None else Path(output)
    if target is not None:
        lr_files.claim(target, overwrite)
    with shown(progress) as display:
        prepared = prepare(as_recipe(recipe, changes), backend, device, display.progress)
        found = find_range(prepared, ramp, display.progress)
    if target is not None:
        lr_files.write(found, target)
    return found


def _refuse_folder(recipe: Recipe | str | Path | None) -> None:
    if isinstance(recipe, str | Path) and find_recipe(Path(recipe)).is_dir():
        raise ConfigError(f"recipe {recipe}: a folder, expected a TOML file. Cure: data={str(recipe)!r}")
