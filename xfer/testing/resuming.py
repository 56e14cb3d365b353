"""For tests of resuming: stopping a run between any two steps in this process, and comparing how two runs ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xfer.arrays import Weights
from xfer.backend import Backend
from xfer.formats.sealed import BEST, read_checked
from xfer.recipe.recipe import Recipe
from xfer.results.read import STATE, read_metrics, read_result
from xfer.system.tables import read_csv
from xfer.training.prepared import Prepared
from xfer.training.resume import identity
from xfer.training.run import EpochEnd, prepare, train
from xfer.training.state import BEGINNING, read_state, write_state
from xfer.training.write import LAST

TIMED = {"seconds", "images_per_second", "seconds_total", "seconds_training", "seconds_features", "peak_memory"}
"""What a record says about time and memory, and a run that was stopped cannot repeat."""

End = tuple[Prepared, EpochEnd, Weights]
"""A run in memory, its last epoch, and the weights after it."""


def ended(recipe: Recipe, backends: Sequence[Backend], stops: Sequence[int], folder: Path, device: str = "auto") -> End:
    """Train to the end, but stop at each of these halts, counted from where it went on, and go on from the file.

    Everything is made anew after a stop. Each part has its backend; the last one has the rest.
    """
    start, last = BEGINNING, None
    for number in range(len(stops) + 1):
        p = prepare(recipe, backends[min(number, len(backends) - 1)], device)
        for count, event in enumerate(train(p, start), start=1):
            last = event if isinstance(event, EpochEnd) else last
            if number < len(stops) and count == stops[number]:
                write_state(folder / STATE, event.state(), identity(p))
                start, _ = read_state(folder / STATE)
                break
        else:
            break
    assert last is not None, "a recipe has at least one epoch"
    return p, last, p.net.export()


def assert_same_end(first: End, second: End) -> None:
    """Weights, best weights, logits and all that was counted are the same, bit for bit."""
    (_, a, weights_a), (_, b, weights_b) = first, second
    for left, right in ((weights_a, weights_b), (a.best_weights, b.best_weights)):
        assert left.keys() == right.keys()
        assert [name for name in left if not np.array_equal(left[name], right[name])] == []
    assert np.array_equal(a.result.logits, b.result.logits)
    assert np.array_equal(a.best.logits, b.best.logits)
    histories = [[untimed(vars(epoch)) for epoch in last.state().history] for last in (a, b)]
    for left, right in zip(*histories, strict=True):
        assert {key: (left[key], right[key]) for key in left if left[key] != right[key]} == {}


def assert_same_folders(first: Path, second: Path) -> None:
    """Two finished runs left the same, bit for bit, but for what speaks of time, of memory and of resuming."""
    for name in (BEST, LAST):
        (a, metadata_a), (b, metadata_b) = read_checked(first / name), read_checked(second / name)
        assert metadata_a == metadata_b
        assert a.keys() == b.keys()
        assert [key for key in a if not np.array_equal(a[key], b[key])] == []
    lines = [[untimed(row) for row in read_metrics(path)] for path in (first, second)]
    assert lines[0] == lines[1]
    results = [untimed(read_result(path), "resumed") for path in (first, second)]
    assert results[0] == results[1]
    assert _table(first) == _table(second)
    assert [p.name for p in second.iterdir() if p.name == STATE or p.name.endswith(".part")] == []


def untimed(record: Any, *more: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMED | {*more}}


def _table(path: Path) -> list[dict[str, str]]:
    with (path / "predictions.csv").open(encoding="utf-8") as file:
        return read_csv(file)[1]


def stopping(at: int, stop: Callable[[], None]) -> Callable[[str, int, int | None], None]:
    """A progress that calls `stop` the `at`-th time it hears of anything, counted from 1."""
    heard = 0

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal heard
        heard += 1
        if heard == at:
            stop()

    return show


def resumptions(path: Path) -> list[dict[str, Any]]:
    """Where, and on which backend, a finished run went on."""
    return [dict(row) for row in json.loads((path / "result.json").read_text(encoding="utf-8"))["resumed"]]
