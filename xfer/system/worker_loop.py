"""What a process of a `WorkerPool` does: it takes groups of items from a queue until nobody can put any in."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Any, NamedTuple

from xfer.errors import XferError
from xfer.system.processes import end_with_parent

LARGEST = 2**18
"""Bytes of a message; the system's own bound for a local socket is a little less."""


ASKED_TO_END = (signal.SIGINT, signal.SIGTERM)
"""Signals that a terminal, `timeout` or a job's manager sends to all processes."""


class Ready:
    """A function that does nothing."""

    def __call__(self, item: object, /) -> None: ...
    def name_of(self, item: object, /) -> str:
        return "nothing"


class Task(NamedTuple):
    """A group of items on its way. What a function answers to an item is `(bytes, answer)` where there is a room.

    session   of the pool: one that was closed meanwhile is not worked for
    number    of the group
    function  pickled once for all groups of a session
    items     arguments of the function, one by one
    offset    where the bytes of the first item go in the room
    stride    how much further those of each next one
    """

    session: int
    number: int
    function: bytes
    items: Sequence[Any]
    offset: int
    stride: int


class Answer(NamedTuple):
    """To a group: the results until an item failed, and with what."""

    number: int
    results: list[Any]
    error: BaseException | None


class Board:
    """What the pool and its processes tell each other without a message: the session, and each process's present item.

    Numbers of 8 bytes in memory that all of them map: none is ever half written.
    """

    def __init__(self, handle: int, processes: int) -> None:
        self._numbers = memoryview(mmap(handle, self.size_of(processes))).cast("q")

    @staticmethod
    def size_of(processes: int) -> int:
        return 8 * (1 + 2 * processes)

    @property
    def session(self) -> int:
        return self._numbers[0]

    @session.setter
    def session(self, number: int) -> None:
        self._numbers[0] = number

    def has(self, process: int) -> tuple[int, int]:
        """The group and the item in it that a process works at, or had last."""
        return self._numbers[1 + 2 * process], self._numbers[2 + 2 * process]

    def note(self, process: int, group: int, item: int) -> None:
        self._numbers[1 + 2 * process], self._numbers[2 + 2 * process] = group, item


def serve(work: int, answers: int, board: int, process: int, processes: int) -> None:
    """The whole life of such a process. `work`, `answers`: sockets; `board`: memory; `process`: its number, from 0."""
    # The process that started this one decides, and its end is the end of this one.
    for number in ASKED_TO_END:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(work)
    pool, taken, given = Board(board, processes), socket.socket(fileno=work), socket.socket(fileno=answers)
    known: tuple[bytes, Callable[[Any], Any]] | None = None
    while True:
        message, rooms, _, _ = socket.recv_fds(taken, LARGEST, 1)
        if not message:
            return
        try:
            task: Task = pickle.loads(message)
            if known is None or known[0] != task.function:
                known = task.function, pickle.loads(task.function)
            answer = _work(task, known[1], rooms, pool, process)
        finally:
            for room in rooms:
                os.close(room)
        given.send(_pickled(answer))


def _work(task: Task, function: Callable[[Any], Any], rooms: Sequence[int], pool: Board, process: int) -> Answer:
    results: list[Any] = []
    try:
        for place, item in enumerate(task.items):
            if pool.session != task.session:
                break
            pool.note(process, task.number, place)
            result = function(item)
            if rooms:
                content, result = result
                _write(rooms[0], content, task.offset + place * task.stride)
            results.append(result)
    except Exception as error:
        return Answer(task.number, results, error)
    return Answer(task.number, results, None)


def _write(room: int, content: Any, offset: int) -> None:
    left = memoryview(content).cast("B")
    while left:
        done = os.pwrite(room, left, offset)
        left, offset = left[done:], offset + done


def _pickled(answer: Answer) -> bytes:
    try:
        message = pickle.dumps(answer)
        pickle.loads(message)
    except Exception:
        said = XferError(f"{type(answer.error).__name__}: {answer.error}")
        message = pickle.dumps(answer._replace(error=said))
    return message
