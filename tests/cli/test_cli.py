"""The command line on the NumPy backend: what it prints, what it writes, how it refuses."""

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

import xfer.__main__
from xfer.backends import GROUP
from xfer.cli.main import main
from xfer.formats.files import digest, read_weights, write_weights
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.pictures import write_class_folders

ABSENT = EntryPoint("absent", "no_such_package:Backend", GROUP)
BROKEN = EntryPoint("broken", "builtins:object", GROUP)


@pytest.fixture(scope="module")
def declared_backends(declared_backends):
    return declared_backends | {"absent": ABSENT, "broken": BROKEN}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures")


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


def train(data, output, *more, code=0):
    flags = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", 32, "--epochs", 2, "--lr", 0.05]
    return xfer_("train", "--data", data, "--output", output, *flags, *more, code=code)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train(data, path)
    return path


def test_train_says_what_it_does_and_where_everything_lies(data, tmp_path):
    lines = train(data, tmp_path / "r", "--set", "optimizer.head_lr_mult=10").stdout.splitlines()
    assert "numpy on cpu" in lines[0]
    assert "16 training and 8 validation images, 2 classes: ants, bees" in lines[1]
    (head,) = [line for line in lines if "head" in line]
    assert [cell.strip() for cell in head.strip("│").split("│")] == ["head", "2", "34", "0.5", "0"]
    assert any("trainable: 34 of" in line for line in lines)
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert "* best" in epochs[0]
    for name in ("best.safetensors", "report.html", "predictions.png"):
        assert any(line.endswith(name) and str(tmp_path / "r") in line for line in lines), name


def test_quiet_gives_the_result_alone(data, tmp_path):
    result = train(data, tmp_path / "r", "--quiet")
    assert result.stdout.startswith("best epoch")
    assert result.stderr == ""


def test_json_is_json_and_nothing_else(data, tmp_path):
    result = json.loads(train(data, tmp_path / "r", "--json").stdout)
    assert result["output"] == str(tmp_path / "r")
    assert result["val_accuracy"] == json.loads((tmp_path / "r" / "result.json").read_text())["val_accuracy"]


def test_against_random_trains_a_second_run_and_draws_both(data, tmp_path):
    result = train(data, tmp_path / "r", "--against-random")
    assert "from random weights" in result.stdout
    assert (tmp_path / "r" / "from_random" / "result.json").exists()
    assert (tmp_path / "r" / "plots" / "against_random.png").stat().st_size > 1000


def test_evaluate_agrees_with_the_run(run):
    wanted = json.loads((run / "result.json").read_text())
    figures = json.loads(xfer_("evaluate", run, "--json").stdout)
    assert (figures["accuracy"], figures["n"]) == (wanted["val_accuracy"], 8)
    assert json.loads(xfer_("evaluate", run, "--split", "all", "--json").stdout)["n"] == 24
    assert "of 8" in xfer_("evaluate", run).stdout


def test_evaluate_a_bare_checkpoint_needs_data(run, data):
    assert "--data" in xfer_("evaluate", run / "best.safetensors", code=2).stderr
    xfer_("evaluate", run / "best.safetensors", "--data", data)


