"""The figures of a run: in its files, from Python, of an older run, and on other pictures by the command line."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("declare", "undrawn_module")


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def run(folder, declaring):
    data = write_class_folders(folder / "pictures", ("ants", "bees", "cats"), counts=(6, 7))
    with declaring():
        usual = {"arch": "tiny", "size": 32, "epochs": 1, "batch_size": 4, "weights": "random", "progress": False}
        return xfer.train(None, "numpy", data=data, output=folder / "run", **usual)


def predicted(path):
    """Labels and probabilities of a table of pictures."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [column[2:] for column in rows[0] if column.startswith("p_")]
    labels = np.array([names.index(row["label"]) for row in rows])
    return rows, labels, np.array([[float(row[f"p_{name}"]) for name in names] for row in rows])


def test_a_run_says_what_scikit_learn_says_of_its_predictions(run):
    _, labels, chances = predicted(run.path / "predictions.csv")
    metrics, guesses = run.metrics, chances.argmax(axis=1)
    assert metrics.n == len(labels) == 21
    assert metrics.macro_f1.value == pytest.approx(sk.f1_score(labels, guesses, average="macro"))
    assert metrics.roc_auc.value == pytest.approx(sk.roc_auc_score(labels, chances / chances.sum(1, keepdims=True),
                                                                   multi_class="ovr"), rel=1e-6)  # fmt: skip
    assert metrics.log_loss.value == pytest.approx(run.result["val_loss"], rel=1e-5)
    written = json.loads((run.path / "result.json").read_text())["metrics"]
    assert written == metrics.as_json() == run.result["metrics"]


def test_a_run_of_before_has_the_metrics_of_its_predictions(run, folder):
    older = folder / "older"
    shutil.copytree(run.path, older)
    result = json.loads((older / "result.json").read_text())
    del result["metrics"]
    (older / "result.json").write_text(json.dumps(result))
    assert xfer.Run.load(older).metrics == run.metrics
    (older / "predictions.csv").write_text("file,label\n")
    with pytest.raises(CheckpointError, match=r"older/predictions.csv: holds no predictions .*Cure: "):
        _ = xfer.Run.load(older).metrics


@pytest.mark.parametrize(
    ("key", "value", "message"), [("n", 20, "support counts 21 pictures, expected 20"), ("accuracy", None, "accuracy")]
)
def test_metrics_by_hand_are_refused(run, folder, key, value, message):
    copy = folder / f"by_hand_{key}"
    shutil.copytree(run.path, copy)
    result = json.loads((copy / "result.json").read_text())
    result["metrics"][key] = value
    (copy / "result.json").write_text(json.dumps(result))
    with pytest.raises(CheckpointError, match=message):
        xfer.Run.load(copy)


def test_evaluate_gives_figures_and_a_row_for_each_picture(run, folder):
    shown = xfer_("evaluate", run.path, "--split", "all", "--top", 2, "--output", folder / "evaluated").stdout
    record = json.loads((folder / "evaluated" / "metrics.json").read_text())
    rows, labels, chances = predicted(folder / "evaluated" / "pictures.csv")
    assert (record["n"], record["classes"]) == (39, ["ants", "bees", "cats"])
    assert record["metrics"]["top_k"]["value"] == pytest.approx(sk.top_k_accuracy_score(labels, chances, k=2))
    for row, label, chance in zip(rows, labels, chances, strict=True):
        assert float(row["probability"]) == chance.max()
        assert int(row["rank"]) == 1 + (chance > chance[label]).sum()
        assert float(row["loss"]) == pytest.approx(-np.log(chance[label]), rel=1e-5)
        assert float(row["margin"]) == pytest.approx(chance[label] - np.delete(chance, label).max())
        assert f"/{row['label']}/" in row["file"]
    macro = next(line for line in shown.splitlines() if "Macro-F1" in line)
    figure = record["metrics"]["macro_f1"]
    assert f"{100 * figure['value']:.1f} %" in macro
    assert f"{100 * figure['low']:.1f} % to {100 * figure['high']:.1f} %" in macro
    bees = next(line for line in shown.splitlines() if "bees" in line and "13" in line)
    assert f"{100 * record['metrics']['by_class']['recall'][1]:.1f} %" in bees
    pair = record["metrics"]["confused"][0]
    assert f"{pair['label']} was taken for {pair['predicted']}: {pair['pictures']}" in shown
    again = xfer_("evaluate", run.path, "--split", "all", "--top", 2, "--output", folder / "evaluated", "--json")
    assert json.loads(again.stdout) == record


