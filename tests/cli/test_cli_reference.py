"""docs/cli.md is what the commands say today, and shells complete them."""

import re

import click
import pytest
from click.testing import CliRunner

from tools import cli_reference
from xfer.cli.main import main

WORD = re.compile(r"[\w=./-]+")
THE_SAME_EVERYWHERE = "-h --help Show this message and exit."


def test_the_page_is_current():
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.reference(), (
        "Cure: python tools/cli_reference.py"
    )


def test_check_tells_a_page_that_is_not_and_writes_nothing(tmp_path, monkeypatch, capsys):
    page = tmp_path / "cli.md"
    monkeypatch.setattr(cli_reference, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["cli_reference.py"])
    assert cli_reference.main() == 0
    assert page.read_text(encoding="utf-8") == cli_reference.reference()
    page.write_text("older", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["cli_reference.py", "--check"])
    assert cli_reference.main() == 1
    assert page.read_text(encoding="utf-8") == "older"
    assert capsys.readouterr().out == "cli.md written\ncli.md differs\n"


def every_command(command=main, path="xfer"):
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from every_command(below, f"{path} {name}")


COMMANDS = dict(every_command())


@pytest.mark.parametrize("path", COMMANDS)
def test_a_section_has_every_option_default_and_word_of_the_help(path):
    command = COMMANDS[path]
    _, _, rest = cli_reference.reference().partition(f"\n## `{path}`\n")
    section = rest.partition("\n## ")[0]
    options = [flag for param in command.params if isinstance(param, click.Option) for flag in param.opts]
    assert [flag for flag in options if not re.search(rf"^- `(.*, )?{flag}[`, ]", section, re.MULTILINE)] == []
    said = CliRunner().invoke(main, [*path.split()[1:], "--help"], prog_name="xfer").output
    if isinstance(command, click.Group):  # the rest are the first words of each of its commands
        said = said.partition("Options:")[0]
    assert {*WORD.findall(said)} - {"Usage", "Options", *WORD.findall(THE_SAME_EVERYWHERE)} <= {*WORD.findall(section)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_what_completes_the_command(shell):
    script = CliRunner().invoke(main, prog_name="xfer", env={"_XFER_COMPLETE": f"{shell}_source"}).output
    assert f"_XFER_COMPLETE={shell}_complete" in script
    asked = {"_XFER_COMPLETE": "bash_complete", "COMP_WORDS": "xfer export --fo", "COMP_CWORD": "2"}
    assert CliRunner().invoke(main, prog_name="xfer", env=asked).output == "plain,--format\n"
