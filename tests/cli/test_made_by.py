"""A run tells what made it: the command line, as it can be pasted, or what else did."""

import json
import shlex
from html import unescape

import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.results.report import write_report
from xfer.system.interrupts import Interrupted
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn_module")

FLAGS = ["-b", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "2"]
SPACED = "my  pictures & 'others'"  # two spaces, which a page would make one


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / SPACED, counts=(4, 2))


def said_by(*words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output + result.stderr
    return ["xfer", *words]


def environment(path):
    return json.loads((path / "env.json").read_text(encoding="utf-8"))


def shown(path):
    return unescape(write_report(path).read_text(encoding="utf-8"))


def test_a_run_tells_the_command_line_that_made_it(data, tmp_path):
    words = said_by("train", str(data), "-o", str(tmp_path / "run"), *FLAGS, "--quiet")
    assert environment(tmp_path / "run")["command"] == words
    page = shown(tmp_path / "run")
    assert f"<dt>Made by</dt><dd>{shlex.join(words)}</dd>" in page
    assert "white-space: pre-wrap" in page  # both spaces reach whoever pastes it
    assert "Resumed by" not in page


def test_a_run_from_python_says_so_and_one_that_goes_on_tells_both(data, tmp_path):
    path = tmp_path / "run"

    def stop(what, done, total):
        if what == "epoch 2":
            raise Interrupted(2)

    settings = {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 2, "train_from": "stem"}
    with pytest.raises(KeyboardInterrupt):
        xfer.train(None, "numpy", output=path, progress=stop, checkpoint_every=1e-9, **settings)
    assert environment(path)["command"] == "xfer.train(...)"
    words = said_by("train", "--resume", str(path), "--quiet")
    assert environment(path)["command"] == "xfer.train(...)"
    assert environment(path)["resumed_by"] == [words]
    page = shown(path)
    assert "<dt>Made by</dt><dd>xfer.train(...)</dd>" in page
    assert f"<dt>Resumed by</dt><dd>{shlex.join(words)}</dd>" in page


def test_a_run_of_before_this_was_noted_is_read(data, tmp_path):
    said_by("train", str(data), "-o", str(tmp_path / "run"), *FLAGS, "--quiet")
    known = environment(tmp_path / "run")
    del known["command"]
    (tmp_path / "run" / "env.json").write_text(json.dumps(known), encoding="utf-8")
    assert "Made by" not in shown(tmp_path / "run")
    said_by("evaluate", str(tmp_path / "run"))
