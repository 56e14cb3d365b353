"""What people are shown of a run for any number of labels: report, pictures, lists, and commands."""

import json

import pytest
from click.testing import CliRunner
from shapes import write_shapes

import xfer
from xfer.cli.main import main
from xfer.results.run import Run
from xfer.testing.numpy_backend import NumpyBackend

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
