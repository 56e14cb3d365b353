"""The command line: the only place that prints results and chooses an exit code.

Every command imports what it needs when it runs, so that `xfer --help` is instant.
"""

from __future__ import annotations

import errno
import signal
import sys
from io import TextIOWrapper
from typing import Any

import click

from xfer import __version__
from xfer.cli.compare import compare, parity_, study_
from xfer.cli.predict import evaluate, predict_
from xfer.cli.tools import backends, cache, convert, data, doctor
from xfer.cli.train import train
from xfer.errors import XferError

LONGEST_LINE = 1500  # characters of an error


class Group(click.Group):
    """Turns what a user can put right into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (XferError, OSError) as error:  # OSError: a disk that is full, a folder that may not be written
            if ctx.params.get("debug") or getattr(error, "errno", None) == errno.EPIPE:  # whoever read has gone
                raise
            click.echo(f"error: {_one_line(error)}", err=True)
            ctx.exit(2)
        except click.UsageError as error:
            words, message = error.ctx.command_path if error.ctx else "xfer", error.format_message()
            cure = "" if "Cure: " in message else f" Cure: see {words} --help"
            click.echo(f"error: {message}{cure}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt as stop:
            run, number = getattr(stop, "run", None), getattr(stop, "number", signal.SIGINT)
            click.echo(f"interrupted. To go on: xfer train --resume {run}" if run else "interrupted", err=True)
            ctx.exit(128 + number)


def _one_line(error: Exception) -> str:
    """Its middle is cut out where it is too long to be read: it may quote a value of any length."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Transfer learning for image classification, on PyTorch or MindSpore."""
    if isinstance(sys.stdout, TextIOWrapper):  # a file may have a name that no encoding has: it is printed as \udcff
        sys.stdout.reconfigure(errors="backslashreplace")


for command in (train, evaluate, predict_, backends, cache, data, doctor, convert, compare, parity_, study_):
    main.add_command(command)
