"""Work by threads: Pillow and zlib let go of the interpreter while they decode."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from math import ceil
from pathlib import Path
from threading import Event
from typing import TypeVar

from xfer.system.control_groups import group_folders

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_AT_ONCE = 16
"""Items that a thread is given at once. Waking threads for each picture costs a tenth of the time that it takes."""


def processors(root: Path = Path("/")) -> int:
    """How many this process may use: those that it may run on, or the share of them that a container leaves it."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([usable, *(max(1, ceil(share)) for share in _shares(root))])


def _shares(root: Path) -> Iterator[float]:
    """Processors' worth of time in each period, by the control groups that say so."""
    for folder in group_folders("cpu", root):
        with suppress(OSError, ValueError):  # "max" is no bound
            most, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(most) / int(period)
        with suppress(OSError, ValueError):
            most, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
            if int(most) > 0:
                yield int(most) / int(period)


def group_size(ahead: int, workers: int) -> int:
    """How many items each of so many workers is given at once, where so many are to be worked at."""
    return min(max(ahead // (2 * workers), 1), MOST_AT_ONCE)  # two for each: the next is there when one ends


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Result, None, None]:
    """Results in the order of the items.

    Of those that nobody has asked for yet, at most `ahead` are computed, and what is left of the group that a thread
    was given with the last one: no more than half as many. `workers` 0 means one thread for each processor. Closing
    the iterator early stops the threads, and so does an exception of the function, which is raised in the place of its
    result.
    """
    threads, closed = workers or processors(), Event()
    size = group_size(ahead, threads)

    def work(group: list[Item]) -> tuple[list[Result], Exception | None]:
        results: list[Result] = []
        try:
            for item in group:
                if not closed.is_set():
                    results.append(function(item))
        except Exception as error:
            return results, error
        return results, None

    pool = ThreadPoolExecutor(threads, thread_name_prefix="xfer-read")
    waiting: deque[Future[tuple[list[Result], Exception | None]]] = deque()

    def oldest() -> Generator[Result, None, None]:
        results, error = waiting.popleft().result()
        yield from results
        if error is not None:
            raise error

    try:
        left = iter(items)
        while group := list(islice(left, size)):
            waiting.append(pool.submit(work, group))
            if len(waiting) * size > ahead:
                yield from oldest()
        while waiting:
            yield from oldest()
    finally:
        closed.set()
        pool.shutdown(wait=True, cancel_futures=True)
