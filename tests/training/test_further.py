"""A finished run that is resumed for more epochs: a new run trains on from it, and the old one is left as it is."""

import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.recipe.load import as_recipe
from xfer.results.read import read_recipe
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import record

pytestmark = pytest.mark.usefixtures("declare")
SETTINGS = {"data": "d", "arch": "tiny", "weights": "random", "size": 32, "epochs": 3, "weights.head": "fresh"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder, with data in `d`."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    write_class_folders(tmp_path / "home" / "d", ("ants", "bees"), (6, 3))
    return tmp_path / "home"


@pytest.fixture
def finished(home):
    return xfer.train(as_recipe(None, SETTINGS), NumpyBackend(), output="run")


def contents(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def command(*words, code=0):
    result = CliRunner().invoke(main, ["train", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_a_new_run_trains_the_missing_epochs_from_the_best_weights_and_head(home, finished):
    before = contents(home / "run")
    run = xfer.train(backend=NumpyBackend(), resume="run", output="on", epochs=5)
    assert contents(home / "run") == before
    assert [row["epoch"] for row in run.history] == [1, 2]
    weights = finished.result["weights_digest"]
    assert run.result["parent"] == {
        "path": str(home / "run/best.safetensors"),
        "weights_digest": weights,
        "head": "kept",
    }
    asked = as_recipe(finished.recipe, {"weights": "run", "weights.head": "keep", "epochs": 2})
    assert run.recipe == asked
    same = xfer.train(asked, NumpyBackend(), output="same")
    assert run.result["weights_digest"] == same.result["weights_digest"] != weights


def test_the_command_says_so_in_one_line_and_works_from_another_folder(home, finished, tmp_path, monkeypatch):
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    said = command("--resume", home / "run", "--epochs", 4)
    best = finished.result["best_epoch"]
    assert (
        f"{home / 'run'} is finished: a new run trains 1 epochs on from its best weights (of epoch {best}), "
        "with schedule and optimizer from their beginning\n"
    ) in said
    assert f"started from  {home / 'run' / 'best.safetensors'}, head kept\n" in said
    (path,) = (tmp_path / "away" / "runs").iterdir()
    assert read_recipe(path).data.source == "d"
    assert xfer.Run.load(path).result["n_train"] == 12


@pytest.mark.parametrize("epochs", [2, 3])
def test_as_many_epochs_or_fewer_are_no_new_run(home, finished, epochs):
    before = contents(home)
    if epochs == 3:
        assert "run is finished: there is nothing to go on with. More --epochs" in command(
            "--resume", "run", "--epochs", 3
        )
    else:
        assert "train.epochs was 3, 2 is asked for" in command("--resume", "run", "--epochs", 2, code=2)
    assert contents(home) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.1}, r"optimizer\.lr was 0\.01, 0\.1 is asked for"),
        ({"output": "run"}, r"--output run: is finished, .* new run\. Cure: --resume run with another --output"),
        ({"resume": "auto", "output": "run"}, r"Cure: --resume run with another --output, or without one"),
    ],
)
def test_what_it_cannot_be_is_one_line(home, finished, options, message):
    before = contents(home)
    with pytest.raises(ConfigError, match=message):
        xfer.train(backend=NumpyBackend(), **{"resume": "run", "epochs": 5, **options})
    assert contents(home) == before


def test_phases_give_their_own_epochs(home):
    content = as_recipe(None, SETTINGS).model_dump(mode="json", exclude_none=True) | {"phases": [{"epochs": 2}]}
    xfer.train(xfer.recipe.load.make_recipe(content, {}), NumpyBackend(), output="run")
    assert "each of its phases gives its own" in command("--resume", "run", "--epochs", 5, code=2)


def test_the_schedule_of_a_half_finished_run_stays(home):
    events = record.begin(as_recipe(None, SETTINGS), NumpyBackend(), output=home / "run")
    next(events)
    next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    before = contents(home / "run")
    assert "train.epochs was 3, 5 is asked for). Cure: leave that out" in command(
        "--resume", "run", "--epochs", 5, code=2
    )
    assert {file: file.read_bytes() for file in before} == before
    assert len(xfer.train(backend=NumpyBackend(), resume="run").history) == 3