def test_predict_takes_files_folders_and_globs(run, data, tmp_path):
    files = sorted((data / "val" / "ants").glob("*.png"))
    (row,) = json.loads(xfer_("predict", run, files[0], "--json").stdout)
    assert row["p_ants"] + row["p_bees"] == pytest.approx(1, abs=1e-6)
    assert len(xfer_("predict", run, data / "val" / "ants").stdout.splitlines()) == 4
    xfer_("predict", run, data / "val" / "*" / "0.png", "--output", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert set(rows[0]) == {"file", "predicted", "probability", "p_ants", "p_bees"}
    xfer_("predict", run, files[0], "-o", tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == [row]


def test_predict_replaces_predictions_alone(run, data, tmp_path):
    picture = data / "val" / "ants" / "0.png"
    for name in ("p.csv", "p.json"):
        (tmp_path / name).write_text('["mine"]')
        stderr = xfer_("predict", run, picture, "-o", tmp_path / name, code=2).stderr
        assert "is there, and holds no predictions. Cure: another --output, or --overwrite" in stderr
        assert (tmp_path / name).read_text() == '["mine"]'
        for flags in (["--overwrite"], []):
            xfer_("predict", run, picture, "-o", tmp_path / name, *flags)
        assert "p_bees" in (tmp_path / name).read_text()
    own = (run / "predictions.csv").read_bytes()
    xfer_("predict", run, picture, "-o", run / "predictions.csv", code=2)
    assert (run / "predictions.csv").read_bytes() == own


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_convert_there_and_back_keeps_every_value(run, data, tmp_path, suffix):
    xfer_("convert", run / "best.safetensors", tmp_path / f"w{suffix}")
    xfer_("convert", tmp_path / f"w{suffix}", tmp_path / "back.safetensors")
    assert digest(read_weights(tmp_path / "back.safetensors")[0]) == digest(read_weights(run / "best.safetensors")[0])
    assert np.array_equal(
        load_checkpoint(tmp_path / f"w{suffix}").weights["fc.weight"], load_checkpoint(run).weights["fc.weight"]
    )
    assert (
        xfer_("predict", tmp_path / f"w{suffix}", data / "val", "--json").stdout
        == xfer_("predict", run, data / "val", "--json").stdout
    )
    assert "exists already" in xfer_("convert", run / "best.safetensors", tmp_path / f"w{suffix}", code=2).stderr


def test_convert_replaces_no_file_of_something_else_beside_its_target(run, tmp_path):
    for content, flags in (("{}", []), ('{"mine": 1}', ["--overwrite"]), ("mine", [])):
        (tmp_path / "w.pth.json").write_text(content)
        error = xfer_("convert", run / "best.safetensors", tmp_path / "w.pth", *flags, code=2).stderr
        assert "w.pth.json: holds no metadata of weights, and would be replaced. Cure: another name" in error
        assert [path.read_text() for path in tmp_path.iterdir()] == [content]
    (tmp_path / "w.pth.json").unlink()
    for flags in ([], ["--overwrite"]):
        xfer_("convert", run / "best.safetensors", tmp_path / "w.pth", *flags)
    assert load_checkpoint(tmp_path / "w.pth").classes == load_checkpoint(run).classes


def test_words_beside_other_weights_are_not_believed(run, tmp_path):
    xfer_("convert", run / "best.safetensors", tmp_path / "w.pth")
    write_weights(tmp_path / "w.pth", {n: w + 1 for n, w in read_weights(tmp_path / "w.pth")[0].items()}, {})
    assert "not the classes" in xfer_("predict", tmp_path / "w.pth", run, code=2).stderr


BAD = {
    "missing folder": (["--data", "nowhere"], "nowhere"),
    "one class": (["--data", "one"], "one class"),
    "empty class": (["--data", "hollow"], "no picture in this class"),
    "broken TOML": (["-c", "broken.toml"], "not valid TOML"),
    "missing recipe": (["-c", "none.toml"], "no such file"),
    "unknown key": (["--set", "train.epoch=3"], "Did you mean 'epochs'"),
    "wrong type": (["--set", "train.epochs='three'"], "train.epochs"),
    "no value": (["--set", "train.epochs"], "expected key=value"),
    "views": (["--views", "many"], "views"),
    "unknown arch": (["--arch", "tyni"], "Did you mean 'tiny'"),
    "unknown stage": (["--train-from", "layer9"], "train_from = 'layer9'"),
    "unknown backend": (["--backend", "nunpy"], "Did you mean 'numpy'"),
    "absent backend": (["--backend", "absent"], "Cure: pip install"),
    "broken backend": (["--backend", "broken"], "does not implement"),
    "unknown device": (["--device", "cuda"], "can use cpu here"),
    "missing weights": (["--weights", "none.safetensors"], "none.safetensors"),
    "no such weights": (["--weights", "imagenet"], "there are none for tiny"),
    "not weights": (["--weights", "text.safetensors"], "text.safetensors"),
    "weights of another net": (["--weights", "other.safetensors"], "does not fit the network"),
    "not a number": (["--epochs", "many"], "'many' is not a valid integer"),
    "unknown flag": (["--epoch", "3"], "No such option"),
    "unwritable output": (["--output", "text.safetensors/run"], "cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_code_2_and_leaves_nothing(case, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_class_folders(tmp_path / "one", ("ants",))
    (write_class_folders(tmp_path / "hollow") / "train" / "wasps").mkdir()
    (tmp_path / "hollow" / "val" / "wasps").mkdir()
    (tmp_path / "broken.toml").write_text("train = [")
    (tmp_path / "text.safetensors").write_text("not weights")
    save_file({"conv1.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    before = sorted(tmp_path.rglob("*"))
    words, message = BAD[case]
    result = train(data, "run", *words, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "RUN", "none.png"], "none.png"),
        (["predict", "none", "none.png"], "no checkpoint here"),
        (["predict", "RUN", "DATA", "-o", "p.txt"], ".csv or .json"),
        (["evaluate", "RUN", "--data", "nowhere"], "nowhere"),
        (["convert", "none.pth", "x.ckpt"], "none.pth"),
        (["convert", "RUN/best.safetensors", "x.onnx"], "x.onnx"),
    ],
)
def test_the_other_commands_refuse_alike(words, message, run, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = xfer_(*(w.replace("RUN", str(run)).replace("DATA", str(data)) for w in words), code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_traceback_is_for_those_who_ask(data, tmp_path):
    result = CliRunner().invoke(main, ["--debug", "train", "--data", str(tmp_path / "x"), "--backend", "numpy"])
    assert isinstance(result.exception, xfer.XferError)


def test_help_waits_for_no_package_that_is_slow_to_import():
    slow = {"numpy", "PIL", "pydantic", "matplotlib", "torch", "rich"}
    code = f"import sys, xfer.cli.main; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


LEAVING = """
import atexit, sys
from xfer.__main__ import leave
atexit.register(print, "cleaned up")
print("said", end=" ")
leave(3)
"""


def test_the_command_ends_at_once_with_its_code_and_all_it_said(monkeypatch):
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said cleaned up\n", "")
    words = [sys.executable, "-m", "xfer", "--version"]
    closed = subprocess.run(words, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, check=False)
    assert (closed.returncode, closed.stderr) == (0, b"")
    codes = []
    monkeypatch.setattr(xfer.__main__, "main", lambda: sys.exit(5))
    monkeypatch.setattr(xfer.__main__, "leave", codes.append)
    xfer.__main__.run()
    assert codes == [5]
    results = {
        words: subprocess.run([sys.executable, "-m", "xfer", *words], capture_output=True, text=True, check=False)
        for words in [("--version",), ("train", "--epochs", "x"), ("no-such-command",)]
    }
    assert [done.returncode for done in results.values()] == [0, 2, 2]
    assert xfer.__version__ in results["--version",].stdout
    assert all(done.stderr.startswith("error: ") for words, done in results.items() if words != ("--version",))
