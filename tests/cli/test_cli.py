"""The command line on the NumPy backend: what it prints, what it writes, how it refuses."""

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

import xfer.__main__
from xfer.backends import GROUP
from xfer.cli.main import main
from xfer.formats.files import digest, read_weights, write_weights
from xfer.results.checkpoint import load_checkpoint
from xfer.results.run import Run
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
    lines = result.stdout.splitlines()
    announced = "to compare: tiny from random weights, 2 epochs at 32 pixels. --no-against-random leaves it out"
    assert lines.index(announced) < [i for i, line in enumerate(lines) if line.startswith("epoch ")][2]
    assert "Against the run from random weights" in (tmp_path / "r" / "report.html").read_text()


def test_evaluate_agrees_with_the_run(run):
    wanted = json.loads((run / "result.json").read_text())
    figures = json.loads(xfer_("evaluate", run, "--json").stdout)
    assert (figures["accuracy"], figures["n"]) == (wanted["val_accuracy"], 8)
    assert json.loads(xfer_("evaluate", run, "--split", "all", "--json").stdout)["n"] == 24
    assert "of 8" in xfer_("evaluate", run).stdout


def test_evaluate_measures_every_picture_of_a_folder_without_splits(run, data, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(data / "val", folder)
    (folder / "ants" / "notes.txt").write_text("x")
    lines = xfer_("evaluate", run, "--data", folder).stdout.splitlines()
    assert "of 8)" in lines[0]
    assert lines[-1] == f"left out: {folder / 'ants' / 'notes.txt'}: not an image suffix"
    assert "left out" not in "".join(lines[:-1])
    assert "of 8)" in xfer_("evaluate", run, "--data", folder, "--split", "test", "-q").stdout
    figures = json.loads(xfer_("evaluate", run, "--data", folder, "--split", "train", "--json").stdout)
    wanted = json.loads(xfer_("evaluate", run, "--json").stdout)
    assert (figures["accuracy"], figures["loss"]) == (wanted["accuracy"], pytest.approx(wanted["loss"], rel=1e-6))
    assert figures["left_out"] == [{"path": str(folder / "ants" / "notes.txt"), "reason": "not an image suffix"}]


@pytest.mark.usefixtures("undrawn")
def test_evaluate_repeats_the_split_of_the_own_folder_from_wherever(data, tmp_path, monkeypatch):
    shutil.copytree(data / "train", tmp_path / "work" / "own")
    (tmp_path / "own").symlink_to(tmp_path / "work" / "own")
    monkeypatch.chdir(tmp_path / "work")
    train("own", tmp_path / "r", "-q")
    wanted = json.loads(xfer_("evaluate", tmp_path / "r", "--json").stdout)
    assert wanted["n"] == 4
    refusal = xfer_("evaluate", tmp_path / "r", "--split", "test", code=2).stderr
    assert "training validates on a part of it, and no third split" in refusal
    assert json.loads(xfer_("evaluate", tmp_path / "r", "--data", tmp_path / "own", "--json").stdout) == wanted
    monkeypatch.chdir(tmp_path / "r")
    assert json.loads(xfer_("evaluate", ".", "--data", tmp_path / "work" / "own", "--json").stdout) == wanted


@pytest.mark.usefixtures("undrawn")
def test_evaluate_a_split_kept_for_the_end(data, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(data, root)
    write_class_folders(tmp_path / "more", counts=(1, 3), seed=7)
    shutil.copytree(tmp_path / "more" / "val", root / "test")
    assert f"{root / 'test'} is kept for xfer evaluate --split test" in train(root, tmp_path / "r").stdout
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert (result["n_train"], result["n_val"], result["unvalidated"]) == (16, 8, [])
    line, *others = xfer_("evaluate", tmp_path / "r", "--split", "test").stdout.splitlines()
    assert "of 6)" in line
    assert "warning" not in "".join(others)
    copy = shutil.copy(root / "train" / "bees" / "1.png", root / "test" / "bees" / "0.png")
    warning = xfer_("evaluate", tmp_path / "r", "--split", "test").stdout.splitlines()[-1]
    assert warning.startswith("warning: 1 of these pictures have a copy in train")
    assert f"the first: {copy} = {root / 'train' / 'bees' / '1.png'}. Cure" in warning


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_class_without_validation_pictures_is_trained_and_named(data, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(data, root)
    shutil.rmtree(root / "val" / "ants")
    assert "warning: no validation pictures of ants: " in train(root, tmp_path / "a").stdout
    train(root, tmp_path / "b", "--seed", 1)
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert (result["classes"], result["n_val"], result["unvalidated"]) == (["ants", "bees"], 4, ["ants"])
    assert 0 <= result["val_accuracy"] <= 1
    with (tmp_path / "a" / "predictions.csv").open(encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"bees"}
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "Classes without validation images" in page
    assert "nan" not in xfer_("compare", tmp_path / "a", tmp_path / "b", "--json").stdout.lower()


def test_evaluate_a_bare_checkpoint_needs_data(run, data):
    assert "--data" in xfer_("evaluate", run / "best.safetensors", code=2).stderr
    xfer_("evaluate", run / "best.safetensors", "--data", data)


@pytest.mark.usefixtures("undrawn")
def test_predict_takes_the_suffixes_that_training_took(data, tmp_path):
    copy = tmp_path / "set"
    for file in data.rglob("*.png"):
        target = copy / file.relative_to(data).with_suffix(".gif")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(target)
    train(copy, tmp_path / "run", "--set", 'data.suffixes=[".gif"]')
    for source in (tmp_path / "run", tmp_path / "run" / "best.safetensors"):
        assert len(xfer_("predict", source, copy / "val" / "ants").stdout.splitlines()) == 4
        assert len(xfer_("predict", source, copy / "val" / "ants" / "*").stdout.splitlines()) == 4
    assert len(Run.load(tmp_path / "run").predict(copy / "val" / "ants").files) == 4
    assert "expected a file, a folder with pictures" in xfer_("predict", tmp_path / "run", data, code=2).stderr


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


def test_predict_goes_on_past_bad_files_and_says_so_with_exit_code_1(run, data, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(data / "val" / "ants", folder)
    (folder / "1a.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "empty.jpg").touch()
    lines = xfer_("predict", run, data / "val" / "ants").stdout.splitlines()
    result = xfer_("predict", run, folder, code=1)
    assert [line.split()[:2] for line in result.stdout.splitlines()[:4]] == [line.split()[:2] for line in lines]
    assert result.stdout.splitlines()[4:] == [
        f"not used: truncated  {folder / '1a.png'}",
        f"not used: empty file  {folder / 'empty.jpg'}",
    ]
    assert f"2 of 6 pictures could not be used, the first: {folder / '1a.png'} (truncated)." in result.stderr
    assert "All are above, in the last rows" in result.stderr
    result = xfer_("predict", run, folder, "-o", tmp_path / "p.csv", code=1)
    assert f"All are in {tmp_path / 'p.csv'}, in the last rows" in result.stderr
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["predicted"] != "", row["reason"]) for row in rows] == [(True, "")] * 4 + [
        (False, "truncated"),
        (False, "empty file"),
    ]
    assert rows[5]["file"] == str(folder / "empty.jpg")
    assert json.loads(xfer_("predict", run, folder, "--json", code=1).stdout)[4]["reason"] == "truncated"
    assert "1a.png: truncated" in xfer_("predict", run, folder / "1a.png", code=2).stderr


def test_predict_shows_as_many_classes_as_are_asked_for(run, data):
    (row,) = json.loads(xfer_("predict", run, data / "val" / "ants" / "0.png", "--json").stdout)
    (line,) = xfer_("predict", run, data / "val" / "ants" / "0.png", "--top", 3).stdout.splitlines()
    first, second = sorted(("ants", "bees"), key=lambda name: -row[f"p_{name}"])
    assert line == f"{first}  {row[f'p_{first}']:.2%}  {second}  {row[f'p_{second}']:.2%}  {row['file']}"


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
