"""What people are shown of a run for any number of labels: report, pictures, lists, and commands."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from shapes import write_shapes

import xfer
from xfer.backend import Labelled
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.export.export import export
from xfer.export.runtime import open_onnx
from xfer.recipe.recipe import Mix
from xfer.results.checkpoint import load_checkpoint
from xfer.results.explained import most_wrong
from xfer.results.predicted import read_predictions
from xfer.results.run import Run
from xfer.scores.labels import log_losses
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.mixing import examples

RECIPE = {
    "data.task": "multilabel",
    "augment.size": 24,
    "augment.train": [{"op": "Resize", "size": [24, 24]}],
    "augment.eval": [{"op": "Resize", "size": [24, 24]}],
    "model.arch": "tiny",
    "weights.source": "random",
    "train.epochs": 3,
    "train.train_from": "stem",
    "optimizer.kind": "adam",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    table = write_shapes(tmp_path_factory.mktemp("shapes") / "set", count=40)
    return xfer.train(data=str(table), backend=NumpyBackend(), output=table.parent / "run", progress=False, **RECIPE)


@pytest.fixture
def said(run, declaring):
    """What a command prints."""

    def call(*words, code=0):
        with declaring():
            result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_a_report_has_every_label_and_no_accuracy(run):
    page = (run.path / "report.html").read_text()
    for words in ("mean average precision on 8 validation images", "Validation by label", "Exact match", "Thresholds"):
        assert words in page
    assert "accuracy" not in page.lower()
    names = {file.stem for file in (run.path / "plots").iterdir()}
    assert names == {"samples", "curves", "labels", "predictions", "top_losses"}


def test_an_evaluation_tells_whether_thresholds_were_chosen_with_its_pictures(run, said, tmp_path):
    own = json.loads(said("evaluate", run.path, "--json"))
    assert own["thresholds_out_of_fold"] is True
    assert own["label_metrics"] == run.result["label_metrics"]
    table = write_shapes(tmp_path / "others", count=12, seed=5)
    others = json.loads(said("evaluate", run.path, "--data", table, "--json", "-o", tmp_path / "out"))
    assert others["thresholds_out_of_fold"] is False
    assert others["n"] == 12
    assert others["thresholds"] == run.result["thresholds"]
    columns = (tmp_path / "out" / "pictures.csv").read_text().splitlines()[0]
    assert columns == "file,labels,predicted,loss,p_blue,p_green,p_red"
    words = said("evaluate", run.path)
    for part in ("mean average precision", "thresholds chosen out of fold", "Hamming loss", "threshold"):
        assert part in words


def test_predictions_are_the_labels_above_their_thresholds(run, said):
    picture = str(run.path.parent / "img" / "000.png")
    (row,) = json.loads(said("predict", run.path, picture, "--json"))
    wanted = [name for name, cut in zip(run.result["classes"], run.result["thresholds"], strict=True)
              if row[f"p_{name}"] >= cut]  # fmt: skip
    assert row["predicted"] == "|".join(wanted)
    assert "probability" not in row
    assert (
        json.loads(said("predict", run.path, picture, "--json", "--threshold", "1e-6"))[0]["predicted"]
        == "blue|green|red"
    )
    assert said("predict", run.path, picture, "--threshold", "0.999999").startswith("no label")


def test_options_of_classes_are_refused_for_labels(run, said):
    picture = str(run.path.parent / "img" / "000.png")
    assert "above their thresholds" in said("predict", run.path, picture, "--top", "2", code=2)
    assert "above their thresholds" in said("evaluate", run.path, "--top", "2", code=2)


def test_a_list_of_runs_and_a_notebook_have_the_precision(run, said):
    (row,) = json.loads(said("runs", "ls", run.path, "--json"))
    assert row["val_map"] == run.result["val_map"]
    assert f"{row['val_map']:.4f}" in said("runs", "ls", run.path)
    assert "Validation mAP" in run._repr_html_()
    assert "mAP" in repr(Run.load(run.path))


def test_tasks_are_not_mixed(run, said, tmp_path):
    folder = tmp_path / "classes" / "red"
    folder.mkdir(parents=True)
    assert "Cure" in said("evaluate", run.path, "--data", tmp_path / "classes", code=2)


def test_an_exported_model_knows_its_thresholds(run, said, tmp_path):
    pytest.importorskip("onnxruntime")
    model = tmp_path / "model.onnx"
    exported = export(run.path, model, backend=NumpyBackend())
    assert "the same labels" in str(exported.check)
    pictures = [str(file) for file in sorted((run.path.parent / "img").iterdir())[:6]]
    ours, theirs = (json.loads(said("predict", source, *pictures, "--json")) for source in (run.path, model))
    for a, b in zip(ours, theirs, strict=True):
        assert a["predicted"] == b["predicted"]
        assert a["p_red"] == pytest.approx(b["p_red"], abs=1e-5)
    assert open_onnx(model).about.thresholds == tuple(run.result["thresholds"])


def test_a_damaged_threshold_is_refused(run, tmp_path):
    checkpoint = load_checkpoint(run.path)
    for cuts in ((0.5,), (0.5, 0.5, 1.5)):
        replace(checkpoint, thresholds=cuts).save(tmp_path / "w.safetensors")
        with pytest.raises(CheckpointError, match="thresholds: expected 3 numbers between 0 and 1"):
            load_checkpoint(tmp_path / "w.safetensors")


def test_a_service_answers_with_labels(run, declaring):
    pytest.importorskip("starlette")
    pytest.importorskip("httpx")  # which its client of tests needs
    from starlette.testclient import TestClient

    from xfer.serving.app import Model, application
    from xfer.serving.batches import Batches
    from xfer.serving.serve import open_source

    with declaring():
        served = open_source(run.path, None, "auto")
    batches = Batches(served.make, 4)
    batches.ready.wait()
    assert batches.failed is None
    model = Model(served.name, served.classes, served.transforms, served.whole, batches, served.thresholds)
    picture = run.path.parent / "img" / "000.png"
    try:
        answer = TestClient(application(model, 10**6, 10.0)).post("/predict", content=picture.read_bytes()).json()
    finally:
        batches.close()
    (said,) = answer["predictions"]
    wanted = run.predict([str(picture)], backend=NumpyBackend(), progress=lambda *_: None)
    assert said["labels"] == [name for name in wanted.labels[0].split("|") if name]
    assert "class" not in said
    assert said["probabilities"]["red"] == pytest.approx(float(wanted.probabilities[0, 2]), abs=1e-6)


def test_a_check_of_the_data_counts_labels(run, said, tmp_path):
    table = run.path.parent / "table.csv"
    words = said("data", "check", table, "--set", "data.task=multilabel", "-o", tmp_path / "check")
    assert "labels a picture" in words
    record = json.loads((tmp_path / "check" / "data_check.json").read_text())
    counts = {row["name"]: row["train"] + row["val"] for row in record["classes"]}
    assert counts == {name: table.read_text().count(name) for name in ("blue", "green", "red")}
    assert (tmp_path / "check" / "data_check.png").exists()
    assert "data.task" in said("data", "check", table, code=2)


def test_the_most_wrong_pictures_are_those_of_the_highest_loss(run):
    wrong = [file for file, _ in most_wrong(run.path)]
    rows = read_predictions(run.path / "predictions.csv")
    losses = dict(zip(rows.files, log_losses(rows.labels, rows.probabilities), strict=True))
    assert wrong == sorted(losses, key=losses.get, reverse=True)


def test_pictures_that_are_mixed_are_named_by_their_labels(run):
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])
    pictures = np.zeros((4, 8, 8, 3), np.uint8)
    _, titles = examples(Mix(mixup=1.0), Labelled(pictures, labels), ("a", "b", "c"), 0)
    assert len(titles) == 4
    assert any("b, c" in title for title in titles)
    assert any("no label" in title for title in titles)
