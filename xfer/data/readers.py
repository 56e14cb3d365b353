"""Whether threads or processes read pictures, and the processes that do."""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Literal, get_args

from xfer.arrays import Pixels
from xfer.errors import ConfigError, XferError, expected
from xfer.pixels.bounds import picture_limits, settings
from xfer.system.parallel import group_size, map_ahead, processors
from xfer.system.shared import CAN_SHARE, Room, SharedBudget
from xfer.system.worker_pool import Function, Group, WorkerPool, pool_of

Readers = Literal["auto", "threads", "processes"]
"""What reads pictures. `auto`: processes from ENOUGH_WORKERS and ENOUGH_PICTURES on."""

VARIABLE = "XFER_READERS"
"""Of the environment: another word than `auto` in it goes before a recipe's, and holds for every command."""

ENOUGH_WORKERS = 4
"""Fewer threads than that rarely wait for the interpreter's lock: see docs/scaling.md."""
ENOUGH_PICTURES = 2000
"""Read since the program began and about to be read: so many that starting the processes pays."""

MODULE = "xfer.pixels.worker"


class _Count:
    """Of the pictures that this program has set out to read; and whether processes that were to do so have failed."""

    pictures = 0
    failed = False


def pool_for(held: ExitStack, readers: Readers, workers: int, pictures: int) -> WorkerPool | None:
    """Processes that are to read so many pictures, until `held` ends; None where threads are to.

    `workers` 0: one for each processor. Raises ConfigError for an environment that asks for something else.
    """
    readers = _asked(readers)
    _Count.pictures += pictures
    enough = (workers or processors()) >= ENOUGH_WORKERS and _Count.pictures >= ENOUGH_PICTURES
    if not CAN_SHARE or _Count.failed or readers == "threads" or (readers == "auto" and not enough):
        return None
    try:
        pool = held.enter_context(pool_of(MODULE, workers or processors(), _pool, settings()))
        pool.start()
    except (OSError, XferError) as error:
        _Count.failed = isinstance(error, XferError)  # as where Python finds no module there: it would be so again
        why = (error.strerror if isinstance(error, OSError) else None) or str(error).partition(". Cure: ")[0]
        warnings.warn(f"pictures are read by threads: no processes to read them ({why})", stacklevel=2)
        return None
    return pool


def _asked(readers: Readers) -> Readers:
    named: Any = os.environ.get(VARIABLE) or "auto"
    if named not in get_args(Readers):
        raise ConfigError(expected(VARIABLE, named, get_args(Readers)))
    asked: Readers = named
    return readers if asked == "auto" else asked


def _pool(module: str, count: int, numbers: Sequence[int]) -> WorkerPool:
    files = SharedBudget.of(picture_limits().memory)
    try:
        decoded = SharedBudget.of(picture_limits().memory)
    except OSError:
        files.close()
        raise
    return WorkerPool(module, count, (*files.handles, *decoded.handles), numbers)


def map_files(
    function: Function, files: Iterable[str], count: int, workers: int, ahead: int
) -> Generator[Any, None, None]:
    """What `function` gives for each of `count` files, in their order, by threads or by processes.

    It is pickled, and so is what it gives, which is to be short. `ahead` files are worked at.
    """
    with ExitStack() as held:
        if (pool := pool_for(held, "auto", workers, count)) is None:
            yield from held.enter_context(closing(map_ahead(function, files, workers, ahead)))
            return
        left, size = iter(files), group_size(ahead, pool.count)
        groups = map(Group, iter(lambda: list(islice(left, size)), []))
        yield from held.enter_context(closing(pool.map_ahead(function, groups, -(-ahead // size))))


def map_parts(
    pool: WorkerPool,
    function: Function,
    parts: Iterable[Sequence[Any]],
    longest: int,
    shape: tuple[int, int, int],
    ahead: int,
) -> Generator[tuple[Pixels, list[Any]], None, None]:
    """For each part, of `longest` items at most: the pixels (n, H, W, 3) and the results that `function` gives of each.

    Pixels are of `shape`, or none, which leaves what was there. So many parts are read `ahead`.
    """
    area, size = math.prod(shape), group_size(ahead * longest, pool.count)
    rooms = deque[tuple[Room, int]]()  # of what is being read

    def groups() -> Iterator[Group]:
        for part in parts:
            rooms.append((pool.rooms.take(longest * area), len(part)))
            for begin in range(0, len(part), size):
                yield Group(part[begin : begin + size], rooms[-1][0].handle, begin * area, area)

    try:
        with closing(pool.map_ahead(function, groups(), ahead * -(-longest // size))) as results:
            for first in results:
                together = [first, *islice(results, rooms[0][1] - 1)]
                room, count = rooms.popleft()
                yield pool.rooms.lend(room, (count, *shape)), together
    finally:
        for room, _ in rooms:
            pool.rooms.give_back(room)
