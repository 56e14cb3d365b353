"""Names that hold commands to a terminal, markup or line breaks: every command shows them as text, on one line."""

import json
from pathlib import Path

import pytest
from bad_input.shared import TRAIN
from click.testing import CliRunner

from xfer.cli.main import main
from xfer.display.escape import escaped
from xfer.testing.pictures import write_class_folders

# A title, red, the end of a line, text that turns around, CSI as one character, what is no text, markup of rich's.
HOSTILE = "\x1b]0;t\x07\x1b[31m\n\u202e\x9b2J\u2028\udcff"
SHOWN = r"\x1b]0;t\x07\x1b[31m\n\u202e\x9b2J\u2028\udcff"
CLASS = HOSTILE.replace("\udcff", "") + "[bold]"
SHOWN_CLASS = SHOWN.replace(r"\udcff", "") + "[bold]"
ARGUMENTS = [word for word in TRAIN if word != "-q"]


def run(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    stray = {char for char in result.output if not char.isprintable()} - {"\n"}
    assert not stray, "nothing reaches the screen but text"
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("names")
    write_class_folders(root / "set", [CLASS, "bees"], (4, 3))
    try:
        (root / "set/val/bees/0.png").rename(root / f"set/val/bees/{HOSTILE}.png")
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    (root / f"set/train/bees/{HOSTILE}.txt").write_text("left out")
    output = root / "run[red]\x1b[7m"
    result = run("train", root / "set", *ARGUMENTS, "-o", output)
    assert f"2 classes: {SHOWN_CLASS}, bees" in result.stdout
    assert r"run folder    " + escaped(str(output)) in result.stdout.splitlines()
    return output


@pytest.fixture
def pictures(trained):
    return trained.parent / "set"


def test_lines_of_predictions_are_one_for_each_picture(trained, pictures):
    lines = run("predict", trained, pictures / "val", "-q").stdout.splitlines()
    assert len(lines) == 6
    assert sum(line.endswith(f"{SHOWN}.png") for line in lines) == 1
    assert all(line.startswith((SHOWN_CLASS, "bees")) for line in lines)


def test_json_on_standard_output_keeps_the_real_names(trained, pictures):
    rows = json.loads(run("predict", trained, pictures / "val", "-q", "--json").stdout)
    assert [row["file"] for row in rows if HOSTILE in row["file"]] == [str(pictures / "val/bees" / f"{HOSTILE}.png")]
    assert all(f"p_{CLASS}" in row for row in rows)
    record = json.loads(run("data", "check", pictures, "-q", "--json").stdout)
    assert [row["name"] for row in record["classes"]] == [CLASS, "bees"]


def test_a_check_shows_a_line_for_each_class(pictures):
    lines = run("data", "check", pictures, "-q").stdout.splitlines()
    assert sum(line.endswith(SHOWN_CLASS) for line in lines) == 1


def test_tables_show_markup_as_it_is(trained, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, other = Path("[red]w[blue]\x1b:smile:.safetensors"), Path("other\n\x1b[7m")
    source.write_bytes((trained / "best.safetensors").read_bytes())
    words = [word if word != "random" else source for word in ARGUMENTS]
    result = run("train", pictures, *words, "-o", other, "--set", "weights.partial=true")
    assert r"takenfrom[red]w[blue]\x1b:smile:.safetensors:tensors" in "".join(result.stdout.split()), "in its title"
    lines = run("compare", trained, other).stdout.splitlines()
    assert r"run 2: other\n\x1b[7m (numpy on cpu, float32)" in lines
    assert any(r"[red]w[blue]\x1b:smile:.safetensors" in line for line in lines), "in a cell"


REFUSED = (
    *([HOSTILE], [f"--{HOSTILE}"], ["train", HOSTILE], ["train", f"--{HOSTILE}"], ["train", "--epochs", HOSTILE]),
    *(["train", "-c", HOSTILE], ["train", "--set", HOSTILE], ["train", "--resume", HOSTILE], ["study", HOSTILE]),
    *(["evaluate", HOSTILE], ["predict", HOSTILE, HOSTILE], ["convert", HOSTILE, "x.pth"]),
)


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused_is_named_on_one_line(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words, code=2)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert r"\x1b]0;t\x07\x1b[31m" in result.stderr


def test_a_group_without_a_command_shows_its_help():
    result = run("data", code=2)
    assert result.stderr.startswith("Usage: ")
    assert "check" in result.stderr


def test_letters_of_every_script_stay_as_they_are():
    name = "蚂蚁\u3000é\u00a0नमस्ते \u05d0"
    assert escaped(name) == name
    assert escaped("a\tb\x7f\u200b\ufeff\U000e0001") == r"a\tb\x7f\u200b\ufeff\U000e0001"
