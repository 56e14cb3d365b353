"""The line of a terminal that shows how far work is: it has the row to itself, and is never wider than that."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO, cast

from rich.cells import cell_len, set_cell_size

from xfer.display.escape import escaped
from xfer.display.language import translated_label
from xfer.progress import Progress

DRAWN_EVERY = 0.1  # seconds between pictures of the line
WIDEST_BAR = 40  # columns
NARROWEST_BAR = 5
_ERASE = "\r\x1b[K"
_FULL, _EMPTY, _CUT = "━", "─", "…"


@dataclass
class Work:
    """A piece of work as its caller tells of it: it goes on while the total stays and more of it is done.

    Its label may change meanwhile: the views of a feature phase are one piece of work.
    """

    done: int = 0
    total: int | None = None
    first: int = 0  # done when it was first told of: how long that took is not known
    since: float = 0.0
    now: float = 0.0

    def tell(self, done: int, total: int | None) -> None:
        self.now = time.monotonic()
        if total != self.total or done <= self.done or self.finished:
            self.first, self.since = done, self.now
        self.done, self.total = done, total

    @property
    def finished(self) -> bool:
        return self.total is not None and self.done >= self.total

    @property
    def rate(self) -> float | None:
        """Units a second, since it was first told of."""
        passed = self.now - self.since
        return (self.done - self.first) / passed if self.done > self.first and passed > 0 else None

    @property
    def left(self) -> str | None:
        """The time until all of it is done, h:mm:ss; None while there is no telling."""
        return _clock((self.total - self.done) / self.rate) if self.total is not None and self.rate else None

    def figures(self) -> str:
        """120/480 31/s 0:00:12, the last being the time left."""
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        return count + (f" {self.rate:.0f}/s {self.left}" if self.left else "")

    def sentence(self) -> str:
        """120 of 480, 0:00:12 left"""
        count = f"{self.done}" + (f" of {self.total}" if self.total else "")
        return count + (f", {self.left} left" if self.left else "")


class Line:
    """The row where the cursor stands, drawn over itself until other text comes, which has it erased first."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.drawn = False
        self.free = True  # no unfinished line of others stands in the row
        self.lock = threading.RLock()  # warnings may come from any thread

    def draw(self, text: str) -> None:
        with self.lock:
            if self.free:
                self._write(_ERASE + text)
                self.drawn = True

    def erase(self) -> None:
        with self.lock:
            if self.drawn:
                self._write(_ERASE)
                self.drawn = False

    def give_way(self, text: str) -> None:
        """Before `text` is written to the same terminal."""
        if text:
            self.erase()
            self.free = text.endswith("\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class Beside:
    """A stream to the terminal that shows the line: as it was, but that the line gives way to what is written."""

    def __init__(self, stream: TextIO, line: Line) -> None:
        self.stream, self.line = stream, line

    def write(self, text: str) -> int:
        with self.line.lock:
            self.line.give_way(text)
            return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def line_of_progress() -> Iterator[Progress]:
    """Draw progress on standard error, a terminal; what is printed meanwhile stands above, in lines of its own.

    A finished piece of work leaves nothing behind.
    """
    line, work, shown = Line(sys.stderr), Work(), -DRAWN_EVERY

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        work.tell(done, total)
        if work.finished:
            line.erase()
        elif work.now - shown >= DRAWN_EVERY:
            shown = work.now
            line.draw(picture(what, work, columns(line.stream) - 1, line.stream.encoding))

    with ExitStack() as stack:
        stack.callback(line.erase)
        stack.enter_context(redirect_stderr(cast(TextIO, Beside(sys.stderr, line))))
        if sys.stdout.isatty():
            stack.enter_context(redirect_stdout(cast(TextIO, Beside(sys.stdout, line))))
        yield show


def columns(stream: TextIO) -> int:
    """Of the terminal; 80 where it does not know."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def picture(what: str, work: Work, width: int, encoding: str) -> str:
    """`what`, a bar where there is room for it, and the figures, in at most `width` columns.

    The label is cut before the figures are. What cannot be shown in `encoding` stands as its code.
    """
    label = translated_label(escaped(what)).encode(encoding, "backslashreplace").decode(encoding)
    figures = work.figures()
    room = width - cell_len(figures) - 1
    if cell_len(label) > room:
        cut = _CUT if _shows(encoding, _CUT) else "."
        label = set_cell_size(label, max(room - 1, 0)) + cut
    bar = _bar(work, min(WIDEST_BAR, room - cell_len(label) - 1), encoding)
    return set_cell_size(" ".join(part for part in (label, bar, figures) if part), width).rstrip()


def _bar(work: Work, width: int, encoding: str) -> str:
    if work.total is None or width < NARROWEST_BAR:
        return ""
    full, empty = (_FULL, _EMPTY) if _shows(encoding, _FULL + _EMPTY) else ("#", "-")
    done = work.done * width // max(work.total, 1)
    return full * done + empty * (width - done)


def _shows(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
