"""A run in its folder: claimed, locked, written down while it trains, and finished or left so that it can go on.

The only room that knows both how a run goes (`run`) and what lies in its folder (`write`, `state`, `gallery`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from xfer.backend import Backend
from xfer.errors import refuse_outside
from xfer.formats.sealed import BEST
from xfer.nets.library import is_of_library
from xfer.nets.network_file import is_file
from xfer.progress import Progress, silent
from xfer.recipe.recipe import Recipe
from xfer.results.read import AS_GIVEN, LOCK, STATE, Places, backend_name, is_finished, places_of
from xfer.results.run import Run
from xfer.system.doors import to_append
from xfer.system.files import json_text
from xfer.system.interrupts import Interrupted, Interrupts
from xfer.system.locks import locked
from xfer.tracking.logger import Factory
from xfer.tracking.loggers import followed
from xfer.training import write
from xfer.training.epoch_text import epoch_lines
from xfer.training.gallery import draw
from xfer.training.misfit import refuse_misfit
from xfer.training.prepared import Prepared
from xfer.training.resume import (
    TO_COMPARE,
    Kind,
    further,
    identity,
    own_recipe,
    refuse_changes,
    refuse_folder,
    resumed_origin,
    went_on,
)
from xfer.training.run import EpochEnd, StepEnd, prepare, train
from xfer.training.state import BEGINNING, State, read_state, write_state

SAVE_EVERY = 20.0  # seconds between writes of the best checkpoint; it is always written at the end
STATE_EVERY = 1.0  # seconds: a head on kept features runs 200 epochs in that time, and fsync takes as long as one
STATE_SHARE = 0.1  # of the time at most goes into states: those of large networks take a second to write
MOST_MINUTES = 366 * 24 * 60
CHECKPOINT_EVERY = 10.0  # minutes between states inside an epoch

Events: TypeAlias = "Generator[Prepared | EpochEnd | Run, None, None]"
"""A run as it happens: what was prepared, then each epoch, then the finished run.

