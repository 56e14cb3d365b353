"""Work by processes that start without a framework: for what holds the interpreter's lock, on many processors."""

from __future__ import annotations

import atexit
import os
import pickle
import select
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from xfer.errors import XferError
from xfer.system.own_process import SAFE_PATH
from xfer.system.processes import command, ending
from xfer.system.shared import Rooms, anonymous_file, message_sockets
from xfer.system.worker_loop import ASKED_TO_END, LARGEST, Answer, Board, Ready, Task

PATIENCE = 0.25
"""Seconds without an answer, after which it is looked whether a process has died."""

ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", SAFE_PATH), "1")


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


@dataclass
class _Session:
    """A function, also pickled; the groups that were sent, by number, and their answers that came too early."""

    function: Function
    packed: bytes
    waiting: deque[tuple[int, Group]] = field(default_factory=deque)
    come: dict[int, Answer] = field(default_factory=dict)


class WorkerPool:
    """Processes of one module that all take from one queue: whoever is free has the next group.

    module    run with five numbers, those of `xfer.system.worker_loop.serve`, then `handles` and `numbers`
    count     of processes
    handles   descriptors that they have, too; the pool closes them
    numbers   whatever else they are to know

    They end with the process that started them, however it ends. Raises OSError, and closes the handles, where the
    system has no descriptors or memory left.
    """

    def __init__(self, module: str, count: int, handles: Sequence[int] = (), numbers: Sequence[int] = ()) -> None:
        self.module, self.count, self.numbers = module, count, tuple(numbers)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._session = self._group = 0
        self.rooms = Rooms()
        with ExitStack() as held:
            for handle in handles:
                held.callback(os.close, handle)
            # Each message goes to one process alone: a queue without a lock that could stay held.
            self._work, taken = map(held.enter_context, message_sockets())
            self._answers, given = map(held.enter_context, message_sockets())
            self._work.setblocking(False)
            self._answers.settimeout(PATIENCE)
            memory = anonymous_file("xfer-workers")
            held.callback(os.close, memory)
            os.ftruncate(memory, Board.size_of(count))
            self._board = Board(memory, count)
            self._inherited = (taken.fileno(), given.fileno(), memory)
            self._handles, self._held = tuple(handles), held.pop_all()
        _pools.add(self)
        _close_at_exit()

    def start(self) -> None:
        """Returns when a process is ready. Raises OSError where one cannot be started, XferError where one ends."""
        for _ in self.map_ahead(Ready(), [Group([None])], 1):
            pass

    def map_ahead(self, function: Function, groups: Iterable[Group], ahead: int) -> Generator[Any, None, None]:
        """Results in the order of the items. At most `ahead` groups are with the processes; one session at a time.

        An exception of the function is raised in the place of its result, and ends the session, as does closing the
        iterator: what processes have begun is waited for. Raises XferError where one dies, with what it worked at, and
        OSError where one cannot be started.
        """
        self._start()
        self._session += 1
        self._board.session = self._session
        left, session = iter(groups), _Session(function, pickle.dumps(function))
        waiting, come = session.waiting, session.come
        try:
            while True:
                while len(waiting) < ahead and (group := next(left, None)) is not None:
                    waiting.append((self._send(group, session), group))
                if not waiting:
                    return
                number, _ = waiting[0]
                while number not in come:
                    self._receive(session)
                waiting.popleft()
                answer = come.pop(number)
                yield from answer.results
                if answer.error is not None:
                    raise answer.error
        except (KeyboardInterrupt, SystemExit):  # raised anywhere: an answer may be lost
            self.close()
            raise
        finally:
            self._drain(session)

    @property
    def is_whole(self) -> bool:
        return self._work.fileno() >= 0

    def close(self) -> None:
        """End the processes at once."""
        self._work.close()  # at first: a pool that is interrupted in here is no whole one
        self._held.close()
        self.rooms.close()
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait()

    def forget(self) -> None:
        """In a process that was forked: nothing here is its own, and what it did would be done to its parent's."""
        for process in self._processes:
            if process is not None and process.returncode is None:
                process.returncode = 0  # it cannot be waited for from here
        self.close()

    def _start(self) -> None:
        """Those that do not run: at first all, later what died while there was nothing to do. Raises OSError."""
        for number, process in enumerate(self._processes):
            if process is None or process.poll() is not None:
                numbers = map(str, (*self._inherited, number, self.count, *self._handles, *self.numbers))
                try:
                    with _unasked():
                        self._processes[number] = subprocess.Popen(
                            command(self.module, *numbers),
                            stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL,
                            env=os.environ | ALONE,
                            pass_fds=(*self._inherited, *self._handles),
                        )
                except OSError:
                    self.close()
                    raise

    def _send(self, group: Group, session: _Session) -> int:
        self._group += 1
        items, offset, stride = group.items, group.offset, group.stride
        message = pickle.dumps(Task(self._session, self._group, session.packed, items, offset, stride))
        rooms = [] if group.room is None else [group.room]
        while True:
            try:
                socket.send_fds(self._work, [message], rooms)
            except BlockingIOError:
                self._wait_to_send(session)
            else:
                return self._group

    def _wait_to_send(self, session: _Session) -> None:
        """Until there may be room for a message. Answers are taken: who waits for room for one takes no message."""
        poll = select.poll()
        poll.register(self._work, select.POLLOUT)
        poll.register(self._answers, select.POLLIN)
        ready = dict(poll.poll(1000 * PATIENCE))
        if self._answers.fileno() in ready:
            self._receive(session)
        elif not ready:
            self._refuse_dead(session)

    def _receive(self, session: _Session) -> None:
        """One answer more."""
        while True:
            with suppress(TimeoutError):
                if message := self._answers.recv(LARGEST):
                    answer: Answer = pickle.loads(message)
                    session.come[answer.number] = answer
                    return
            self._refuse_dead(session)

    def _refuse_dead(self, session: _Session) -> None:
        """Raises XferError where a process has died, and ends the others: what it held, they may wait for."""
        for number, process in enumerate(self._processes):
            if process is None or (code := process.poll()) is None:
                continue
            number_of_group, place = self._board.has(number)
            group = None if number_of_group in session.come else dict(session.waiting).get(number_of_group)
            item = group and session.function.name_of(group.items[place])
            who = f"{item}: its reader" if item else "a process that reads"
            self.close()
            raise XferError(f"{who} {ending(code)}. Cure: fewer workers, or XFER_READERS=threads")

    def _drain(self, session: _Session) -> None:
        """Until no process works at anything."""
        if not self.is_whole:
            return
        self._board.session = 0
        try:
            while len(session.come) < len(session.waiting):
                self._receive(session)
        except BaseException:  # as above; or a process has died, and nobody waits for what it worked at
            self.close()
            raise


