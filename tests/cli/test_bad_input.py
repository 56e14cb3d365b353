"""A corpus of bad input, each through the command line: one line, an exit code, and nothing left behind.

The rows lie in bad_input/, a file for each theme: one makes its input in an empty folder and gives the words of a
command. The laws that single modules keep about such input have their own tests; here it is the way from the user's
hand to the message that is tested.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bad_input import (
    archives,
    checkpoints,
    copies,
    data_check,
    doors,
    flags,
    folders,
    label_tables,
    links,
    names,
    pictures,
    predicting,
    recipes,
    runs,
    weights,
)
from bad_input.shared import FINISHED_RUN, TRAIN, check, class_folders, picture, spoil, train
from click.testing import CliRunner

import xfer.data.streams
from xfer.cli.main import main
from xfer.formats.files import read_weights
from xfer.nets.weights import init_weights
from xfer.recipe.meaning import open_data
from xfer.system.memory import peak_memory

SECONDS = 10
DATA = (folders, label_tables, names, links, pictures, copies, data_check, archives)
THEMES = (*DATA, weights, recipes, checkpoints, runs, flags, predicting, doors)


def by_name(rows):
    """name -> row. No two rows have one name, whatever their themes."""
    named = {}
    for row in rows:
        assert row.name not in named, f"two rows are called {row.name!r}"
        named[row.name] = row
    return named


ROWS = by_name(row for theme in THEMES for row in theme.ROWS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run to predict with, resume, convert and damage copies of."""
    root = tmp_path_factory.mktemp("runs")
    class_folders(root / "set")
    result = CliRunner().invoke(main, ["train", "--data", str(root / "set"), "--output", str(root / "run"), *TRAIN])
    assert result.exit_code == 0, result.output
    return root / "run"


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path, trained):
    monkeypatch.setattr(xfer.data.streams, "FREE_BYTES", 1 << 20)  # or else a bomb would have to be a large one
    monkeypatch.setenv(FINISHED_RUN, str(trained))
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@contextmanager
def limited(seconds):
    """A hang fails, and does not stop the suite. Not on Windows, nor beside other threads' tests."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_):
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_(words, trained):
    begun, memory = time.monotonic(), peak_memory() or 0
    with limited(SECONDS):
        result = CliRunner().invoke(main, [word.replace("RUN", str(trained)) for word in words])
    assert time.monotonic() - begun < SECONDS
    assert (peak_memory() or 0) - memory < 1 << 30
    assert not isinstance(result.exception, Exception), result.exception  # SystemExit is none
    assert "Traceback" not in result.output
    return result


def refused(result, message):
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 2000, "a line that can be read"
    assert result.stdout == ""


def outputs(folder):
    """All that is called `out` in the folder, and all that is in it."""
    return [path for path in folder.rglob("*") if "out" in path.relative_to(folder).parts]


@pytest.mark.parametrize("name", ROWS)
def test_bad_input(name, tmp_path, trained):
    row = ROWS[name]
    words = row.make(tmp_path / "here")
    before = outputs(tmp_path / "here")
    result = run_(words, trained)
    if row.code == 2:
        refused(result, row.message)
        assert outputs(tmp_path / "here") == before, "nothing is left behind"
    else:
        assert result.exit_code == row.code, result.output
        assert row.message in result.stdout
        assert result.stderr == ""
        assert "verdict  not ready" in result.stdout
    assert not (tmp_path / "evil.png").exists()
    if "no class" not in row.message:  # such an archive is sound, and unpacked before anyone looks for classes in it
        assert not list((tmp_path / "cache" / "unpacked").glob("*"))


def test_there_are_enough_of_them():
    assert len(ROWS) >= 60


# What looks bad and is not


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("size", [1, 8, 9, 1_000_000])
def test_a_batch_above_the_set_still_takes_a_step(size, trained):
    class_folders()
    result = run_(train("set", "--batch-size", str(size)), trained)
    assert result.exit_code == 0, result.stderr
    last = read_weights(Path("out/last.safetensors"))[0]
    first = init_weights({name: value.shape for name, value in last.items()}, seed=0)
    assert not np.array_equal(last["fc.weight"], first["fc.weight"])
    assert np.array_equal(last["stem.weight"], first["stem.weight"]), "or these are not the first weights"


GOOD = {
    "a CMYK JPEG": picture("JPEG", "CMYK"),
    "a 16-bit PNG": picture("PNG", "I;16"),
    "a palette": picture("PNG", "P"),
    "one bit": picture("PNG", "1"),
    "transparency": picture("PNG", "LA"),
    "a JPEG with a PNG's name": picture("JPEG"),
    "a GIF with a PNG's name": picture("GIF", "P"),
    "one pixel": picture(size=(1, 1)),
    "a PNG without its end": picture()[:-12],
    "a tail of rubbish": picture("JPEG") + b"rubbish" * 100,
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", GOOD)
def test_odd_pictures_are_pictures(name, trained):
    spoil(GOOD[name])
    result = run_(train("set", "--set", "data.on_bad_image=error"), trained)
    assert result.exit_code == 0, result.stderr
    assert run_(check(), trained).exit_code == 0


@pytest.mark.parametrize(
    "name", ["with space", "蚂蚁", "$a$", "'quoted\"", "-dash", "x" * 200, "new\nline", "\udcff\udcfe"]
)
def test_odd_names_are_names(name, trained):
    root = class_folders(classes=["ants", "bees"])
    try:
        (root / "val/bees/0.png").rename(root / "val/bees" / f"{name}.png")
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    for split in ("train", "val") if "\udcff" not in name else ():
        (root / split / "ants").rename(root / split / name)
    (root / "val/bees/notes").write_text("to be named among the files left out")
    (root / "val/bees/notes").rename(root / "val/bees" / f"{name}.txt")
    result = run_([word for word in train() if word != "-q"], trained)
    assert result.exit_code == 0, result.stderr
    report = run_(check(), trained)
    assert report.exit_code == 0
    assert report.stdout.count("\n") == 11, "a line is a line whatever names are in it"
    assert run_(check("set", "--json", "--output", "report"), trained).exit_code == 0
    for more in ([], ["--json"], ["-o", "out/p.csv"], ["-o", "out/p.json"]):
        result = run_(["predict", "out", "set/val", "-q", *more], trained)
        assert result.exit_code == 0, result.stderr


# Data that change between the check and the training


@pytest.fixture
def after_the_check(monkeypatch):
    """Give a function, to be called when all pictures have been checked."""

    def arrange(change):
        really = open_data

        def changing(*args, **kwargs):
            data = really(*args, **kwargs)
            change()
            return data

        monkeypatch.setattr("xfer.recipe.meaning.open_data", changing)

    return arrange


CHANGES = {
    "vanishes": lambda path: path.unlink(),
    "is emptied": lambda path: path.write_bytes(b""),
    "is cut short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "becomes a folder": lambda path: (path.unlink(), path.mkdir()),
    "becomes a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "becomes a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("cached", ["true", "false"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_changes_after_the_check_is_named(change, cached, after_the_check, trained):
    edit, path = CHANGES[change], class_folders() / "train/ants/0.png"
    after_the_check(lambda: edit(path))
    refused(run_(train("set", "--set", f"features.cache={cached}"), trained), str(path))


def test_a_class_folder_that_vanishes_is_named(after_the_check, trained):
    root = class_folders()
    after_the_check(lambda: (root / "val/bees").rename(root / "gone"))
    refused(run_(train(), trained), "val/bees/0.png")
