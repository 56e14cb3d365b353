"""How much pictures may ask for: the user's limits, and memory that all threads which read them share.

A picture that needs little is not counted. One that needs more waits until there is room for it: so many threads take
no more memory than their limit, however large the pictures are that they meet at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from threading import Condition, Lock
from typing import NamedTuple

from PIL import Image, ImageFile

from xfer.errors import DataError
from xfer.system.limits import limit, variable_of
from xfer.system.shared import SharedBudget

SMALL = 2**26
"""Bytes that are not counted: a photograph of 16 million pixels. No thread waits for another for less."""

GIB = 2**30


class PictureLimits(NamedTuple):
    """Those of `xfer.system.limits` whose names begin with `picture_`."""

    file: int
    pixels: int
    ratio: int
    memory: int
    scans: int


@cache
def picture_limits() -> PictureLimits:
    """Read once: every picture is held against them. Raises ConfigError for what is no number."""
    limits = PictureLimits(*(limit(f"picture_{name}") for name in PictureLimits._fields))
    if Image.MAX_IMAGE_PIXELS and limits.pixels > 2 * Image.MAX_IMAGE_PIXELS:  # Pillow refuses twice as many
        Image.MAX_IMAGE_PIXELS = -(-limits.pixels // 2)
    return limits


def settings() -> tuple[int, ...]:
    """What this process holds pictures against: the limits, and what a program may have set of Pillow's own."""
    return *picture_limits(), Image.MAX_IMAGE_PIXELS or 0, int(ImageFile.LOAD_TRUNCATED_IMAGES)


def take_settings(numbers: Sequence[int]) -> None:
    """Another process's `settings` for this one, whatever its environment says. First of all."""
    *limits, most, truncated = numbers
    for name, number in zip(PictureLimits._fields, limits, strict=True):
        os.environ[variable_of(f"picture_{name}")] = str(number)
    picture_limits()
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = most or None, bool(truncated)


class _Budget:
    """So many bytes that threads hold between them. Whoever waits is not overtaken."""

    def __init__(self) -> None:
        self._turn, self._given_back, self._held = Lock(), Condition(), 0

    def take(self, size: int, most: int) -> None:
        """Waits until no more than `most` are held with these; what is larger is held alone."""
        with self._turn, self._given_back:
            self._given_back.wait_for(lambda: not self._held or self._held + size <= most)
            self._held += size

    def give_back(self, size: int) -> None:
        with self._given_back:
            self._held -= size
            self._given_back.notify_all()


_FILES: _Budget | SharedBudget = _Budget()
_DECODED: _Budget | SharedBudget = _Budget()


def share_budgets(files: _Budget | SharedBudget, decoded: _Budget | SharedBudget) -> None:
    """What this process holds from now on, it holds of these."""
    global _FILES, _DECODED
    _FILES, _DECODED = files, decoded


if hasattr(os, "register_at_fork"):  # what other threads hold at that moment, they never give back in the child
    os.register_at_fork(after_in_child=lambda: share_budgets(_Budget(), _Budget()))


class Share:
    """What is held for one picture, until the end of a `with`: memory for its file, and to decode it.

    A file's comes first, and whoever waits for memory to decode waits for nobody who waits for that of a file.
    """

    __slots__ = ("_decoded", "_file", "_open")

    def __init__(self) -> None:
        self._file = self._decoded = 0
        self._open = False

    def __enter__(self) -> Share:
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        if self._file:
            _FILES.give_back(self._file)
        self._give_back()

    def hold_file(self, path: str | os.PathLike[str]) -> None:
        """Before it is read. Raises OSError."""
        size = os.stat(path).st_size
        if SMALL < size <= picture_limits().file:  # a larger one is not read
            _FILES.take(size, picture_limits().memory)
            self._file = size

    def hold(self, size: int, whole: int = 0) -> None:
        """Bytes that decoding takes, in place of those that it has held for it; `whole`: without a draft.

        Raises DataError where either is more than all may hold. Outside of a `with`, nothing is held.
        """
        if max(size, whole) <= SMALL or size == self._decoded:
            return
        most = picture_limits().memory
        if (needed := max(size, whole)) > most:
            raise DataError(
                f"needs about {needed / GIB:.1f} GiB of memory, more than {most / GIB:.3g} GiB. "
                f"Cure: make it smaller, or {variable_of('picture_memory')}"
            )
        self._give_back()
        if self._open and size > SMALL:
            _DECODED.take(size, most)
            self._decoded = size

    def _give_back(self) -> None:
        if self._decoded:
            _DECODED.give_back(self._decoded)
            self._decoded = 0
