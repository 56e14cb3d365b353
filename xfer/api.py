"""The public Python interface: `train` a recipe, `Run.load` what it left, evaluate and predict with it."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from xfer.backend import Backend
from xfer.progress import Progress, silent
from xfer.recipe.load import load_recipe, make_recipe
from xfer.recipe.recipe import Recipe
from xfer.results.read import LOCK, STATE, backend_name, is_finished, read_recipe
from xfer.results.run import Run
from xfer.system.interrupts import Interrupted, Interrupts, caught
from xfer.system.locks import locked
from xfer.training import write as folder
from xfer.training.gallery import draw
from xfer.training.record import CHECKPOINT_EVERY, StateWriter, record
from xfer.training.resume import find_run, own_recipe, refuse_changes, went_on
from xfer.training.run import Fitted, Prepared, Stepped, boundaries, prepare
from xfer.training.state import read_state

Events: TypeAlias = "Generator[Prepared | Fitted | Run, None, None]"
"""A run as it happens. Closed early, it ends where it is, with the best checkpoint on the disk."""


def train(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend | None = None,
    *,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: str | Path | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    progress: Progress = silent,
    **overrides: Any,
) -> Run:
    """Train and give the finished run.

    recipe     a Recipe, a TOML file, or None for the defaults
    backend    a name or an object; None: torch, or that of the run which is resumed
    resume     the folder of a run to go on with: no recipe is needed then, and another one is refused. Or `auto`: the
               run in `output`, or else the newest unfinished one below `runs/`; where there is none, a fresh run
    checkpoint_every   minutes between saved states inside an epoch; 0: only where epochs end
    overrides  plain names (`data`, `weights`, `arch`, `epochs`, `batch_size`, `lr`, `seed`, `train_from`, `size`,
               `views`), or dotted keys of the recipe: `**{"optimizer.momentum": 0.8}`

    Raises XferError, in one line with its cure, for whatever a user can put right. Ctrl-C ends the step, saves the
    state and then raises KeyboardInterrupt; a second one raises it at once.
    """
    target = None if output is None else Path(output)
    with caught([signal.SIGINT]) as interrupts:
        how = (progress, checkpoint_every, interrupts)
        path = None if resume is None else find_run(resume, target, overwrite)
        if path is None:
            *_, run = events(as_recipe(recipe, overrides), backend, device, target, overwrite, *how)
        else:
            asked = None if recipe is None and not overrides else asked_of(path, recipe, overrides)
            *_, run = resumed(path, asked, backend, device, *how)
    assert isinstance(run, Run)
    return run


def events(
    recipe: Recipe,
    backend: str | Backend | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    checkpoint_every: float = CHECKPOINT_EVERY,
    interrupts: Interrupts | None = None,
) -> Events:
    """A run as it happens: what was prepared, then each epoch, then the finished run. `train` gives the last alone."""
    started, interrupts = time.perf_counter(), interrupts or Interrupts()
    progress = interrupts.watched(progress)
    prepared = prepare(recipe, backend or "torch", device, progress)
    path = folder.claim(prepared, None if output is None else Path(output))
    with locked(path / LOCK):
        folder.create(prepared, path, overwrite)
        states = StateWriter(prepared, path, checkpoint_every, None, started)
        yield from _trained(prepared, path, boundaries(prepared, progress), states, interrupts)


def resumed(
    path: Path,
    asked: Recipe | None = None,
    backend: str | Backend | None = None,
    device: str = "auto",
    progress: Progress = silent,
    checkpoint_every: float = CHECKPOINT_EVERY,
    interrupts: Interrupts | None = None,
) -> Events:
    """As `events`, of a run that goes on. One that is finished is given alone, and left as it is.

    Raises CheckpointError when the state, the data or the weights file are not as they were, and ConfigError when
    `asked` is another recipe than the run's.
    """
    started, interrupts = time.perf_counter(), interrupts or Interrupts()
    progress = interrupts.watched(progress)
    with locked(path / LOCK):
        recipe = own_recipe(path, asked)
        if is_finished(path):
            yield Run.load(path)
            return
        saved = read_state(path / STATE) if (path / STATE).exists() else None
        prepared = prepare(recipe, backend or backend_name(path), device, progress)
        start = None
        if saved is None:  # it ended before there was anything to go on from
            folder.create(prepared, path, overwrite=True)
        else:
            refuse_changes(prepared, saved[1], path)
            start = went_on(saved[0], prepared.backend.name)
            folder.reopen(prepared, path, start)
        states = StateWriter(prepared, path, checkpoint_every, start, started)
        yield from _trained(prepared, path, boundaries(prepared, progress, start), states, interrupts)


def _trained(
    p: Prepared, path: Path, steps: Iterator[Stepped | Fitted], states: StateWriter, interrupts: Interrupts
) -> Events:
    """The rest of a run whose folder is ready and locked."""
    yield p
    last: Fitted | None = None
    try:
        with interrupts.hold():
            for last in record(p, path, steps, states):
                yield last
        assert last is not None, "a recipe has at least one epoch"
        with folder.writing(path):
            result = folder.finish(p, path, last, states.seconds, states.resumed)
            draw(p, path, last.best)
            (path / STATE).unlink(missing_ok=True)  # without it the run counts as finished
    except Interrupted as stop:
        raise Interrupted(stop.number, stop.between, path) from None
    yield Run(path, result)


def asked_of(path: Path, recipe: Recipe | str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe that somebody asks for who resumes a run; what they leave open is as in the run."""
    return as_recipe(read_recipe(path) if recipe is None else recipe, overrides)


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
