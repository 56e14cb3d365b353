"""Training on pictures with any number of labels: it learns, writes what it says, and goes on as if never stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from shapes import write_shapes

import xfer
from xfer.comparison.compare import compare
from xfer.comparison.page import write_comparison
from xfer.errors import XferError
from xfer.recipe.load import make_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.results.predicted import read_predictions
from xfer.results.run import Run
from xfer.scores.labels import score_labels
from xfer.scores.thresholds import cross_fitted
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend

RECIPE = {
    "data.task": "multilabel",
    "data.workers": 1,
    "augment.size": 24,
    "augment.train": [{"op": "Resize", "size": [24, 24]}],
    "augment.eval": [{"op": "Resize", "size": [24, 24]}],
    "weights.source": "random",
    "train.batch_size": 8,
    "optimizer.kind": "adam",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", count=60)


def trained(table, path, backend, **changes):
    every = {"train.epochs": 4, "optimizer.lr": 0.01, "train.train_from": "stem"} | RECIPE | changes
    return xfer.train(data=str(table), backend=backend, output=path, **every)


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    """One of each framework, of the convnet."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for name in ("torch", "mindspore"):
        require(name)
        found[name] = trained(table, folder / name, name, **{"model.arch": "convnet"})
    return found


def test_both_frameworks_learn_and_write_down_the_same(runs):
    for name, run in runs.items():
        assert run.result["val_map"] > 0.9, name
        assert "val_accuracy" not in run.result
        assert set(run.result["thresholds"]) != {0.5}
        row = run.history[-1]
        assert row.keys() >= {"val_map", "val_exact_match", "train_exact_match"}
        assert not row.keys() & {"val_accuracy", "train_accuracy"}
        assert run.result["best_epoch"] == max(run.history, key=lambda e: (e["val_map"], -e["val_loss"]))["epoch"]
    first, second = runs.values()
    assert first.result["batches_digest"] == second.result["batches_digest"]
    for a, b in zip(first.history, second.history, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-3)


def test_an_evaluation_has_the_figures_of_the_result_and_judges_other_pictures_by_the_thresholds_that_were_kept(
    runs, tmp_path
):
    other = write_shapes(tmp_path / "other", count=30, seed=5)
    for run in runs.values():
        own = run.evaluate()
        for figure, found in own.metrics.figures():
            assert found.value == pytest.approx(run.result["label_metrics"][figure]["value"], rel=1e-5)
        assert own.mean_average_precision == pytest.approx(run.result["val_map"], abs=1e-12)
        elsewhere = run.evaluate(other)
        said = (elsewhere.probabilities >= np.float32(run.result["thresholds"])).astype(np.int64)
        assert np.array_equal(elsewhere.decided, said)
        assert elsewhere.metrics.n == 30


def test_predictions_are_those_of_the_checkpoint_and_figures_those_of_the_predictions(runs):
    for name, run in runs.items():
        rows = read_predictions(run.path / "predictions.csv")
        scores = score_labels(rows.labels, rows.probabilities.astype(np.float32), rows.predictions, rows.classes)
        assert scores.as_json() == run.result["label_metrics"] == run.metrics.as_json()
        assert rows.labels.shape == (12, 3)
        out_of_fold = cross_fitted(rows.labels, rows.probabilities.astype(np.float32))
        assert (rows.predictions == out_of_fold).all()
        for other in runs:  # whichever wrote it, on whichever
            again = run.predict(list(rows.files), backend=other, progress=lambda *_: None)
            np.testing.assert_allclose(again.probabilities, rows.probabilities, atol=1e-5)
            cuts = np.array(run.result["thresholds"])
            wanted = [{c for c, p, cut in zip(rows.classes, row, cuts, strict=True) if p >= cut}
                      for row in again.probabilities]  # fmt: skip
            assert [set(filter(None, label.split("|"))) for label in again.labels] == wanted
        assert load_checkpoint(run.path).thresholds == tuple(run.result["thresholds"]), name


def test_an_evaluation_of_its_own_pictures_is_what_the_run_said(runs):
    for run in runs.values():
        result = run.evaluate()
        assert result.mean_average_precision == pytest.approx(run.result["val_map"])
        assert result.accuracy == run.result["val_exact_match"]