def test_evaluate_says_what_it_cannot(run, folder):
    shutil.copytree(folder / "pictures" / "val" / "bees", folder / "alone" / "bees")
    shutil.copytree(folder / "pictures" / "val" / "cats", folder / "alone" / "cats")
    record = json.loads(xfer_("evaluate", run.path, "--data", folder / "alone", "--json").stdout)
    by_class = record["metrics"]["by_class"]
    assert (by_class["support"], by_class["recall"][0], by_class["f1"][0]) == ([0, 7, 7], None, None)
    why = {reason["figure"]: reason["why"] for reason in record["metrics"]["undefined"]}
    assert why["top_k"] == "one of 5 is always right where there are 3 classes"


def test_evaluate_writes_into_no_folder_of_others(run, folder):
    (folder / "others").mkdir()
    (folder / "others" / "metrics.json").write_text("[]")
    line = xfer_("evaluate", run.path, "--output", folder / "others", code=2).stderr
    assert "its metrics.json is of no evaluation" in line
    assert line.count("\n") == 1
    assert "--top" in xfer_("evaluate", run.path, "--top", 0, code=2).stderr


def test_the_report_shows_the_figures(run):
    from xfer.results.report import write_report

    page = write_report(run.path).read_text()
    assert "<h2>Metrics</h2>" in page
    value = f"{100 * run.metrics.macro_f1.value:.1f} %"
    assert f"<tr><th>Macro-F1</th><td>{value}</td>" in page
    assert "metrics{" not in page


def test_compare_shows_macro_figures_with_paired_intervals(run, folder):
    turned = folder / "turned"
    shutil.copytree(run.path, turned)
    rows, labels, chances = predicted(turned / "predictions.csv")
    for row in rows[:3]:  # of ants: the same as others, but the first two classes change places
        row["p_ants"], row["p_bees"] = row["p_bees"], row["p_ants"]
        row["predicted"] = max(("ants", "bees", "cats"), key=lambda name: float(row[f"p_{name}"]))
    right = sum(row["label"] == row["predicted"] for row in rows)
    with (turned / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name in ("result.json", "metrics.jsonl"):
        record = json.loads((turned / name).read_text()) | {"val_accuracy": right / len(rows)}
        (turned / name).write_text(json.dumps(record) + "\n")
    record = json.loads(xfer_("compare", run.path, turned, "--json").stdout)
    after = predicted(turned / "predictions.csv")[2].argmax(axis=1)
    first, second = record["runs"]
    for key, figure in (
        ("macro_f1", lambda guesses: sk.f1_score(labels, guesses, average="macro", zero_division=0)),
        ("balanced_accuracy", lambda guesses: sk.balanced_accuracy_score(labels, guesses)),
    ):
        assert (first[key], second[key]) == pytest.approx((figure(chances.argmax(axis=1)), figure(after)))
        difference = record["pairs"][0][key]
        assert difference["value"] == pytest.approx(second[key] - first[key])
        assert difference["value"] != 0, "this test needs runs that differ"
        low, high = difference["interval"]
        assert low <= difference["value"] <= high
        assert high - low < 0.5
    shown = xfer_("compare", run.path, turned).stdout
    assert "macro-F1 differs by" in shown
    assert f"{first['macro_f1']:.2%}" in shown
    same = json.loads(xfer_("compare", run.path, run.path, "--json").stdout)["pairs"][0]
    assert same["macro_f1"] == {"value": 0.0, "interval": None}


def test_nothing_but_tests_needs_scikit_learn(run):
    import subprocess
    import sys

    code = (
        f"import sys, xfer; xfer.Run.load({str(run.path)!r}).metrics; print({{'sklearn', 'scipy'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
