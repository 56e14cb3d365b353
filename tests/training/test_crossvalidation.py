"""Cross-validation: a fold is the run of its recipe, what is done is not repeated, all pictures are predicted."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError, ConfigError, DataError
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn_module")
USUAL = {"arch": "tiny", "weights": "random", "size": 32, "epochs": 2, "batch_size": 4, "lr": 0.05}
SAME = ("weights_digest", "batches_digest", "val_loss", "val_accuracy")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(7, 2), size=(32, 32))


def validated(data, output, backend=None, folds=3, progress=False, **more):
    backend = backend or NumpyBackend()
    return xfer.cross_validate(None, backend, folds=folds, data=data, output=output, progress=progress, **USUAL | more)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return validated(data, tmp_path_factory.mktemp("cv") / "cv")


def results(folder):
    return [json.loads((folder / f"fold-{n}" / "result.json").read_text()) for n in (1, 2, 3)]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_pictures_are_predicted_by_a_network_that_did_not_see_them(whole, data):
    predicted = rows(whole.path / "predictions.csv")
    every = sorted(str(file) for file in (data / "train").rglob("*.png"))
    assert sorted(row["file"] for row in predicted) == every
    by_fold = [row for n in (1, 2, 3) for row in rows(whole.path / f"fold-{n}" / "predictions.csv")]
    assert sorted(map(str, by_fold)) == sorted(map(str, predicted))
    labels, guesses = ([row[key] for row in predicted] for key in ("label", "predicted"))
    assert whole.metrics.n == 14
    assert whole.metrics.accuracy.value == pytest.approx(sk.accuracy_score(labels, guesses))
    assert whole.metrics.macro_f1.value == pytest.approx(sk.f1_score(labels, guesses, average="macro"))


def test_the_summary_is_of_the_folds(whole):
    record = json.loads((whole.path / "summary.json").read_text())
    assert record == json.loads(json.dumps(whole.as_json()))
    wanted = results(whole.path)
    assert [fold["accuracy"] for fold in record["folds"]] == [result["val_accuracy"] for result in wanted]
    assert [fold["n_val"] for fold in record["folds"]] == [5, 5, 4]
    accuracies = [result["val_accuracy"] for result in wanted]
    assert record["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert record["sd"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    page = (whole.path / "report.html").read_text()
    assert "Bengio and Grandvalet" in page
    assert "chosen on the same pictures" in page
    assert f"<strong>{record['metrics']['accuracy']['value']:.1%}</strong>" in page


def test_a_fold_is_the_run_of_its_recipe(whole, data, tmp_path):
    fold = {"data.folds": 3, "data.fold": 2}
    run = xfer.train(None, NumpyBackend(), data=data, output=tmp_path / "run", progress=False, set=fold, **USUAL)
    assert [run.result[key] for key in SAME] == [results(whole.path)[1][key] for key in SAME]
    assert run.evaluate(backend=NumpyBackend()).accuracy == run.result["val_accuracy"]


def test_what_is_done_is_not_repeated_and_what_was_stopped_goes_on(whole, data, tmp_path):
    def stop(what, done, total):
        begun.append(what)
        if begun.count("epoch 2") == 6:  # of fold 2
            raise Interrupted(2, between=True)

    begun, output = [], tmp_path / "cv"
    with pytest.raises(Interrupted) as stopped:
        validated(data, output, progress=stop)
    assert stopped.value.run == output
    assert (output / "fold-1" / "result.json").exists()
    assert not (output / "fold-2" / "result.json").exists()
    assert not (output / "summary.json").exists()
    before = (output / "fold-1" / "result.json").read_bytes()
    again = validated(data, output)
    assert (output / "fold-1" / "result.json").read_bytes() == before
    assert len(results(output)[1]["resumed"]) == 1
    assert [[r[key] for key in SAME] for r in results(output)] == [
        [r[key] for key in SAME] for r in results(whole.path)
    ]
    assert again.metrics == whole.metrics


class Other(NumpyBackend):
    name = "other"


def test_another_recipe_is_refused_and_overwritten_where_that_is_asked_for(whole, data, tmp_path):
    output = tmp_path / "cv"
    shutil.copytree(whole.path, output)
    with pytest.raises(
        CheckpointError, match=r"folds of another recipe \(seed = 0, wanted 1\). Cure: another --output"
    ):
        validated(data, output, seed=1)
    other = validated(data, output, seed=1, overwrite=True)
    assert results(output)[0]["seed"] == 1
    assert other.metrics != whole.metrics
    with pytest.raises(CheckpointError, match=r"backend = numpy, wanted other"):
        validated(data, output, Other(), seed=1)
    validated(data, output, Other(), seed=1, overwrite=True)
    assert {result["backend"] for result in results(output)} == {"other"}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "summary.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"its summary.json is of no cross-validation"):
        validated(data, tmp_path / "full")
    with pytest.raises(ConfigError, match=r"data.folds = 1"):
        validated(data, tmp_path / "one", folds=1)
    assert not (tmp_path / "one").exists()
    with pytest.raises(DataError, match="does not exist"):
        validated(tmp_path / "none", tmp_path / "unbegun")
    assert not (tmp_path / "unbegun").exists()


def test_data_that_change_between_folds_are_refused(data, tmp_path):
    own = tmp_path / "set"
    shutil.copytree(data / "train", own)
    validated(own, tmp_path / "cv", epochs=1)
    shutil.copy(own / "ants" / "0.png", own / "ants" / "more.png")
    shutil.rmtree(tmp_path / "cv" / "fold-3")
    with pytest.raises(CheckpointError, match=r"the folds share pictures: the data changed"):
        validated(own, tmp_path / "cv", epochs=1)


def test_kept_features_are_those_of_all_folds_and_change_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    frozen = {"train_from": "head", "views": 2}
    without = validated(data, tmp_path / "plain", set={"features.cache": False}, **frozen)
    alone = validated(data, tmp_path / "alone", **frozen)
    assert not (tmp_path / "cache" / "features").exists()
    monkeypatch.setenv("XFER_CACHE_LIMIT", "1GB")
    shared = validated(data, tmp_path / "shared", **frozen)
    entries = json.loads(CliRunner().invoke(main, ["cache", "ls", "--json"]).stdout)["entries"]
    assert sorted((entry["split"], entry["n"]) for entry in entries) == [
        ("train of all folds", 14),
        ("train of all folds", 14),
        ("val of all folds", 14),
    ]
    for kept, fresh, once in zip(results(alone.path), results(without.path), results(shared.path), strict=True):
        assert [once[key] for key in SAME] == [kept[key] for key in SAME]
        assert kept["batches_digest"] == fresh["batches_digest"]  # its pictures, views and order
        assert kept["val_loss"] == pytest.approx(fresh["val_loss"], abs=1e-6)  # BLAS rounds by the size of a batch


@pytest.mark.usefixtures("declare")
def test_the_command_line_says_and_goes_on(whole, data, tmp_path):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in USUAL.items()]

    def called(*words, code=0):
        result = CliRunner().invoke(main, ["train", *map(str, words)])
        assert result.exit_code == code, result.output + result.stderr + str(result.exception)
        return result

    shown = called(data, "--backend", "numpy", "--folds", 3, "--output", tmp_path / "cv", *flags).stdout
    assert [line for line in shown.splitlines() if line.startswith("fold ")] == [f"fold {n} of 3" for n in (1, 2, 3)]
    value = whole.metrics.accuracy.value
    assert f"{value:.2%} of 14 pictures right, each by the network without its fold" in shown
    shutil.rmtree(tmp_path / "cv" / "fold-2")
    again = called("--resume", tmp_path / "cv").stdout
    assert [line for line in again.splitlines() if line.startswith("fold ")] == [
        "fold 1 of 3, done before",
        "fold 2 of 3",
        "fold 3 of 3, done before",
    ]
    record = json.loads(called("--resume", tmp_path / "cv", "--json").stdout)
    assert record["metrics"] == whole.metrics.as_json()
    assert record["output"] == str(tmp_path / "cv")
    for words, message in (
        ([data, "--folds", 1, "--output", tmp_path / "x"], "data.folds = 1"),
        ([data, "--folds", 3, "--against-random"], "expected one of them"),
        (["--folds", 3, "--resume", tmp_path / "cv"], "leave out --folds"),
        (["--resume", tmp_path / "cv", "--seed", 5], "folds of another recipe (seed = 0, wanted 5)"),
        ([data, "--cv", 4], "Cure: --folds 4"),
    ):
        line = called(*words, "--backend", "numpy", code=2).stderr
        assert message in line
        assert line.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("declare")
def test_folds_go_on_from_another_folder_and_a_record_by_hand_is_one_line(data, tmp_path, monkeypatch):
    shutil.copytree(data / "train", tmp_path / "work" / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    output = tmp_path / "cv"
    first = validated("pictures", output, "numpy", epochs=1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.rmtree(output / "fold-3")

    def resumed(code=0):
        result = CliRunner().invoke(main, ["train", "--resume", str(output), "--json"])
        assert result.exit_code == code, result.output + result.stderr + str(result.exception)
        return result

    assert json.loads(resumed().stdout)["metrics"] == first.metrics.as_json()
    shutil.copytree(data / "val", tmp_path / "elsewhere" / "pictures")
    assert validated("pictures", output, "numpy", epochs=1, folds=2, overwrite=True).metrics.n == 4
    record = json.loads((output / "folds.json").read_text())
    no_folds = record["recipe"] | {"data": {"source": "pictures"}}
    for other in (
        {},
        record | {"recipe": "x"},
        record | {"backend": 1},
        record | {"recipe": no_folds},
        record | {"x": 1},
    ):
        (output / "folds.json").write_text(json.dumps(other))
        line = resumed(code=2).stderr
        assert "folds.json" in line
        assert "Cure: " in line
        assert line.count("\n") == 1


def test_loggers_hear_of_each_fold(data, tmp_path):
    folder = validated(data, tmp_path / "cv", loggers=["csv"]).path
    for n in (1, 2, 3):
        figures = [(row["epoch"], float(row["val_loss"])) for row in rows(folder / f"fold-{n}" / "metrics.csv")]
        lines = (folder / f"fold-{n}" / "metrics.jsonl").read_text().splitlines()
        assert figures == [(str(epoch["epoch"]), epoch["val_loss"]) for epoch in map(json.loads, lines)]