CHANGES = {
    "frozen, with kept features": {"train.train_from": "head", "train.epochs": 4},
    "smoothed and weighed": {"loss.label_smoothing": 0.1, "loss.class_weights": "balanced"},
    "weighed by name": {"loss.class_weights": {"red": 1.0, "green": 2.0, "blue": 3.0}},
    "mixed": {"mix.mixup": 0.2, "mix.cutmix": 1.0},
    "with averages and patience": {"train.ema": 0.9, "train.patience": 1},
    "in parts": {"train.batch_size": 4, "train.accumulate": 2},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_a_recipe_asks_for_goes_with_any_number_of_labels(table, tmp_path, changes):
    usual = {"model.arch": "tiny", "optimizer.lr": 0.02, "train.epochs": 3}
    run = trained(table, tmp_path / "run", NumpyBackend(), **usual | changes)
    again = trained(table, tmp_path / "again", NumpyBackend(), **usual | changes)
    assert run.result["weights_digest"] == again.result["weights_digest"]
    assert np.isfinite(run.result["val_loss"])
    assert run.result["val_map"] > 0.5


def test_kept_features_change_nothing(table, tmp_path):
    require("torch")
    usual = {"model.arch": "convnet", "train.train_from": "head", "train.epochs": 3}
    kept = trained(table, tmp_path / "a", "torch", **usual)
    fresh = trained(table, tmp_path / "b", "torch", **usual, **{"features.cache": False})
    assert kept.result["weights_digest"] == fresh.result["weights_digest"]
    assert [row["val_map"] for row in kept.history] == [row["val_map"] for row in fresh.history]


def test_a_run_that_was_stopped_ends_with_the_same_bits(table, tmp_path):
    usual = {"model.arch": "tiny", "train.epochs": 3}
    whole = trained(table, tmp_path / "whole", NumpyBackend(), **usual)

    def stop(what, done, total):
        if what == "epoch 3" and done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(table, tmp_path / "part", NumpyBackend(), **usual, progress=stop, checkpoint_every=1e-9)
    resumed = xfer.train(resume=tmp_path / "part", backend=NumpyBackend(), progress=False)
    assert resumed.result["weights_digest"] == whole.result["weights_digest"]
    assert resumed.result["label_metrics"] == whole.result["label_metrics"]
    assert resumed.result["resumed"]


def test_a_set_without_a_label_to_validate_with_is_refused(tmp_path):
    table = write_shapes(tmp_path / "set", count=10, splits=("train", "val"))
    lines = [line if line.endswith("train") or line.startswith("path") else line.split(",")[0] + ",,val"
             for line in table.read_text().splitlines()]  # fmt: skip
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(XferError, match="no validation picture has a label") as caught:
        trained(table, tmp_path / "run", NumpyBackend(), **{"model.arch": "tiny"})
    assert "Cure" in str(caught.value)
    assert not Path(tmp_path / "run").exists()


def test_a_set_whose_pictures_all_have_the_same_labels_is_refused(tmp_path):
    table = write_shapes(tmp_path / "set", count=10)
    with pytest.raises(XferError, match=r"every training picture has the same labels \(img\)"):
        trained(table.parent, tmp_path / "run", NumpyBackend(), **{"model.arch": "tiny"})
    assert not Path(tmp_path / "run").exists()


def test_predictions_that_say_something_else_than_the_result_are_refused(table, tmp_path):
    run = trained(table, tmp_path / "a", NumpyBackend(), **{"model.arch": "tiny"})
    other = trained(table, tmp_path / "b", NumpyBackend(), **{"model.arch": "tiny"})
    file = run.path / "predictions.csv"
    text = file.read_text()
    head, first, *rest = text.splitlines()
    name, labels, predicted, *shares = first.split(",")
    every = "blue|green|red"
    for changed, words in (
        ([name, labels, every if predicted != every else "", *shares], "label_metrics"),
        ([name, every if labels != every else "", predicted, *shares], "label_metrics"),
        ([name, labels, "violet", *shares], "predicted = 'violet', expected some of blue, green, red, each once"),
        ([name, labels, "red|red", *shares], "each once"),
        ([name, labels, predicted, "1.5", *shares[1:]], "p_blue = '1.5', expected a number in"),
        ([name, labels, predicted, *shares[1:]], "another count of fields"),
    ):
        file.write_text("\n".join([head, ",".join(changed), *rest]) + "\n")
        with pytest.raises(XferError, match=words) as caught:
            compare([other, Run.load(run.path)])
        assert "\n" not in str(caught.value)
    file.write_text(text)
    assert compare([other, Run.load(run.path)]).pairs[0].n == 12


def test_a_record_of_both_tasks_is_refused(runs, tmp_path):
    run = runs["torch"]
    result = json.loads((run.path / "result.json").read_text())
    for broken, words in (
        ({**result, "val_accuracy": 0.5}, "unknown val_accuracy beside"),
        ({key: value for key, value in result.items() if key != "val_map"}, "val_map is missing"),
        ({key: value for key, value in result.items() if key != "thresholds"}, "expected label_metrics and thresholds"),
        ({**result, "thresholds": [0.5]}, "have 1 labels, of 3 classes"),
    ):
        (tmp_path / "result.json").write_text(json.dumps(broken))
        with pytest.raises(XferError, match=words):
            Run.load(tmp_path)


def test_folds_judge_every_picture_once_and_by_a_network_without_it(table, tmp_path):
    recipe = make_recipe({}, RECIPE | {"data.source": str(table), "model.arch": "tiny", "train.epochs": 2})
    result = xfer.cross_validate(recipe, folds=3, backend=NumpyBackend(), output=tmp_path / "folds", progress=False)
    assert result.metrics.n == 60
    record = json.loads((tmp_path / "folds" / "summary.json").read_text())
    assert record["label_metrics"] == result.metrics.as_json()
    assert record["mean"].keys() == {"mean_average_precision", "macro_f1", "last_mean_average_precision"}
    assert "accuracy" not in record["folds"][0]
    rows = read_predictions(tmp_path / "folds" / "predictions.csv")
    assert len(set(rows.files)) == 60
    truth = dict(line.split(",") for line in table.read_text().splitlines()[1:])
    wanted = {file: {*filter(None, labels.split("|"))} for file, labels in truth.items()}
    found = {f"img/{Path(file).name}": {rows.classes[i] for i in np.flatnonzero(row)}
             for file, row in zip(rows.files, rows.labels, strict=True)}  # fmt: skip
    assert found == wanted
    assert "mean average precision of 60 pictures" in (tmp_path / "folds" / "report.html").read_text()


def test_runs_are_compared_by_mean_average_precision(runs, table, tmp_path):
    first = trained(table, tmp_path / "a", NumpyBackend(), **{"model.arch": "tiny"})
    again = trained(table, tmp_path / "b", NumpyBackend(), **{"model.arch": "tiny"})
    worse = trained(
        table, tmp_path / "c", NumpyBackend(), **{"model.arch": "tiny", "optimizer.lr": 1e-6, "train.epochs": 1}
    )
    same, other = compare([first, again, worse]).pairs
    assert (same.same_predictions, same.verdict, same.mean_average_precision.value) == (12, "equivalent", 0.0)
    rows = [read_predictions(run.path / "predictions.csv") for run in (first, worse)]
    exact = [(of.labels == of.predictions).all(axis=1) for of in rows]
    assert other.only_first == int((exact[0] & ~exact[1]).sum())
    assert other.balanced_accuracy is None
    ranked = other.mean_average_precision
    assert ranked.value == pytest.approx(worse.result["val_map"] - first.result["val_map"])
    assert ranked.interval.low < ranked.value < ranked.interval.high
    both = compare([first, runs["torch"]])
    assert both.pairs[0].n == 12
    image = compare([first, worse]).disagreements[0]
    assert image.probabilities == (None, None)
    write_comparison(compare([first, worse]), [first, worse], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<strong>{first.result['val_map']:.4f}</strong> mean average precision on 12 validation images" in page
    assert all(f"<th>{head}</th>" in page for head in ("mean average precision", "exact match", "same labels"))
    assert "ccuracy" not in page


def test_a_rate_is_found_for_any_number_of_labels(table):
    recipe = make_recipe({}, RECIPE | {"data.source": str(table), "model.arch": "tiny"})
    found = xfer.find_lr(recipe, backend=NumpyBackend(), steps=30, progress=False)
    assert len(found.losses) > 5
    assert found.losses[0] == pytest.approx(np.log(2), abs=0.2)
