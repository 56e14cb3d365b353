"""What every command shows its results with: progress bars on a terminal, tables, JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from xfer.progress import Progress, silent

PIPE_WIDTH = 200  # columns of a table that goes into a file or another program
PLAIN_EVERY = 15.0  # seconds between lines of progress where there is no terminal


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """Bars with rate and time left on a terminal; a plain line now and then elsewhere; nothing when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif not console.is_terminal:
        yield _plain()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        with Bars(*columns, console=console, transient=True) as bars:
            yield _drawn(bars)


def _drawn(bars: Bars) -> Progress:
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int | None) -> None:
        if what not in tasks or (done == 1 and bars.tasks[-1].description != what):
            for old in tasks.values():
                bars.remove_task(old)
            tasks.clear()
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return show


def _plain() -> Progress:
    shown = time.monotonic()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        if time.monotonic() - shown > PLAIN_EVERY:
            shown = time.monotonic()
            click.echo(f"{what}: {done}" + (f" of {total}" if total else ""), err=True)

    return show


def as_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def printer() -> Console:
    """Standard output. Where nobody watches, tables take the room they need: a cut figure is a lost one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