@contextmanager
def _unasked() -> Iterator[None]:
    """What is started in here is not asked to end by a signal to all processes of a terminal or a job."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKED_TO_END)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_pools: WeakSet[WorkerPool] = WeakSet()
_idle: list[WorkerPool] = []


def close_idle() -> None:
    """End the processes that wait for something to do."""
    while _idle:
        _idle.pop().close()


def _close_all() -> None:
    """Those in use, too, of which an iterator was left unfinished."""
    for pool in list(_pools):
        pool.close()
    _idle.clear()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()
    _idle.clear()


@cache
def _close_at_exit() -> None:
    """Not before there is one: whoever imports this need not have any."""
    atexit.register(_close_all)


if hasattr(os, "register_at_fork"):  # the processes are the parent's, and would answer two
    os.register_at_fork(after_in_child=_forget_all)


@contextmanager
def pool_of(
    module: str, count: int, make: Callable[[str, int, Sequence[int]], WorkerPool], numbers: Sequence[int] = ()
) -> Iterator[WorkerPool]:
    """One that is idle, or a new one. Its processes wait for the next, as starting them takes half a second."""
    pool = _from_idle(module, count, tuple(numbers))
    if pool is None:
        close_idle()  # of others nobody may ask any more
        pool = make(module, count, numbers)
    try:
        yield pool
    finally:
        if pool.is_whole:
            _idle.append(pool)


def _from_idle(module: str, count: int, numbers: tuple[int, ...]) -> WorkerPool | None:
    for pool in list(_idle):
        if (pool.module, pool.count, pool.numbers) == (module, count, numbers):
            with suppress(ValueError):  # another thread was faster
                _idle.remove(pool)
                return pool
    return None
