"""Training on data from where they are: the run of the same pictures in class folders to the bit, and what follows."""

import json
import re
import shutil
from importlib.metadata import EntryPoint, entry_points

import pytest
from click.testing import CliRunner
from hub_sets import save
from safetensors.numpy import load_file
from served import serving
from stopped_runs import recipe_of, stopped_in
from stopped_runs import train as go_on

import xfer
from xfer.backends import GROUP
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.system import remote
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Class folders `set` with a table, an archive of them, and what the library of Hugging Face saves of them."""
    given = tmp_path_factory.mktemp("given")
    root = write_class_folders(given / "set", counts=(6, 3), size=(32, 32))
    files = sorted(root.rglob("*.png"))
    rows = [f"{file.relative_to(root)},{file.parent.name},{file.parts[-3]}\n" for file in files]
    (root / "labels.csv").write_text("path,label,split\n" + "".join(rows))
    shutil.make_archive(str(given / "set"), "zip", root)
    save(root, given / "saved")
    return given


@pytest.fixture
def server(given, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.put(given / "set", "/d")
        server.files["/set.zip"] = (given / "set.zip").read_bytes()
        yield server


def train(data, output, backend="numpy", **more):
    chosen, device = require(backend)
    arch = {} if backend == "numpy" else {"device": device}
    usual = {"weights": "random", "size": 32, "epochs": 1, "batch_size": 4, "views": 1, "progress": False}
    names = {"arch": "tiny" if backend == "numpy" else "convnet"}
    more = {"set": {"model.dropout": 0.0}} | more
    return xfer.train(None, chosen, data=data, output=output, **usual, **names, **arch, **more)


def same_run(one, other):
    assert one.result["batches_digest"] == other.result["batches_digest"]
    ours, theirs = (load_file(run.path / "best.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys()
    return all((ours[name] == theirs[name]).all() for name in theirs)


@pytest.fixture(scope="module")
def declared_backends():
    numpy = EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", GROUP)
    return {"numpy": numpy} | {entry.name: entry for entry in entry_points(group=GROUP)}


@pytest.mark.parametrize("backend", ["numpy", "torch", "mindspore"])
@pytest.mark.usefixtures("declare")
def test_each_source_gives_the_same_run_to_the_bit(given, server, tmp_path, backend):
    folders = train(given / "set", tmp_path / "folders", backend)
    sources = [f"{server.url}/d/labels.csv", f"hf:{given / 'saved'}"]
    for number, source in enumerate(sources + ([f"{server.url}/set.zip"] if backend == "numpy" else [])):
        run = train(source, tmp_path / str(number), backend)
        assert same_run(run, folders), source
        assert json.loads((run.path / "env.json").read_text())["data"] == source
        assert run.evaluate().accuracy == folders.evaluate().accuracy


@pytest.mark.usefixtures("declare")
def test_evaluating_names_and_folds(given, server, tmp_path):
    source = f"{server.url}/d/labels.csv"
    run = train(source, tmp_path / "run")
    assert run.evaluate(given / "set").accuracy == run.evaluate(source).accuracy == run.result["val_accuracy"]
    rows = (run.path / "predictions.csv").read_text().splitlines()[1:]
    names = {re.search(r"(val/\w+/\d\.png),", row)[1] for row in rows}
    assert names == {f"val/{name}/{i}.png" for name in ("ants", "bees") for i in range(3)}
    server.files.clear()  # nobody answers any more
    assert xfer.Run.load(run.path).evaluate().accuracy == run.result["val_accuracy"]
    folds = [
        train(data, tmp_path / name, set={"model.dropout": 0.0, "data.folds": 3, "data.fold": 2})
        for name, data in (("own", f"hf:{given / 'saved'}"), ("folders", given / "set"))
    ]
    assert same_run(*folds)


def test_a_run_goes_on_and_not_on_other_data(given, server, tmp_path, unthrottled):
    source = f"{server.url}/d/labels.csv"
    whole = go_on(recipe_of(given / "set"), tmp_path / "whole").path
    path = stopped_in(tmp_path / "stopped", recipe_of(source))
    before = server.files.copy()
    server.files["/d/labels.csv"] = before["/d/labels.csv"].replace(b"train/ants/0.png,ants", b"train/ants/0.png,bees")
    with pytest.raises(CheckpointError, match=r"data .*changed since"):
        go_on(None, path, resume=path)
    server.files.update(before)
    go_on(None, path, resume=path)
    ours, theirs = (load_file(run / "last.safetensors") for run in (path, whole))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


NUMPY = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "-q", "--set", "model.dropout=0"]
SECRET = "geheim"


@pytest.mark.usefixtures("declare")
def test_a_password_stands_in_nothing_that_a_run_or_a_study_writes(given, server, tmp_path):
    server.login = f"me:{SECRET}"
    source = server.url.replace("//", f"//me:{SECRET}@") + "/set.zip"
    called = ["train", "--data", source, "--size", "32", "--epochs", "1", *NUMPY, "--output", tmp_path / "run"]
    said = [call(*called), call("data", "check", source, "--output", tmp_path / "checked")]
    said += [call("evaluate", tmp_path / "run"), call("evaluate", tmp_path / "run", "--data", source)]
    assert "***@127.0.0.1" in (tmp_path / "run/config.toml").read_text()
    for folder in (tmp_path / "run", tmp_path / "checked"):
        for file in folder.rglob("*"):
            assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file
    assert not any(SECRET in text for text in said)
    assert json.loads(call("data", "check", source, "--json"))["classes"]


def call(*words):
    result = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("declare")
def test_columns_are_named_where_there_are_columns(given, server, tmp_path):
    for source in (f"{server.url}/d/labels.csv", f"hf:{given / 'saved'}"):
        assert "ants" in call(
            "data", "check", source, "--set", "data.columns.label=label", "--set", f"data.source={source}"
        )
    words = ["data", "check", "x", "--set", "data.source=torchvision:MNIST@x", "--set", "data.columns.label=y"]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "columns are those of a table" in result.output
