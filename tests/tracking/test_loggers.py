"""Who hears of a run besides its folder, and that none of them can harm it."""

import csv
import re
import struct
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.errors import AbsentError, ConfigError
from xfer.recipe.load import as_recipe
from xfer.results.read import STATE, is_finished
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.tracking import loggers
from xfer.tracking.logger import figures, flat
from xfer.tracking.table import FILE

EPOCHS = 3


class Told:
    """A logger that remembers."""

    def __init__(self):
        self.heard = []

    def __call__(self, started):
        self.heard.append(("started", started))
        return self

    def epoch(self, record):
        self.heard.append(("epoch", record["epoch"]))

    def end(self, result):
        self.heard.append(("end", result and result["epochs"]))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    data = write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (4, 3))
    return as_recipe(None, {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": EPOCHS})


def train(recipe, path, *told, **more):
    return xfer.train(recipe, NumpyBackend(), output=path, loggers=told, **more)


def stop_in_epoch(number):
    def progress(what, done, total):
        if what == f"epoch {number}":
            raise Interrupted(2, between=True)

    return progress


def test_it_hears_of_the_beginning_of_each_epoch_and_of_the_end(recipe, tmp_path):
    told = Told()
    run = train(recipe, tmp_path / "run", told)
    (_, started), *rest = told.heard
    assert rest == [("epoch", 1), ("epoch", 2), ("epoch", 3), ("end", EPOCHS)]
    assert (started.path, started.backend, started.device) == (run.path, "numpy", "cpu")
    assert flat(started.recipe)["train.epochs"] == EPOCHS
    assert list(started.history) == []


def test_one_that_goes_on_gives_what_was_done(recipe, tmp_path):
    first, second = Told(), Told()
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", first, progress=stop_in_epoch(3))
    assert first.heard[1:] == [("epoch", 1), ("epoch", 2), ("end", None)]
    xfer.train(resume=tmp_path / "run", backend=NumpyBackend(), loggers=[second])
    assert [record["epoch"] for record in second.heard[0][1].history] == [1, 2]
    assert second.heard[1:] == [("epoch", 3), ("end", EPOCHS)]


@pytest.mark.parametrize("when", ["__call__", "epoch", "end"])
def test_what_it_raises_is_said_once_and_ends_nothing(recipe, tmp_path, when, monkeypatch):
    def refuse(self, given):
        raise RuntimeError("the server\nis gone")

    broken, sound = type("Broken", (Told,), {when: refuse})(), Told()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = train(recipe, tmp_path / "run", broken, sound)
    assert [str(w.message) for w in said if "logger" in str(w.message)] == [
        "logger 'Broken' hears no more of this run: RuntimeError: the server is gone"
    ]
    assert sound.heard[-1] == ("end", EPOCHS)
    assert is_finished(run.path)
    assert not (run.path / STATE).exists()


def test_no_logger_changes_a_run(recipe, tmp_path):
    plain, logged = train(recipe, tmp_path / "plain"), train(recipe, tmp_path / "logged", "csv", "tensorboard")
    for key in ("weights_digest", "batches_digest", "val_loss"):
        assert plain.result[key] == logged.result[key]


def test_a_table_has_a_line_for_each_epoch_however_often_a_run_goes_on(recipe, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, path, "csv", progress=stop_in_epoch(3))
    with open(path / FILE, "a", encoding="utf-8") as lines:
        lines.write("3,1,of an epoch that comes again\n")
    run = xfer.train(resume=path, backend=NumpyBackend(), loggers=["csv"])
    with open(path / FILE, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["val_loss"]) for row in rows] == [record["val_loss"] for record in run.history]
    assert [row["best"] for row in rows] == [str(record["best"]) for record in run.history]


def events(folder):
    """Of TensorBoard: each is its length, a checksum, its bytes and another checksum; those after a restart take
    the place of earlier ones from its step on."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime_ns):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == SessionLog.START and event.step:
                found = [(step, value) for step, value in found if step < event.step]
            found += [(event.step, value) for value in event.summary.value]
    return found


def test_tensorboard_has_each_figure_of_each_epoch_once_and_the_pictures(recipe, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, path, "tensorboard", progress=stop_in_epoch(3))
    run = xfer.train(resume=path, backend=NumpyBackend(), loggers=["tensorboard"])
    found = events(path / "tensorboard")
    for name in ("val_loss", "train_accuracy", "lr"):
        assert [(s, pytest.approx(v.simple_value)) for s, v in found if v.tag == name] == [
            (record["epoch"], record[name]) for record in run.history
        ]
    (text,) = [value for _, value in found if value.tag.startswith("recipe")]
    assert b"| optimizer.lr | 0.01 |" in text.tensor.string_val[0]


def test_what_loggers_wrote_goes_where_a_run_is_replaced(recipe, tmp_path):
    path = tmp_path / "run"
    train(recipe, path, "tensorboard", "csv")
    (path / "tensorboard" / "mine.txt").write_text("mine")
    train(recipe, path, overwrite=True)
    assert not (path / FILE).exists()
    assert [file.name for file in (path / "tensorboard").iterdir()] == ["mine.txt"]


def test_the_environment_names_them(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv(loggers.VARIABLE, "csv, tensorboard")
    run = train(recipe, tmp_path / "run")
    assert (run.path / FILE).exists()
    assert (run.path / "tensorboard").is_dir()
    assert list(loggers.load_loggers([Told])) == ["Told"]


def test_one_that_is_unknown_or_not_installed_is_one_line_before_anything_else(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"^logger = 'tensorbord': expected one of .*Did you mean 'tensorboard'\?$"):
        loggers.load_loggers(["tensorbord"])
    entry = EntryPoint("far", "no_such_module:Logger", loggers.GROUP)
    monkeypatch.setattr(loggers, "declared", lambda: {"far": entry})
    said = r"^logger 'far' cannot be imported \(No module named 'no_such_module'\)\. Cure: pip"
    with pytest.raises(AbsentError, match=said):
        loggers.load_loggers(["far"])
    result = CliRunner().invoke(main, ["train", "no such folder", "--logger", "far", "-o", str(tmp_path / "run")])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "logger 'far'" in result.stderr


def test_tensorboards_events_need_no_framework():
    code = "import sys; sys.modules['torch'] = None; import xfer.tracking.tensorboard"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figures_are_the_numbers_alone():
    assert figures({"epoch": 3, "best": True, "lr": 0.1, "digest": "abc", "phase": 1}) == {"lr": 0.1, "phase": 1.0}


def test_the_logger_that_the_docs_give_works(recipe, tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    run = train(recipe, tmp_path / "run", names["Lines"])
    lines = (run.path / "lines.txt").read_text().splitlines()
    assert lines == [f"{record['epoch']} {record['val_accuracy']}" for record in run.history]
