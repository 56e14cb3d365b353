"""The one place of the command line that prints: lines, tables, JSON, and progress bars on a terminal.

Whatever names and messages hold, it reaches the screen as text of one line; see `xfer.display.escape`.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xfer.display.escape import escaped, shows
from xfer.display.language import speaks_english, translated, translated_cell, translated_heading
from xfer.display.show import shown
from xfer.progress import Progress
from xfer.system.files import json_text

PIPE_WIDTH = 200  # columns of a table that goes into a file or another program


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal; a plain line now and then elsewhere; nothing when quiet."""
    with shown(not quiet) as display:
        yield display.progress


def say(*lines: str, error: bool = False, ours: bool = True) -> None:
    """Lines on standard output, or on standard error; a line break inside of one is shown as `\\n`.

    ours  False for lines of names and figures alone, in which no word is one of xfer's to be translated

    Raises OSError, which names the stream, where it cannot be written.
    """
    if lines:
        with _written("standard error" if error else "standard output"):
            shown_lines = map(escaped, lines)
            click.echo("\n".join(map(translated, shown_lines) if ours else shown_lines), err=error)


def as_json(content: Any) -> None:
    """On standard output. What is read from it is the same as without the escapes."""
    text = json_text(content, indent=2, ascii_only=False)
    with _written("standard output"):
        click.echo("\n".join(line if line.isprintable() else _json_escaped(line) for line in text.split("\n")))


def _json_escaped(line: str) -> str:
    return "".join(char if shows(char) else json.dumps(char)[1:-1] for char in line)


def table(content: Table) -> None:
    """On standard output. Where nobody watches, it takes the room it needs: a cut figure is a lost one."""
    console = _Tables(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    if not speaks_english():
        _translate(content)
    with _written("standard output"):
        console.print(content)


def _translate(content: Table) -> None:
    """Its words, but for what a column has of names and figures."""
    content.title = None if content.title is None else translated(escaped(str(content.title)))
    content.caption = None if content.caption is None else translated(escaped(str(content.caption)))
    for column in content.columns:
        heading = escaped(str(column.header))
        column.header = translated_heading(heading)
        column._cells = [translated_cell(heading, escaped(str(cell))) for cell in column.cells]


class _Tables(Console):
    """Shows every text as it is: `[red]` is the name of a class here, and no colour."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options | {"markup": False, "emoji": False})


@contextmanager
def _written(stream: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read it has gone: nobody is to be told
            raise
        raise OSError(error.errno, error.strerror, stream) from error


def local_time(seconds: float) -> str:
    """The local time; of a clock that was far off, which may have no name here, a blank."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return " " * 16


def size(count: int) -> str:
    """Of bytes, in the largest unit of which there is one."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
