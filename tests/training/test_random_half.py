"""The comparison with a run from random weights, stopped anywhere: `--resume auto` goes on to its end."""

import json

import pytest
from click.testing import CliRunner
from stopped_runs import stop_now

from xfer.cli.main import main
from xfer.results.read import STATE, is_finished
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_folders, resumptions

FLAGS = [
    *("--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "3", "--quiet"),
    *("--batch-size", "6", "--checkpoint-every", "1e-9"),
]
PICTURE = "plots/against_random.png"


@pytest.fixture(scope="module", autouse=True)
def nothing_is_drawn():
    """Here pictures are."""


@pytest.fixture(scope="module")
def uncompared(data, tmp_path_factory, declare):
    """The folder in which everything ended undisturbed."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        xfer_("train", data, *FLAGS, "--against-random")
    (run,) = (place / "runs").iterdir()
    return run


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + repr(result.exception)
    return result


def the_run(place):
    (run,) = (place / "runs").iterdir()
    return run


def stopped(data, monkeypatch, at):
    """Killed, as far as files go, where a step of the second run is the `at`-th of all."""
    from xfer.testing import numpy_backend

    step, count = numpy_backend.NumpyTrainStep.__call__, [0]

    def counted(self, batch, lrs):
        count[0] += 1
        if count[0] == at:
            raise SystemExit(137)
        return step(self, batch, lrs)

    with monkeypatch.context() as patch:
        patch.setattr(numpy_backend.NumpyTrainStep, "__call__", counted)
        xfer_("train", data, *FLAGS, "--against-random", code=137)


@pytest.mark.usefixtures("declare", "undrawn", "unthrottled")
@pytest.mark.parametrize("at", [3, 10, 13])
def test_resume_auto_finishes_the_second_half(data, tmp_path, monkeypatch, uncompared, at):
    """Stopped in the first run; at the first step of the second, and in its second epoch: nine steps in each."""
    monkeypatch.chdir(tmp_path)
    stopped(data, monkeypatch, at)
    path = the_run(tmp_path)
    assert is_finished(path) == (at > 9)
    assert json.loads((path / "env.json").read_text())["to_compare"] == "same"
    xfer_("train", "--resume", "auto", "--quiet")
    assert the_run(tmp_path) == path  # and no fresh one beside it
    assert_same_folders(uncompared, path)
    assert_same_folders(uncompared / "from_random", path / "from_random")
    assert (path / PICTURE).stat().st_size > 1000
    assert "Against the run from random weights" in (path / "report.html").read_text()
    assert "to_compare" not in json.loads((path / "env.json").read_text())
    if at == 13:
        assert [row["epoch"] for row in resumptions(path / "from_random")] == [2]
    assert "is finished" in xfer_("train", "--resume", path, "--quiet").stdout


@pytest.mark.usefixtures("declare", "undrawn", "unthrottled")
def test_only_the_drawing_is_missing(data, tmp_path, monkeypatch, uncompared):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("xfer.training.baseline.draw_against", lambda *args: stop_now())
        result = xfer_("train", data, *FLAGS, "--against-random", code=130)
    path = the_run(tmp_path)
    assert result.stderr.splitlines()[-1] == "interrupted"
    before = (path / "from_random" / "result.json").read_bytes()
    xfer_("train", "--resume", "auto", "--quiet")
    assert (path / "from_random" / "result.json").read_bytes() == before
    assert (path / PICTURE).read_bytes() == (uncompared / PICTURE).read_bytes()


@pytest.mark.usefixtures("declare", "undrawn", "unthrottled")
def test_what_is_left_out_is_not_waited_for(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopped(data, monkeypatch, 10)
    path = the_run(tmp_path)
    xfer_("train", "--resume", path, "--no-against-random", "--quiet")
    assert not (path / PICTURE).exists()
    assert "to_compare" not in json.loads((path / "env.json").read_text())


@pytest.mark.usefixtures("declare", "undrawn", "unthrottled")
def test_an_interrupt_in_the_second_half_names_the_first_run(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(NumpyBackend, "import_weights", interrupting(NumpyBackend.import_weights, tmp_path))
        result = xfer_("train", data, *FLAGS, "--against-random", code=130)
    path = the_run(tmp_path)
    assert not (path / "from_random" / STATE).exists()
    assert result.stderr.splitlines()[-1] == f"interrupted. To go on: xfer train --resume {path.relative_to(tmp_path)}"


def interrupting(whole, place):
    def import_weights(self, model, weights):
        if list(place.glob("runs/*/result.json")):
            stop_now()
        whole(self, model, weights)

    return import_weights
