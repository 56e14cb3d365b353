"""A run whose recipe names its data by a relative path, used from other folders."""

import json
import shutil
from contextlib import suppress

import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.errors import DataError
from xfer.recipe.load import as_recipe
from xfer.results.read import read_recipe
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import record

pytestmark = pytest.mark.usefixtures("declare", "undrawn_module")
SETTINGS = {"data": "d", "arch": "tiny", "weights": "random", "size": 32, "epochs": 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder, with data in `d`; beside it one without, `away`, and one with other data in `d`."""
    for name, counts in (("home", (4, 3)), ("other", (4, 5))):
        write_class_folders(tmp_path / name / "d", ("ants", "bees"), counts)
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def evaluated(run, *more, code=0):
    result = CliRunner().invoke(main, ["evaluate", str(run), *more, "--json", "-q"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)["n"] if code == 0 else result.stderr


def stop(recipe, path, epochs):
    """Leave a run behind after so many of its epochs."""
    events = record.begin(recipe, NumpyBackend(), output=path)
    for _ in range(1 + epochs):
        next(events)
    with suppress(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())


def resumed(path, *more, code=0):
    """The run as it ended, or the error."""
    result = CliRunner().invoke(main, ["train", "--resume", str(path), *more, "-q"])
    assert result.exit_code == code, result.output
    return xfer.Run.load(path) if code == 0 else result.stderr


@pytest.mark.parametrize("folder", ["home", "away", "other"])
def test_it_is_evaluated_on_its_own_data_from_any_folder(home, tmp_path, monkeypatch, folder):
    run = xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="run")
    assert read_recipe(run.path).data.source == "d"
    monkeypatch.chdir(tmp_path / folder)
    assert evaluated(home / "run") == 6
    assert evaluated(home / "run", "--data", str(tmp_path / "other" / "d")) == 10
    assert len(xfer.Run.load(home / "run").evaluate(backend=NumpyBackend()).labels) == 6


def test_an_archive_is_found_from_any_folder(home, tmp_path, monkeypatch):
    shutil.make_archive("d", "zip", "d")
    xfer.train(as_recipe(None, SETTINGS | {"data": "d.zip"}), NumpyBackend(), output="run")
    monkeypatch.chdir(tmp_path / "away")
    assert evaluated(home / "run") == 6


def test_a_run_that_was_moved_with_its_data_finds_them(home, tmp_path, monkeypatch):
    xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="run")
    monkeypatch.chdir(home.rename(tmp_path / "moved"))
    assert evaluated("run") == 6


def test_data_that_are_gone_are_asked_for(home, tmp_path, monkeypatch):
    run = xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="run")
    (home / "d").rename(home / "e")
    error = evaluated("run", code=2)
    assert error == "error: data d: what it was trained on is no longer there. Cure: --data DIR\n"
    with pytest.raises(DataError, match="--data"):
        run.evaluate(backend=NumpyBackend())
    assert evaluated("run", "--data", "e") == 6


@pytest.mark.parametrize("epochs", [0, 1])
def test_it_goes_on_from_another_folder_as_it_would_have_at_home(home, tmp_path, monkeypatch, epochs):
    whole = xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="whole")
    stop(as_recipe(None, SETTINGS), home / "run", epochs)
    for folder in ("other", "away"):
        shutil.copytree(home / "run", tmp_path / folder / "run")
        monkeypatch.chdir(tmp_path / folder)
        run = xfer.train(backend=NumpyBackend(), resume="run")
        assert run.result["weights_digest"] == whole.result["weights_digest"]
        assert evaluated("run") == 6
        assert read_recipe(run.path).data.source == "d"


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("source", ["first", "first/last.safetensors"])
def test_weights_named_by_a_relative_path_are_found_from_another_folder(home, tmp_path, monkeypatch, source, epochs):
    for name, seed in (("home", 0), ("other", 1)):
        recipe = as_recipe(None, SETTINGS | {"data": str(tmp_path / name / "d"), "seed": seed})
        xfer.train(recipe, NumpyBackend(), output=tmp_path / name / "first")
    recipe = as_recipe(None, SETTINGS | {"weights": source, "weights.head": "keep"})
    whole = xfer.train(recipe, NumpyBackend(), output="whole")
    for folder in ("away", "other"):  # one has no weights of that name, and one has others
        monkeypatch.chdir(home)
        stop(recipe, home / folder, epochs)
        monkeypatch.chdir(tmp_path / folder)
        run = resumed(home / folder)
        assert run.result["weights_digest"] == whole.result["weights_digest"]
        assert run.result["parent"] == whole.result["parent"]
        assert read_recipe(run.path).weights.source == source


def test_weights_that_moved_with_the_run_are_found(home, tmp_path, monkeypatch):
    xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="first")
    recipe = as_recipe(None, SETTINGS | {"weights": "first"})
    whole = xfer.train(recipe, NumpyBackend(), output="whole")
    stop(recipe, home / "run", 1)
    moved = home.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert resumed("run").result["weights_digest"] == whole.result["weights_digest"]


def test_a_run_is_compared_with_random_weights_on_its_own_data_from_another_folder(home, tmp_path, monkeypatch):
    stop(as_recipe(None, SETTINGS), home / "run", 1)
    monkeypatch.chdir(tmp_path / "other")
    resumed(home / "run", "--against-random")
    baseline = xfer.Run.load(home / "run" / "from_random")
    assert (baseline.result["n_train"], baseline.result["n_val"]) == (8, 6)
    assert baseline.recipe.data.source == "d"
    monkeypatch.chdir(tmp_path / "away")
    assert evaluated(baseline.path) == 6
