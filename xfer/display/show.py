"""Choosing how slow work is shown: a bar on a terminal or in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rich.console import Console

from xfer.display.escape import escaped
from xfer.display.language import translated, translated_label
from xfer.display.notebook import output_of_progress
from xfer.display.screen import Work, line_of_progress
from xfer.progress import Progress, silent

PLAIN_EVERY = 10.0  # seconds between lines where nobody is known to watch


@dataclass(frozen=True)
class Display:
    """Where work is shown: `progress` draws how far it is, `say` leaves a line, such as that of an epoch."""

    progress: Progress = silent
    say: Callable[[str], None] = lambda line: None


@contextmanager
def shown(progress: Progress | bool = True) -> Iterator[Display]:
    """Show work until the end of the block.

    True on a terminal, on standard error: a bar, and lines above it. True in a notebook: an output of the cell that
    has both. True elsewhere: on standard error, a line every ten seconds at most, so that a log tells that a long job
    is alive, and no short one is heard of. False: nothing. A function is told of the progress, and of no lines.
    """
    if not isinstance(progress, bool):
        yield Display(progress)
    elif not progress:
        yield Display()
    elif (console := Console(stderr=True)).is_jupyter:
        with output_of_progress() as output:
            yield Display(output.progress, output.say)
    elif not console.is_terminal or console.is_dumb_terminal or not sys.stderr.isatty():
        lines = _Lines()
        yield Display(lines.progress, lines.say)
    else:
        with line_of_progress() as bar:
            yield Display(bar, _write)


class _Lines:
    """Lines of a log, PLAIN_EVERY seconds apart: the last one said that is not written yet, or else the progress."""

    def __init__(self) -> None:
        self.written, self.said, self.work = time.monotonic(), "", Work()

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.work.tell(done, total)
        if self._is_time():  # a sentence for each of 100,000 files would take seconds
            self._write(self.said or f"{translated_label(escaped(what))}: {translated_label(self.work.sentence())}")

    def say(self, line: str) -> None:
        self.said = line
        if self._is_time():
            self._write(line)

    def _is_time(self) -> bool:
        return time.monotonic() - self.written >= PLAIN_EVERY

    def _write(self, line: str) -> None:
        self.written, self.said = time.monotonic(), ""
        _write(line)


def _write(line: str) -> None:
    if sys.stderr is not None:  # closed: `print` would take standard output in its place
        with suppress(OSError):  # a full disk, or nobody listens any more: no reason to end the work that is shown
            print(translated(escaped(line)), file=sys.stderr, flush=True)
