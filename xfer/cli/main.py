"""The command line: the only place that prints results and chooses an exit code.

Every command imports what it needs when it runs, so that `xfer --help` is instant. What they say of themselves is given
to their decorators, as there are no docstrings under `python -OO`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from xfer import __version__
from xfer.cli.compare import compare, parity_, study_
from xfer.cli.completion import completion_
from xfer.cli.explain import explain_
from xfer.cli.export import export_
from xfer.cli.find_lr import find_lr
from xfer.cli.models import models
from xfer.cli.port import port_
from xfer.cli.predict import evaluate, predict_
from xfer.cli.report import report_
from xfer.cli.runs import runs
from xfer.cli.serve import serve_
from xfer.cli.tools import backends, cache, convert, data, doctor
from xfer.cli.train import train
from xfer.display import language
from xfer.errors import XferError

LONGEST_LINE = 1500  # characters of an error


_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # of click 8.2: a group that was given no command
_CURES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EACCES: "grant access there, or name another place",
    errno.EPERM: "grant access there, or name another place",
    errno.EROFS: "name another place",
    errno.ENAMETOOLONG: "a shorter name",
}


class Context(click.Context):
    """That of every command, which is what says how help is laid out."""

    def make_formatter(self) -> click.HelpFormatter:
        if language.speaks_english():
            return super().make_formatter()
        from xfer.cli.help import Translated

        return Translated(self.terminal_width, self.max_content_width)


class Group(click.Group):
    """Turns what a user can put right into one line and exit code 2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _one_line(ctx):
            language.speak(_language(self, ctx, args))
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line(ctx):
            return super().invoke(ctx)


def _language(command: click.Command, ctx: click.Context, args: list[str]) -> str:
    """What is to be spoken, before anything is said: --help and what is wrong with the words are said in it too."""
    asked = os.environ.get("XFER_LANG")
    with suppress(click.UsageError):
        asked = command.make_parser(ctx).parse_args([*args])[0].get("lang") or asked
    known = language.named(asked) if asked else language.language_of(os.environ)
    return known if known == "zh" and language.shows_chinese((sys.stdout, sys.stderr)) else "en"


def _lang(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    if name is not None and language.named(name) is None:
        known = " or ".join(language.LANGUAGES)
        raise click.UsageError(f"--lang, or XFER_LANG, is {name}: expected {known}. Cure: --lang en", ctx)


@contextmanager
def _one_line(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except (XferError, OSError) as error:  # OSError: a disk that is full, a folder that may not be written
        if ctx.params.get("debug") or getattr(error, "errno", None) == errno.EPIPE:  # whoever read has gone
            raise
        _end(ctx, f"error: {_shortened(_of_system(error) if isinstance(error, OSError) else str(error))}", 2)
    except _HELP:
        raise
    except click.UsageError as error:
        words, message = error.ctx.command_path if error.ctx else "xfer", error.format_message()
        cure = "" if "Cure: " in message else f" Cure: see {words} --help"
        _end(ctx, f"error: {_shortened(message)}{cure}", 2)
    except KeyboardInterrupt as stop:
        run, number = getattr(stop, "run", None), getattr(stop, "number", signal.SIGINT)
        _end(ctx, f"interrupted. To go on: xfer train --resume {run}" if run else "interrupted", 128 + number)


def _end(ctx: click.Context, line: str, code: int) -> NoReturn:
    from xfer.cli import console
    from xfer.system.addresses import shown_in

    with suppress(OSError):  # a full disk: the exit code is left to tell
        console.say(shown_in(line), error=True)
    ctx.exit(code)


def _of_system(error: OSError) -> str:
    if error.filename is None or not error.strerror:
        return str(error)
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    cure = _CURES.get(error.errno or 0)
    return f"{name}: {error.strerror}" + (f". Cure: {cure}" if cure else "")


def _shortened(text: str) -> str:
    """Its middle is cut out where it is too long to be read: it may quote a value of any length."""
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for image classification, on PyTorch or MindSpore.",
)
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option(
    "--lang",
    metavar="en|zh",
    envvar="XFER_LANG",
    is_eager=True,
    expose_value=False,
    callback=_lang,
    help="What is said in: English or Chinese. Default: XFER_LANG, or else the locale.",
)
def main(debug: bool) -> None:
    if isinstance(sys.stdout, TextIOWrapper):  # a file may have a name that no encoding has: it is printed as \udcff
        sys.stdout.reconfigure(errors="backslashreplace")


def _give_context(command: click.Command) -> None:
    """Also to the commands of a group; click knows no other way for those that are no class of our own."""
    command.context_class = Context
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _give_context(below)


for command in (
    train, find_lr, evaluate, predict_, explain_, export_, serve_, runs, models, port_, backends, cache, data, doctor,
    convert, compare, report_, parity_, study_, completion_,
):  # fmt: skip
    main.add_command(command)
_give_context(main)
