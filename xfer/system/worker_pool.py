"""Work by processes that start without a framework: for what holds the interpreter's lock, on many processors."""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from xfer.errors import XferError
from xfer.system.processes import command, ending, safe_path
from xfer.system.shared import Rooms, anonymous_file
from xfer.system.worker_loop import LARGEST, Answer, Board, Task

PATIENCE = 0.25
"""Seconds without an answer, after which it is looked whether a process has died."""

ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Function(Protocol):
    """What processes do to items, one by one; it is pickled, and so are items, results and exceptions.

    It gives the result, or `(bytes, result)` for items that have a room.
    """

    def __call__(self, item: Any, /) -> Any: ...
    def name_of(self, item: Any, /) -> str:
        """Of an item, for a message about the process that died of it."""
        ...


class Group(NamedTuple):
    """Items that one process gets at once.

    `room`: the descriptor of a file that their bytes go into, those of the first at `offset`, each next `stride` on.
    """

    items: Sequence[Any]
    room: int | None = None
    offset: int = 0
    stride: int = 0


class WorkerPool:
    """Processes of one module that all take from one queue: whoever is free has the next group.

    module    run with five numbers, those of `xfer.system.worker_loop.serve`, and the descriptors `handles` behind them
    count     of processes

    They end with the process that started them, however it ends. Raises OSError where none can be started.
    """

    def __init__(self, module: str, count: int, handles: Sequence[int] = ()) -> None:
        self.module, self.count, self.handles = module, count, tuple(handles)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._session = self._group = 0
        # Messages with a border, each of which goes to one process alone: a queue without a lock that could stay held.
        self._work, self._taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answers, self._given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._work.settimeout(PATIENCE)
        self._answers.settimeout(PATIENCE)
        self._memory = anonymous_file("xfer-workers")
        os.ftruncate(self._memory, Board.size_of(count))
        self._board = Board(self._memory, count)
        self.rooms = Rooms()

    def map_ahead(self, function: Function, groups: Iterable[Group], ahead: int) -> Generator[Any, None, None]:
        """Results in the order of the items. At most `ahead` groups are with the processes; one session at a time.

        An exception of the function is raised in the place of its result, and ends the session, as does closing the
        iterator: what processes have begun is waited for. Raises XferError where one dies, with what it worked at.
        """
        self._start()
        self._session += 1
        self._board.session = self._session
        left, packed = iter(groups), pickle.dumps(function)
        waiting: deque[tuple[int, Group]] = deque()
        come: dict[int, Answer] = {}
        try:
            while True:
                while len(waiting) < ahead and (group := next(left, None)) is not None:
                    waiting.append((self._send(group, packed, function, waiting), group))
                if not waiting:
                    return
                number, _ = waiting[0]
                while number not in come:
                    answer = self._receive(function, waiting)
                    come[answer.number] = answer
                waiting.popleft()
                answer = come.pop(number)
                yield from answer.results
                if answer.error is not None:
                    raise answer.error
        except KeyboardInterrupt:  # raised anywhere: an answer may be lost
            self.close()
            raise
        finally:
            self._board.session = 0
            self._drain(len(waiting) - len(come), function, waiting)

    @property
    def is_whole(self) -> bool:
        return self._work.fileno() >= 0

    def close(self) -> None:
        """End the processes at once."""
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait()
        for end in (self._work, self._taken, self._answers, self._given):
            end.close()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        self.rooms.close()

    def _start(self) -> None:
        """Those that do not run: at first all, later what died while there was nothing to do."""
        inherited = (self._taken.fileno(), self._given.fileno(), self._memory)
        for number, process in enumerate(self._processes):
            if process is None or process.poll() is not None:
                numbers = map(str, (*inherited, number, self.count, *self.handles))
                with safe_path():
                    self._processes[number] = subprocess.Popen(
                        command(self.module, *numbers),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        env=os.environ | ALONE,
                        pass_fds=(*inherited, *self.handles),
                    )

    def _send(self, group: Group, packed: bytes, function: Function, waiting: Iterable[tuple[int, Group]]) -> int:
        self._group += 1
        message = pickle.dumps(Task(self._session, self._group, packed, group.items, group.offset, group.stride))
        rooms = [] if group.room is None else [group.room]
        while True:
            try:
                socket.send_fds(self._work, [message], rooms)
            except TimeoutError:
                self._refuse_dead(function, waiting)
            else:
                return self._group

    def _receive(self, function: Function, waiting: Iterable[tuple[int, Group]]) -> Answer:
        while True:
            with suppress(TimeoutError):
                if message := self._answers.recv(LARGEST):
                    answer: Answer = pickle.loads(message)
                    return answer
            self._refuse_dead(function, waiting)

    def _refuse_dead(self, function: Function, waiting: Iterable[tuple[int, Group]]) -> None:
        """Raises XferError where a process has died, and ends the others: what it held, they may wait for."""
        for number, process in enumerate(self._processes):
            if process is None or (code := process.poll()) is None:
                continue
            number_of_group, place = self._board.has(number)
            group = dict(waiting).get(number_of_group)
            who = "a process that reads" if group is None else f"{function.name_of(group.items[place])}: its reader"
            self.close()
            raise XferError(f"{who} {ending(code)}. Cure: fewer data.workers, or data.readers = 'threads'")

    def _drain(self, count: int, function: Function, waiting: Iterable[tuple[int, Group]]) -> None:
        """Until no process works at anything."""
        try:
            for _ in range(count if self.is_whole else 0):
                self._receive(function, waiting)
        except BaseException:  # as above; or a process has died, and nobody waits for what it worked at
            self.close()
            raise


_idle: list[WorkerPool] = []


def close_idle() -> None:
    """End the processes that wait for something to do."""
    while _idle:
        _idle.pop().close()


atexit.register(close_idle)
if hasattr(os, "register_at_fork"):  # the processes are the parent's, and would answer two
    os.register_at_fork(after_in_child=_idle.clear)


@contextmanager
def pool_of(module: str, count: int, make: Callable[[str, int], WorkerPool]) -> Iterator[WorkerPool]:
    """One that is idle, or a new one. Its processes wait for the next, as starting them takes half a second."""
    fitting = next((pool for pool in _idle if (pool.module, pool.count) == (module, count)), None)
    if fitting is not None:
        _idle.remove(fitting)
    pool = fitting or make(module, count)
    try:
        yield pool
    finally:
        if pool.is_whole:
            _idle.append(pool)
