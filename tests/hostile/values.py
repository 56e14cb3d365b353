"""Hostile values: of every option that a command has, and of every key of a recipe."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from hostile.ground import PLAIN, Call, giving
from xfer.cli.main import main
from xfer.recipe.keys import flat
from xfer.recipe.recipe import Recipe

NUMBERS = [
    "-1", "0", "-0", "1e400", "nan", "-inf", "9" * 30, "9" * 5000, "٣", "１６", "1_000", "0x10", "", " ", "1e3", "0.5",
    "2147483648", "9223372036854775807", "-9223372036854775809", "1e-320", "10000000000", "1000000",
]  # fmt: skip
TEXTS = [
    "", " ", "-", "\x1b[31mred\x1b[0m", "new\nline", "[bold]x[/bold]", "[/]", "x" * 5000, "\udcff", "../..",
    "~nosuchuser", "$(touch executed)", "%s%n", "{0}", "٣", "a=b", "--help", "\u202eevil", "=HYPERLINK(1)",
    "cuda:99999999999999999999", "1e999GB", "0", "-5GB", "auto", "torch,", "numpy:cpu,numpy:cpu,numpy:cpu", "None",
]  # fmt: skip
VALUES = [
    "-1", "0", "nan", "-inf", "inf", "1e308", "9223372036854775807", "9" * 30, "1000000000000", "100000000", "true",
    '""', "[]", "[[[[]]]]", "[1e308, 1e308]", "[1000000000]", "[1, 1, 1, 100000000]", "{}", "{a=1}", "1979-05-27",
    "'\\u001b[31m'",
    '"\\u001b[31mred"', '"new\\nline"', "[" * 5000, "'" + "x" * 100_000 + "'", "1e-320", "-0.0", "0.9999999999999999",
    '"/dev/zero"', '"~nosuchuser"', "0x7fffffff", "[nan]", "[-1]", '["x", "y"]', '[{op="Resize", size=1000000000}]',
    '[{op="Pad", padding=1000000000}]', "[{}]", '[{op="CenterCrop", size=0}]',
]  # fmt: skip


def all_calls() -> Iterator[Call]:
    for name, command in commands(main):
        if name not in PLAIN:
            continue
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
                for value in NUMBERS if numeric else TEXTS:
                    words = [*PLAIN[name], f"{option.opts[0]}={value}"]
                    yield Call(
                        f"values of options: {name}", f"{name} {option.opts[0]} {shown(value)}", name, giving(words)
                    )
    for key in recipe_keys():
        section = key.partition(".")[0]
        section = section if section in Recipe.model_fields else "others"
        for number, value in enumerate(VALUES):
            for name in ("train", "data check", "study") if number % 7 == 0 else ("train",):
                words = [*PLAIN[name], "--set", f"{key}={value}"]
                yield Call(f"values of keys: {section}", f"{name} --set {key}={shown(value)}", name, giving(words))


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name, command


def recipe_keys() -> list[str]:
    """Every dotted key, and some that are none."""
    content: Mapping[str, Any] = Recipe().model_dump(mode="json")
    return [key for key, _ in flat(content, lists=False)] + ["schedule", "augment", "no.such.key", "seed.x", ""]


def shown(text: str) -> str:
    """A value short enough for a name."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= 40 else f"{text[:20]}...({len(text)})"
