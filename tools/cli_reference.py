"""Write docs/cli.md from the commands themselves: what each takes, and what it says of that.

python tools/cli_reference.py            write it
python tools/cli_reference.py --check    write nothing; fail where it would be another
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import click

from xfer.cli.main import main as xfer

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Written by `python tools/cli_reference.py` from the commands, which say the same with `--help`. They end with exit code
0; 1 where what was asked for was looked at and is not as it should be; 2 for what you can put right, which one line
says with its cure; and 130 after Ctrl-C.

`xfer --lang zh train ...` says it in Chinese, as does `XFER_LANG=zh`, or else a locale that begins with zh (`LC_ALL`,
`LC_MESSAGES`, `LANG`); `--lang en` and `XFER_LANG=en` have English in any locale. What has no translation yet stays
English, and so do JSON, files that are written, names and exit codes, and all of it where the output's encoding has no
Chinese.

Shells complete commands, options and names of files: `eval "$(xfer completion bash)"` in `~/.bashrc`, the same with
`zsh` in `~/.zshrc`, below `compinit`, or `xfer completion fish > ~/.config/fish/completions/xfer.fish`.
"""


def reference() -> str:
    context = click.Context(xfer, info_name="xfer")
    sections = [_section(command, words) for command, words in _commands(xfer, context)]
    return "\n".join([HEAD, *sections])


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command, and those of a group behind it, in the order in which --help has them."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, click.Context(below, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## `{context.command_path}`", f"```\n{usage}\n```", _text(command.help or "")]
    records = [param.get_help_record(context) for param in command.params]
    parts.append("\n".join(_line(*record) for record in records if record is not None and _tells(*record)))
    if isinstance(command, click.Group):
        names = [f"{context.command_path} {name}" for name in command.list_commands(context)]
        parts.append("Commands: " + ", ".join(f"[`{name}`](#{name.replace(' ', '-')})" for name in names) + ".")
    return "\n\n".join(filter(None, parts)) + "\n"


def _tells(name: str, meaning: str) -> bool:
    """Whether more is said than the first line of a section does, which has the arguments."""
    return name.startswith("-") or bool(meaning)


def _line(name: str, meaning: str) -> str:
    return f"- `{name}`: {_text(meaning)}" if meaning else f"- `{name}`"


def _text(words: str) -> str:
    """Paragraphs in a line each. Outside of `code`, what Markdown would take for its own is kept as it is."""
    paragraphs = [" ".join(part.split()) for part in words.split("\n\n")]
    parts = re.split(r"(`[^`]*`)", "\n\n".join(paragraphs))
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it would be another")
    check, text = parser.parse_args().check, reference()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(PAGE.name, "differs" if check else "written")
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    return int(check)


if __name__ == "__main__":
    raise SystemExit(main())
