"""What every command shows its results with: progress bars on a terminal, tables, JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from xfer.display.show import shown
from xfer.progress import Progress
from xfer.system.files import json_text

PIPE_WIDTH = 200  # columns of a table that goes into a file or another program


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal; a plain line now and then elsewhere; nothing when quiet."""
    with shown(not quiet) as display:
        yield display.progress


def as_json(content: Any) -> None:
    click.echo(json_text(content, indent=2, ascii_only=False))


def printer() -> Console:
    """Standard output. Where nobody watches, tables take the room they need: a cut figure is a lost one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