Closed early, it ends where it is, with the best checkpoint on the disk.
"""


@dataclass(frozen=True)
class Watch:
    """Who follows a run: hears of its progress, and may ask it to end; and how often it is saved meanwhile.

    checkpoint_every   minutes between states inside an epoch; 0: only where epochs end
    command            what `env.json` says the run is made by: the words of a command line, or else what made it
    to_compare         what a run that begins is to be compared with afterwards, see `xfer.training.baseline`
    loggers            name -> what makes a logger of each run
    """

    progress: Progress = silent
    checkpoint_every: float = CHECKPOINT_EVERY
    interrupts: Interrupts = field(default_factory=Interrupts)
    command: tuple[str, ...] | str | None = None
    to_compare: Kind | None = None
    loggers: Mapping[str, Factory] = field(default_factory=dict)

    @property
    def origin(self) -> dict[str, Any]:
        """What `env.json` says of a run that begins."""
        return {"command": self.command, **self.pending}

    @property
    def pending(self) -> dict[str, Any]:
        return {} if self.to_compare is None else {TO_COMPARE: self.to_compare}

    def __post_init__(self) -> None:
        """Raises ConfigError for minutes that are none, or more than a year has."""
        refuse_outside("checkpoint_every", self.checkpoint_every, 0, MOST_MINUTES)

    @property
    def watched(self) -> Progress:
        """The progress, which also ends the run where that was asked for."""
        return self.interrupts.watched(self.progress)


def begin(
    recipe: Recipe,
    backend: str | Backend,
    device: str = "auto",
    output: Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    places: Places = AS_GIVEN,
    note: str = "",
) -> Events:
    """A fresh run, in `output` or in a new folder below `runs/`; `places` as for `prepare`.

    `note`: a line for the user on where it comes from, the first of the notes.
    """
    started, watch = time.perf_counter(), watch or Watch()
    if output is not None:
        write.refuse_others(output, overwrite)  # before anything that takes long
    p = prepare(recipe, backend, device, watch.watched, places)
    p = replace(p, notes=(note, *p.notes)) if note else p
    path = write.claim(p, output)
    with locked(path / LOCK):
        write.create(p, path, overwrite, watch.origin)
        yield from _recorded(p, path, BEGINNING, started, watch)


def go_on(
    path: Path,
    asked: Recipe | None = None,
    backend: str | Backend | None = None,
    device: str = "auto",
    output: Path | None = None,
    watch: Watch | None = None,
) -> Events:
    """`resume`; or, where the run is finished and `asked` has more epochs, a new run that trains on from it.

    The new one is written where `begin` would write it. Raises ConfigError for an `output` that cannot be.
    """
    recipe = further(path, asked)
    refuse_folder(path, output, new=recipe is not None)
    if recipe is None:
        return resume(path, asked, backend, device, watch)
    best, epochs = Run.load(path).result["best_epoch"], recipe.train.epochs
    note = (
        f"{path} is finished: a new run trains {epochs} epochs on from its best weights (of epoch {best}), "
        "with schedule and optimizer from their beginning"
    )
    places = replace(places_of(path), weights=None)
    held = is_file(recipe.model.arch) or is_of_library(recipe.model.arch)
    if held and places.network is None:  # the run carries the network
        places = replace(places, network=str(path / BEST))
    return begin(recipe, backend or backend_name(path), device, output, watch=watch, places=places, note=note)


def resume(
    path: Path,
    asked: Recipe | None = None,
    backend: str | Backend | None = None,
    device: str = "auto",
    watch: Watch | None = None,
) -> Events:
    """A run that goes on. One that is finished is given alone, and left as it is.

    Raises CheckpointError when the state, the data or the weights file are not as they were, and ConfigError when
    `asked` is another recipe than the run's.
    """
    started, watch = time.perf_counter(), watch or Watch()
    with locked(path / LOCK):
        recipe = own_recipe(path, asked)
        if is_finished(path):
            yield Run.load(path)
            return
        saved = read_state(path / STATE) if (path / STATE).exists() else None
        p = prepare(recipe, backend or backend_name(path), device, watch.watched, places_of(path))
        start, origin = BEGINNING, resumed_origin(path, watch.command) | watch.pending
        if saved is None:  # it ended before there was anything to go on from
            write.create(p, path, overwrite=True, origin=origin)
        else:
            refuse_changes(p, saved[1], path)
            refuse_misfit(p, saved[0], str(path / STATE))
            start = went_on(saved[0], p.net.backend.name)
            write.reopen(p, path, start, origin)
        yield from _recorded(p, path, start, started, watch)


def _recorded(p: Prepared, path: Path, start: State, started: float, watch: Watch) -> Events:
    """The rest of a run whose folder is ready and locked."""
    states = StateWriter(p, path, watch.checkpoint_every, start, started)
    yield p
    last: EpochEnd | None = None
    with followed(watch.loggers, write.started(p, path, start)) as loggers:
        try:
            # Closed in any case: the traceback of an error would keep its threads reading for as long as it is looked
            # at.
            with closing(train(p, start, watch.watched)) as steps, watch.interrupts.hold():
                for last in record(p, path, steps, states):
                    loggers.epoch(last.epoch.model_dump())
                    yield last
            assert last is not None, "a recipe has at least one epoch"
            with write.writing(path):
                result = write.finish(p, path, last, states.seconds, states.resumed)
                draw(p, path, last.best)
                (path / STATE).unlink(missing_ok=True)  # without it the run counts as finished
        except Interrupted as stop:
            raise Interrupted(stop.number, stop.between, path) from None
        loggers.end(result)
    yield Run(path, result)


class StateWriter:
    """Saves the state of a run now and then.

    every    minutes between states inside an epoch; 0: only where epochs end
    start    what the run goes on from
    started  by `time.perf_counter`, when this part of the run began; None: now
    """

    def __init__(
        self,
        p: Prepared,
        path: Path,
        every: float = CHECKPOINT_EVERY,
        start: State = BEGINNING,
        started: float | None = None,
    ) -> None:
        self.file, self.every, self.identity = path / STATE, 60 * every, identity(p)
        self.before, self.resumed, self.known = start.seconds, start.resumed, len(start.history)
        self.started = time.perf_counter() if started is None else started
        self.at = time.monotonic()  # of the last one, or of the beginning
        self.took = 0.0  # seconds, the last one
        self.saved: StepEnd | EpochEnd | None = None  # the halt of the last one

    @property
    def seconds(self) -> float:
        """Of the whole run so far."""
        return self.before + time.perf_counter() - self.started

    def offer(self, event: StepEnd | EpochEnd) -> bool:
        """Save the state of this halt if it is time to. Whether it was saved."""
        passed = time.monotonic() - self.at
        ended = passed >= max(STATE_EVERY, self.took / STATE_SHARE)
        due = ended if isinstance(event, EpochEnd) else passed >= self.every > 0
        if due:
            self.write(event)
        return due

    def write(self, event: StepEnd | EpochEnd) -> None:
        """Save it, unless its weights are broken: the last good state is worth more."""
        began = time.monotonic()
        state = replace(event.state(), seconds=self.seconds, resumed=self.resumed)
        if state.usable:
            write_state(self.file, state, self.identity)
        self.at, self.saved = time.monotonic(), event
        self.took = self.at - began


def record(
    p: Prepared, path: Path, events: Iterable[StepEnd | EpochEnd], states: StateWriter | None = None
) -> Iterator[EpochEnd]:
    """Pass the epochs on, writing each down, and the state from which the run could go on.

    The best checkpoint is on disk whenever this ends, even by an error; the state, too, if it was an Interrupted that
    came between two steps. Raises CheckpointError, in one line, when something cannot be written.
    """
    event: StepEnd | EpochEnd | None = None
    last: EpochEnd | None = None
    written, saved_at = 0, time.monotonic()
    states = states or StateWriter(p, path)
    try:
        for event in events:
            if isinstance(event, EpochEnd):
                last = event
                with write.writing(path):
                    if last.epoch.epoch > states.known:
                        _write_down(path, last)
                    if last.best_epoch.epoch != written and time.monotonic() - saved_at > SAVE_EVERY:
                        written, saved_at = write.save_best(p, path, last), time.monotonic()
            with write.writing(path):
                states.offer(event)
            if isinstance(event, EpochEnd):
                yield event
        _save(path, states, event)
    except Interrupted as stop:
        if stop.between:
            _save(path, states, event)
        raise
    finally:
        if last is not None and last.best_epoch.epoch != written:
            with write.writing(path):
                write.save_best(p, path, last)


def _write_down(path: Path, ended: EpochEnd) -> None:
    with open(path / "metrics.jsonl", "a", encoding="utf-8", opener=to_append) as lines:
        lines.write(json_text(ended.epoch.model_dump()) + "\n")
    for line in epoch_lines(ended):
        write.log(path, line)


def _save(path: Path, states: StateWriter, event: StepEnd | EpochEnd | None) -> None:
    """What this halt is, unless it is saved already."""
    if event is not None and states.saved is not event:
        with write.writing(path):
            states.write(event)
