"""The runs of a study: which are done already, and the processes that train the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from xfer.comparison.compare import differing, flat
from xfer.errors import CheckpointError, XferError
from xfer.results.read import read_recipe, read_result
from xfer.studies.plan import Planned

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def is_done(run: Planned, path: Path, device: str, overwrite: bool = False) -> bool:
    """Whether a folder holds this run, finished. Raises CheckpointError where it holds another finished run.

    device     `auto` is content with any kind of device, another name with its kind alone
    overwrite  count another run as none
    """
    if not (path / "result.json").exists():
        return False
    differs = _differs(run, path, device)
    if differs and not overwrite:
        raise CheckpointError(
            f"{path} holds a finished run of another recipe ({differs}). Cure: another --output, or --overwrite"
        )
    return not differs


def _differs(run: Planned, path: Path, device: str) -> str:
    """What is not as wanted in a finished run, in a few words; empty where nothing is."""
    try:
        recipe, result = read_recipe(path), read_result(path)
    except XferError as error:
        return f"which cannot be read: {error}"
    trained_on, kind = str(result.get("device")).split(":")[0], device.split(":")[0]
    actual = {
        "backend": result.get("backend"),
        "device": trained_on,
        **recipe.model_dump(mode="json", exclude_none=True),
    }
    wanted = {
        "backend": run.backend,
        "device": trained_on if kind == "auto" else kind,
        **run.recipe.model_dump(mode="json", exclude_none=True),
    }
    settings = differing([dict(flat(actual)), dict(flat(wanted))])
    reasons = [f"{setting.key} = {setting.values[0]}, wanted {setting.values[1]}" for setting in settings[:3]]
    return ", ".join(reasons) + (f" and {len(settings) - 3} more" if len(settings) > 3 else "")


def train_all(runs: Sequence[Planned], parent: Path, device: str, jobs: int) -> Iterator[tuple[Planned, str | None]]:
    """Train runs, `jobs` at a time, each backend in processes of its own; gives each as it ends.

    The string is why a run failed, in one line. Closing the iterator, or a Ctrl-C, ends the processes.
    """
    for backend, group in groupby(sorted(runs, key=lambda run: run.backend), key=lambda run: run.backend):
        logs = [parent.parent / "logs" / f"{backend}-{number}.log" for number in range(1, jobs + 1)]
        yield from _train_group(list(group), parent, [_Worker(backend, device, jobs, log) for log in logs])


def _train_group(
    runs: Sequence[Planned], parent: Path, workers: Sequence[_Worker]
) -> Iterator[tuple[Planned, str | None]]:
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def train(run: Planned) -> str | None:
        worker = idle.get()
        try:
            return worker.train(run, parent / run.name)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(len(workers))  # threads that wait for processes
    try:
        futures = {pool.submit(train, run): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()
        pool.shutdown()


class _Worker:
    """A process of `xfer.training.worker`: started when it is first needed, and anew after it died."""

    def __init__(self, backend: str, device: str, jobs: int, log: Path) -> None:
        self.backend, self.jobs, self.log = backend, jobs, log
        # -P: an `xfer` folder where the user happens to be is not this package.
        self.command = [sys.executable, "-P", "-m", "xfer.training.worker", backend, device, str(jobs)]
        self.process: subprocess.Popen[str] | None = None
        self.lock, self.closed = threading.Lock(), False  # no process may start after the end

    def train(self, run: Planned, output: Path) -> str | None:
        """Why the run failed, in one line, or None."""
        asked = {"recipe": run.recipe.model_dump(mode="json", exclude_none=True), "output": str(output)}
        process = self._running()
        if process is None:
            return "interrupted"
        answer = _ask(process, asked)
        if answer is not None and not answer.get("broken"):
            return " ".join(answer["reason"].split()) if "reason" in answer else None
        self.process = None
        code = process.wait()
        if answer is None:
            return f"the process of backend '{self.backend}' died with exit code {code}: {self._last_words()}"
        return f"{' '.join(answer['reason'].split())} (see {self.log})"

    def close(self) -> None:
        with self.lock:
            self.closed = True
            if self.process is not None:
                self.process.kill()
                self.process.wait()

    def _running(self) -> subprocess.Popen[str] | None:
        with self.lock:
            if self.process is None and not self.closed:
                self.process = self._start()
            return None if self.closed else self.process

    def _start(self) -> subprocess.Popen[str]:
        environment = dict(os.environ)
        if self.jobs > 1:
            # Read by the frameworks' libraries once, as they are imported. What the user has set stays.
            threads = str(max(1, _processors() // self.jobs))
            environment = dict.fromkeys(THREADS, threads) | environment
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                encoding="utf-8",
            )

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ask(process: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of a process, or None where it died."""
    assert process.stdin is not None, "both ends are pipes"
    assert process.stdout is not None, "both ends are pipes"
    try:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or "null")
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
