"""What the measurements share: their options and figures, a process for each case, cases in turns, and tables."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]
"""A case and its figures; `missing` says why it could not be run."""
Figures = dict[str, Row]
"""A section's rows by case, or by framework and case, as they stand in the JSON file."""


@dataclass(frozen=True)
class Options:
    """What each section is told; not every section needs all of it.

    images    ants and bees: a folder with `train` and `val`
    weights   of a ResNet-18: a file, or the name of published ones
    rounds    how often each case is run
    """

    images: Path
    weights: str
    rounds: int


def child(module: str, *arguments: object, env: Mapping[str, str] | None = None) -> Row:
    """Run `python -m module` in a process of its own, and give the JSON that its last line holds.

    A process for each case: no framework sees another's threads, settings or memory.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "XFER_CACHE_LIMIT": "0", "XFER_LIMIT_CHECKED": "0", **(env or {})}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        message = (process.stderr.strip() or f"exit code {process.returncode}").splitlines()[-1]
        return {"missing": message}
    row: Row = json.loads(process.stdout.strip().splitlines()[-1])
    return row


def in_turns(
    cases: Mapping[str, Sequence[object]],
    rounds: int,
    env: Mapping[str, str] | None = None,
    until: float = math.inf,
) -> dict[str, Row]:
    """Each case once, then each again: what drifts on the machine, drifts for all. Numbers become medians.

    A case is a module and its arguments. One that could not be run is not tried again. Behind the first round, one
    that would not be over at `until`, as `time.monotonic` counts, is not begun.
    """
    runs: dict[str, list[Row]] = {name: [] for name in cases}
    begun = time.monotonic()
    for number in range(rounds):
        if number and time.monotonic() + (time.monotonic() - begun) / number > until:
            break
        for name, (module, *arguments) in cases.items():
            if not any("missing" in row for row in runs[name]):
                runs[name].append(child(str(module), *arguments, env=env))
                print(f"  {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    return {name: medians(rows) for name, rows in runs.items()}


def medians(rows: Sequence[Row]) -> Row:
    """One row of medians; the last row where it is missing."""
    last = rows[-1]
    if "missing" in last:
        return last
    return {k: statistics.median(r[k] for r in rows) if isinstance(v, int | float) else v for k, v in last.items()}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three digits."""
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "" if value is None else str(value)
