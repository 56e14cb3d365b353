"""What every command shows its results with: progress bars on a terminal, tables, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from xfer.cli.screen import Work, line_of_progress
from xfer.progress import Progress, silent

PIPE_WIDTH = 200  # columns of a table that goes into a file or another program
PLAIN_EVERY = 10.0  # seconds between lines of progress where there is no terminal


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal; a plain line now and then elsewhere; nothing when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif not console.is_terminal or console.is_dumb_terminal or not sys.stderr.isatty():
        yield _plain()
    else:
        with line_of_progress() as progress:
            yield progress


def _plain() -> Progress:
    shown, work = time.monotonic(), Work()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        work.tell(done, total)
        if work.now - shown >= PLAIN_EVERY:
            shown = work.now
            click.echo(f"{what}: {work.sentence()}", err=True)

    return show


def as_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def printer() -> Console:
    """Standard output. Where nobody watches, tables take the room they need: a cut figure is a lost one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
