"""Flags that a command does not have, answered with what is meant: `--wd 1e-4`, `--set optimizer.weight_decay=1e-4`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import takewhile

import click

ARGUMENTS = {"--data": ("DIR", "FILE"), "--weights": ("RUN",), "--arch": ("RUN",)}
"""Flag of `xfer train` -> how the metavar of the argument begins that stands for it in a command without that flag."""


WORDS = "xfer.words"
"""Where a context's `meta` keeps the command line: a tuple of words, `("xfer", "train", "pictures")`."""


class Command(click.Command):
    """Names the cure for a flag that another trainer has. The names are in `xfer.recipe.names`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from xfer.system.addresses import shown_in

        ctx.meta[WORDS] = ("xfer", str(self.name), *map(shown_in, args))  # a run writes them down
        words = list(takewhile(lambda word: word != "--", args))  # a parser takes the list apart
        for word in words:
            if word[:1] == "-" != word[1:2] and len(word) > 2:  # -lr, -bs and -config, and not -q or -qb
                self._answer(ctx, word, words)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            self._answer(ctx, error.option_name, words)
            raise

    def _answer(self, ctx: click.Context, name: str, words: Sequence[str]) -> None:
        """Raises UsageError with the cure for this name among the words of a command, where there is one."""
        if cure := self.cure(name, _value(name, words)):
            raise click.UsageError(f"No such option: {name}. Cure: {cure}", ctx)

    def cure(self, name: str, value: str) -> str:
        """What stands for this flag and its value ("": none): an option, override or argument; "" for nothing."""
        from xfer.recipe.names import MEANT, NEEDLESS, meant_value, spelt

        options = {flag: param for param in self.params if isinstance(param, click.Option) for flag in param.opts}
        meant, own, keys = MEANT.get(spelt(name)), f"--{spelt(name)}", "--set" in options
        if own == "--lang":
            return f"before the command: xfer --lang {value or 'zh'} {self.name}"
        if keys and spelt(name) in NEEDLESS:
            return f"leave it out, as {NEEDLESS[spelt(name)]}"
        flag, fixed = (own, "") if own in options else (meant.flag, meant.value) if meant else ("", "")
        if flag in options:
            return f"{flag} {_shown(options[flag], fixed, value)}".rstrip()
        arguments = [str(param.metavar) for param in self.params if isinstance(param, click.Argument)]
        if any(metavar.startswith(ARGUMENTS.get(flag, ())) for metavar in arguments):
            return f"give it without a flag: {self.name} {' '.join(arguments)}"
        if keys and meant and meant.key:
            given = meant_value(meant.key, meant.value, value)
            return f"--set {meant.key}={shlex.quote(given) if given else 'VALUE'}"
        return ""


def _shown(option: click.Option, fixed: str, value: str) -> str:
    """What to give with an option: the value that the name fixes, or the one that was given, or what can be given."""
    if option.is_flag:
        return ""
    from xfer.recipe.names import OTHER_VALUES, meant_value

    given = meant_value(option.opts[0], fixed, value)
    return shlex.quote(given) if given else OTHER_VALUES.get(option.opts[0]) or option.metavar or "VALUE"


def _value(name: str, words: Sequence[str]) -> str:
    """What follows a flag, `--wd 0.1`, `--wd=0.1` or `-j4`; "" where nothing does."""
    for word, after in zip(words, [*words[1:], "-"], strict=True):
        if word == name:
            return "" if after[:1] == "-" and not after[1:2].isdecimal() else after
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if len(name) == 2 and word.startswith(name):
            return word[2:]
    return ""
