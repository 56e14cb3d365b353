"""The runs of a study: which are done already, and the processes that train the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from xfer.errors import CheckpointError, XferError
from xfer.recipe.keys import differing, flat
from xfer.recipe.meaning import as_begun, splits_off
from xfer.recipe.recipe import Recipe
from xfer.results.read import is_finished, read_recipe, read_result
from xfer.studies.files import changed_files
from xfer.studies.plan import Planned
from xfer.system import processes
from xfer.system.addresses import given
from xfer.system.doors import open_regular
from xfer.system.parallel import processors

WORKER = "xfer.training.worker"
READ = ("metrics.jsonl", "predictions.csv")  # of each run, besides its result
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def is_done(run: Planned, path: Path, device: str, overwrite: bool = False) -> bool:
    """Whether a folder holds this run, finished and whole. Raises CheckpointError where it holds another finished run.

    device     `auto` is content with any kind of device, another name with its kind alone
    overwrite  count another run as none
    """
    if not (is_finished(path) and all((path / name).is_file() for name in READ)):
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
    actual = {"backend": result.get("backend"), "device": trained_on, **_content(recipe)}
    asked = _content(as_begun(run.recipe, recipe))
    wanted = {"backend": run.backend, "device": trained_on if kind == "auto" else kind, **asked}
    settings = differing([dict(flat(actual)), dict(flat(wanted))])
    if any(setting.key == "data.split_seed" for setting in settings) and not splits_off(run.recipe):
        settings = [setting for setting in settings if setting.key != "data.split_seed"]
    reasons = [f"{setting.key} = {setting.values[0]}, wanted {setting.values[1]}" for setting in settings]
    if not reasons:
        reasons = [*changed_files(run.recipe, path)]
    return ", ".join(reasons[:3]) + (f" and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def log_name(backend: str, number: int) -> str:
    return f"{backend}-{number}.log"


def is_foreign(log: Path) -> bool:
    """Whether a file that has the name of a log is something else: it begins with another line than the command."""
    try:
        with open_regular(log) as file:
            first = file.read(10_000).decode("utf-8", "replace").split("\n", 1)
    except OSError:
        return False
    return first != [""] and f" {WORKER} " not in first[0]


def _content(recipe: Recipe) -> dict[str, Any]:
    """Everything a recipe says, with its split's seed as a number, however it is said."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    content["data"]["split_seed"] = recipe.split_seed
    return content


def train_all(runs: Sequence[Planned], parent: Path, device: str, jobs: int) -> Iterator[tuple[Planned, str | None]]:
    """Train runs, `jobs` at a time, each backend in processes of its own; gives each as it ends.

    The string is why a run failed, in one line. Closing the iterator, or a Ctrl-C, ends the processes.
    """
    unusable: dict[str, str] = {}
    for backend, group in groupby(sorted(runs, key=lambda run: run.backend), key=lambda run: run.backend):
        own = list(group)
        count = min(jobs, len(own))
        logs = [parent.parent / "logs" / log_name(backend, number) for number in range(1, count + 1)]
        yield from _train_group(own, parent, [_Worker(backend, device, jobs, log, unusable) for log in logs])


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
    """A process of `xfer.training.worker`. `unusable`: data that no run could use, and why; all workers share it."""

    def __init__(self, backend: str, device: str, jobs: int, log: Path, unusable: dict[str, str]) -> None:
        self.backend, self.log, self.unusable = backend, log, unusable
        words = processes.command(WORKER, backend, device, str(jobs))
        self.child = processes.Child(words, log, _environment(jobs))

    def train(self, run: Planned, output: Path) -> str | None:
        """Why the run failed, in one line, or None."""
        data = f"{run.recipe.data.model_dump_json(exclude={'split_seed', 'fold'})} {run.recipe.split_seed}"
        if data in self.unusable:  # a look at 100,000 files takes seconds, and would end as it did
            return self.unusable[data]
        order = {"recipe": run.recipe.model_dump(mode="json", exclude_none=True), "output": str(output)}
        order["source"] = given(run.recipe.data.source)  # with its secrets, which no recipe has
        answer = self.child.ask(order)
        if answer is not None and not answer.get("broken"):
            if answer.get("data"):
                self.unusable[data] = " ".join(answer["reason"].split())
            return " ".join(answer["reason"].split()) if "reason" in answer else None
        if self.child.closed:
            return "interrupted"
        code = self.child.end()
        if answer is None:
            ending = f"{processes.ending(code)}: {self.child.last_words()}"
            return f"the process of backend '{self.backend}' {ending}"
        return f"{' '.join(answer['reason'].split())} (see {self.log})"

    def close(self) -> None:
        self.child.close()


def _environment(jobs: int) -> dict[str, str]:
    """That of this process, with its share of the processors where several runs go on at a time."""
    environment = dict(os.environ)
    if jobs > 1:
        # Read by the frameworks' libraries once, as they are imported. What the user has set stays.
        threads = str(max(1, processors() // jobs))
        environment = dict.fromkeys(THREADS, threads) | environment
    return environment
