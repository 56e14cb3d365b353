"""What a run writes down while it trains: a line for each epoch, the best checkpoint, and the state to go on from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from xfer.results.read import STATE
from xfer.system.interrupts import Interrupted
from xfer.training import write as folder
from xfer.training.loop import Epoch
from xfer.training.resume import identity
from xfer.training.run import Fitted, Prepared, Stepped
from xfer.training.state import State, write_state

SAVE_EVERY = 20.0  # seconds between writes of the best checkpoint; it is always written at the end
STATE_EVERY = 1.0  # seconds: a head on kept features runs 200 epochs in that time, and fsync takes as long as one
STATE_SHARE = 0.1  # of the time at most goes into states: those of large networks take a second to write
CHECKPOINT_EVERY = 10.0  # minutes between states inside an epoch


class StateWriter:
    """Saves the state of a run now and then.

    every    minutes between states inside an epoch; 0: only where epochs end
    start    what the run went on from, if it did
    started  by `time.perf_counter`, when this part of the run began; None: now
    """

    def __init__(
        self,
        p: Prepared,
        path: Path,
        every: float = CHECKPOINT_EVERY,
        start: State | None = None,
        started: float | None = None,
    ) -> None:
        self.file, self.every, self.identity = path / STATE, 60 * every, identity(p)
        self.before, self.resumed, self.known = (
            (start.seconds, start.resumed, len(start.history)) if start else (0.0, (), 0)
        )
        self.started = time.perf_counter() if started is None else started
        self.at = time.monotonic()  # of the last one, or of the beginning
        self.took = 0.0  # seconds, the last one
        self.saved: Stepped | Fitted | None = None  # the boundary of the last one

    @property
    def seconds(self) -> float:
        """Of the whole run so far."""
        return self.before + time.perf_counter() - self.started

    def offer(self, event: Stepped | Fitted) -> bool:
        """Save the state of this boundary if it is time to. Whether it was saved."""
        passed = time.monotonic() - self.at
        ended = passed >= max(STATE_EVERY, self.took / STATE_SHARE)
        due = ended if isinstance(event, Fitted) else passed >= self.every > 0
        if due:
            self.write(event)
        return due

    def write(self, event: Stepped | Fitted) -> None:
        """Save it, unless its weights are not finite: the last good state is worth more."""
        began = time.monotonic()
        state = replace(event.state(), seconds=self.seconds, resumed=self.resumed)
        if state.finite:
            write_state(self.file, state, self.identity)
        self.at, self.saved = time.monotonic(), event
        self.took = self.at - began


def record(
    p: Prepared, path: Path, events: Iterable[Stepped | Fitted], states: StateWriter | None = None
) -> Iterator[Fitted]:
    """Pass the epochs on, writing each down, and the state from which the run could go on.

    The best checkpoint is on disk whenever this ends, even by an error; the state, too, if it was an Interrupted that
    came between two steps. Raises CheckpointError, in one line, when something cannot be written.
    """
    event: Stepped | Fitted | None = None
    last: Fitted | None = None
    written, saved_at = 0, time.monotonic()
    states = states or StateWriter(p, path)
    try:
        for event in events:
            if isinstance(event, Fitted):
                last = event
                with folder.writing(path):
                    if last.epoch.epoch > states.known:
                        _write_down(path, last.epoch)
                    if last.best_epoch.epoch != written and time.monotonic() - saved_at > SAVE_EVERY:
                        written, saved_at = folder.save_best(p, path, last), time.monotonic()
            with folder.writing(path):
                states.offer(event)
            if isinstance(event, Fitted):
                yield event
        _save(path, states, event)
    except Interrupted as stop:
        if stop.between:
            _save(path, states, event)
        raise
    finally:
        if last is not None and last.best_epoch.epoch != written:
            with folder.writing(path):
                folder.save_best(p, path, last)


def _write_down(path: Path, epoch: Epoch) -> None:
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(epoch)) + "\n")
    folder.log(path, folder.epoch_line(epoch))


def _save(path: Path, states: StateWriter, event: Stepped | Fitted | None) -> None:
    """What this boundary is, unless it is saved already."""
    if event is not None and states.saved is not event:
        with folder.writing(path):
            states.write(event)
