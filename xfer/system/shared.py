"""Memory that processes share without a name: nothing is left behind, however they end, and no folder is too small."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

CAN_SHARE = hasattr(os, "memfd_create") and hasattr(os, "eventfd")
"""Linux has both: memory that is a file without a name, and counters that processes wait for."""
_LAST_STREAM = 2


def anonymous_file(name: str) -> int:
    """A descriptor of an empty file in memory, `name` being what the system shows of it. Raises OSError."""
    return passable(os.memfd_create(name, os.MFD_CLOEXEC))


def passable(handle: int) -> int:
    """The descriptor, or one in its place that is no standard stream's. Raises OSError.

    A program whose standard input is closed is given its number for what it opens next, and what it starts has another
    standard input.
    """
    if handle > _LAST_STREAM:
        return handle
    from fcntl import F_DUPFD_CLOEXEC, fcntl  # not on Windows

    try:
        return fcntl(handle, F_DUPFD_CLOEXEC, _LAST_STREAM + 1)
    finally:
        os.close(handle)


def message_sockets() -> list[socket.socket]:
    """Two that are connected, for messages with borders. Raises OSError."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return [socket.socket(fileno=passable(end.detach())) for end in ends]


class Room:
    """So many bytes that other processes write, by `os.pwrite` to `handle`, and this one reads. Raises OSError."""

    def __init__(self, size: int) -> None:
        self.size, self.handle = size, anonymous_file("xfer-pictures")
        try:
            os.ftruncate(self.handle, size)
            self._pages = mmap.mmap(self.handle, size)
        except OSError:
            os.close(self.handle)
            raise

    def array(self, shape: tuple[int, ...], unused: Callable[[Room], None]) -> NDArray[np.uint8]:
        """The first bytes of it. `unused` is called when neither this array nor any view of it is there any more."""
        # Whatever NumPy makes of views of views, all of them hold what lends them its memory.
        lender = (ctypes.c_ubyte * math.prod(shape)).from_buffer(self._pages)
        weakref.finalize(lender, unused, self).atexit = False
        return np.frombuffer(memoryview(lender), np.uint8).reshape(shape)

    def close(self) -> None:
        """Give the descriptor back now, and the memory when no array of it is there any more."""
        os.close(self.handle)
        del self._pages


class _Forks:
    """How often this process has forked."""

    number = 0

    @classmethod
    def count(cls) -> None:
        cls.number += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Forks.count)


class Rooms:
    """Rooms that are used again and again: new memory for each batch would take longer than to copy it."""

    MOST = 8
    """Whose arrays are in use, or that wait for the next one: each has a descriptor, of which there are few."""

    def __init__(self) -> None:
        self._unused: list[Room] = []
        self._lent, self._closed = 0, False

    def take(self, size: int) -> Room:
        """One of `size` bytes, whatever they are. Raises OSError."""
        while self._unused:
            if (room := self._unused.pop()).size == size:
                return room
            room.close()
        return Room(size)

    def lend(self, room: Room, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The first bytes of a room, which is given back when nobody uses them any more."""
        self._lent += 1
        pixels = room.array(shape, partial(self._take_back, _Forks.number))
        return pixels if self._lent <= self.MOST else pixels.copy()

    def give_back(self, room: Room) -> None:
        if self._closed or len(self._unused) == self.MOST:
            room.close()
        else:
            self._unused.append(room)

    def close(self) -> None:
        """What is lent stays where it is."""
        self._closed = True
        while self._unused:
            self._unused.pop().close()

    def _take_back(self, forks: int, room: Room) -> None:
        self._lent -= 1
        if forks == _Forks.number:
            self.give_back(room)
        else:  # a process that was forked meanwhile may look at it still
            room.close()


class SharedBudget:
    """So many bytes that processes hold between them, in whole units. Whoever waits is not overtaken.

    The units are a counter of the system's, which stays at what a process that is killed has taken: whoever started it
    ends the others.
    """

    UNIT = 2**24

    def __init__(self, units: int, turn: int) -> None:
        """Of two counters' descriptors: the units that are left, and one that says whose turn it is to take."""
        self._units, self._turn, self._most = units, turn, 0

    @classmethod
    def of(cls, most: int) -> SharedBudget:
        """A new one, of `most` bytes. Raises OSError."""
        units = _counter(cls._units_of(most))
        try:
            return cls(units, _counter(1))
        except OSError:
            os.close(units)
            raise

    @property
    def handles(self) -> tuple[int, int]:
        return self._units, self._turn

    def close(self) -> None:
        for handle in self.handles:
            os.close(handle)

    def take(self, size: int, most: int) -> None:
        """As a budget of threads does, where `most` is that of `of`: what is larger is held alone."""
        self._most = most
        with self._my_turn():
            for _ in range(self._count(size)):
                os.eventfd_read(self._units)

    def give_back(self, size: int) -> None:
        """What was taken here."""
        os.eventfd_write(self._units, self._count(size))

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        os.eventfd_read(self._turn)
        try:
            yield
        finally:
            os.eventfd_write(self._turn, 1)

    def _count(self, size: int) -> int:
        return min(-(-size // self.UNIT), self._units_of(self._most))

    @classmethod
    def _units_of(cls, most: int) -> int:
        return min(max(most // cls.UNIT, 1), 2**32 - 2)  # the largest that a counter begins with


def _counter(units: int) -> int:
    return passable(os.eventfd(units, os.EFD_SEMAPHORE | os.EFD_CLOEXEC))
