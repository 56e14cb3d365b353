"""Fuzz every door, or one: python -m fuzz [DOOR] [--seconds 600]. A file is tried again by python -m fuzz DOOR FILE.

The seconds are divided among the doors, each in a process of its own, as the search follows what a process imports.
What breaks a promise is left in `fuzz/found`, with its traceback.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.harness import Door, fuzz, one_input

STARTED, BEGUN = time.monotonic(), time.time()
DOORS = {
    "picture": "fuzz.pictures",
    "tar": "fuzz.archives",
    "zip": "fuzz.archives",
    "toml": "fuzz.recipes",
    "json": "fuzz.records",
    "csv": "fuzz.records",
    "table": "fuzz.tables",
    "safetensors": "fuzz.weights",
    "pth": "fuzz.weights",
    "ckpt": "fuzz.weights",
    "checkpoint": "fuzz.checkpoints",
    "network": "fuzz.networks",
    "state": "fuzz.states",
    "features": "fuzz.kept",
    "known": "fuzz.kept",
    "address": "fuzz.remote",
    "fetched": "fuzz.remote",
    "saved": "fuzz.remote",
}
"""Door -> the module whose `DOORS` has it."""

FOUND = Path("fuzz", "found")
FOLLOWED = ["xfer", "PIL", "tarfile", "zipfile", "tomllib"]
"""Whose branches guide the search."""


def door_of(name: str) -> Door:
    doors: dict[str, Door] = importlib.import_module(DOORS[name]).DOORS
    return doors[name]


def one(name: str, seconds: int) -> None:
    """In this process, which ends with it. What importing takes is a part of the time."""
    import atheris

    with atheris.instrument_imports(include=FOLLOWED):
        door = door_of(name)
        door.seeds()  # what they need is imported as well
    fuzz(name, door, max(1, round(seconds - (time.monotonic() - STARTED))), FOUND)


def again(name: str, file: Path) -> None:
    """Raises what this input makes the reader raise."""
    with tempfile.TemporaryDirectory(prefix="xfer-fuzz-") as folder:
        one_input(door_of(name), Path(folder), file.read_bytes())


def every(names: Sequence[str], seconds: int) -> int:
    """As many at a time as there are processors. Gives 1 where a promise was broken."""
    jobs = min(len(names), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    share = max(2, seconds * jobs // len(names))
    waiting, broken = list(names), []
    running: dict[str, subprocess.Popen[bytes]] = {}
    # libFuzzer ends a process where it stands: what that has in temporary folders goes with this one.
    with tempfile.TemporaryDirectory(prefix="xfer-fuzz-") as place:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                words = [sys.executable, "-m", "fuzz", name, "--here", "--seconds", str(share)]
                with Path(place, f"{name}.log").open("wb") as log:  # a pipe that is read later would be full
                    running[name] = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "TMPDIR": place})
            name = next((name for name, process in running.items() if process.poll() is not None), "")
            if not name:
                time.sleep(0.1)
            elif not _held(name, running.pop(name).returncode, Path(place, f"{name}.log")):
                broken.append(name)
    print(f"{len(names)} doors, {share} s each: {', '.join(broken) or 'none'} broke a promise")
    return int(bool(broken))


def _held(name: str, code: int, log: Path) -> bool:
    """Whether a door kept its promises, which is told."""
    said = log.read_text(encoding="utf-8", errors="backslashreplace")
    new = sorted(file for file in FOUND.glob(f"{name}-*") if file.stat().st_mtime > BEGUN)
    count = sum(file.suffix != ".txt" for file in new)
    print(f"{name:12s} {_inputs(said):>7s} inputs, {count} broke a promise", flush=True)
    for file in new:
        print(file.read_text(encoding="utf-8")[-3000:] if file.suffix == ".txt" else f"python -m fuzz {name} {file}")
    if code and not new:
        print(said[-3000:])
    return not code and not new


def _inputs(said: str) -> str:
    counts = [line.rpartition(":")[2] for line in said.splitlines() if "number_of_executed_units" in line]
    return counts[-1].strip() if counts else "?"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("door", nargs="?", choices=DOORS, metavar="DOOR", help=f"{', '.join(DOORS)}; default: all")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="try this input again")
    parser.add_argument("--seconds", type=int, default=30, help="of all doors together")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the process of one door
    options = parser.parse_args()
    if options.file is not None:
        again(options.door, options.file)
    elif options.here:
        one(options.door, options.seconds)
    else:
        sys.exit(every([options.door] if options.door else list(DOORS), options.seconds))


if __name__ == "__main__":
    main()
