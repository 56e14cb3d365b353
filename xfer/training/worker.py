"""A process that trains one run after another on one backend, for a study.

It is told each run as a line of JSON on standard input, and answers each with a line on standard output: `reason`, why
it failed; `broken`, where this process is of no use any more; `data`, where its data could not even be opened.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from xfer.backend import Backend
from xfer.backends import load_backend, pick_device, settle
from xfer.errors import DataError, XferError
from xfer.recipe.load import make_recipe
from xfer.results.read import ENV
from xfer.system import own_process, processes
from xfer.system.addresses import remember
from xfer.system.files import json_text, write_json
from xfer.tracking.loggers import load_loggers
from xfer.training.prepared import Prepared
from xfer.training.pursue import pursue
from xfer.training.record import Watch


def main(name: str, device: str, jobs: str) -> None:
    """Train until standard input ends. `jobs`: how many such processes share the machine."""
    processes.end_with_parent()
    own_process.begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the study, which ends its processes itself
    # Frameworks print what they like: only answers may reach the standard output that the study reads.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    backend: Backend | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            backend = backend or _opened(name, device)  # imported once, and not on the time of the first run
            _forget_peak()
            _train(backend, device, asked, int(jobs))
            answer: dict[str, Any] = {}
        except XferError as error:
            answer = {"reason": str(error)} | ({"data": True} if isinstance(error, _UnusableError) else {})
        except Exception as error:
            traceback.print_exc()
            answer = {"reason": f"{type(error).__name__}: {error}", "broken": True}
        print(json_text(answer), file=answers, flush=True)
        if "broken" in answer:
            return  # what a framework is after an error of its own is not known: the next run gets a new process


class _UnusableError(DataError):
    """Data that no run can begin with. A picture that changes while a run trains is a matter of that run alone."""


def _train(backend: Backend, device: str, asked: dict[str, Any], jobs: int) -> None:
    recipe, output, opened = make_recipe(asked["recipe"], {}), Path(asked["output"]), False
    remember(asked["source"])
    watch = Watch(command="a study", loggers=load_loggers())
    try:
        for event in pursue(recipe, backend, device, output, watch):
            opened = True
            if isinstance(event, Prepared):  # before it can be finished
                known = json.loads((output / ENV).read_text(encoding="utf-8"))
                write_json(output / ENV, known | {"jobs": jobs})
    except DataError as error:
        raise error if opened else _UnusableError(str(error)) from error


def _opened(name: str, device: str) -> Backend:
    backend = load_backend(name)
    settle(backend, pick_device(backend, device))
    return backend


def _forget_peak() -> None:
    """Count the peak of memory from here on, where the system can (Linux), and not from an earlier run."""
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
