"""Studies of pictures with any number of labels: they are told by mean average precision, and by no accuracy."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from shapes import write_shapes
from sklearn import metrics as sk

from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.studies import text as study_text
from xfer.studies.plan import read_plan
from xfer.studies.study import study

RECIPE = """
[data]
source = "{data}"
task = "multilabel"
workers = 1
[augment]
size = 24
train = [{{ op = "Resize", size = [24, 24] }}]
eval = [{{ op = "Resize", size = [24, 24] }}]
[model]
arch = "tiny"
[weights]
source = "random"
[train]
epochs = 2
batch_size = 8
[optimizer]
kind = "adam"
lr = 0.03
"""
STUDY = """
name = "labels"
backends = ["numpy"]
seeds = 2
[modes.head]
recipe = "recipe.toml"
[modes.all]
recipe = "recipe.toml"
set = { train.train_from = "stem", optimizer.lr = 0.15, "train.epochs" = 3 }
"""
NAMES = [f"{mode}-numpy-{seed}" for mode in ("head", "all") for seed in (0, 1)]


@pytest.fixture(scope="module")
def labelled(installed, tmp_path_factory):
    """The folder of a study's file and its recipe."""
    folder = tmp_path_factory.mktemp("labelled")
    table = write_shapes(folder / "set", count=40)
    (folder / "recipe.toml").write_text(RECIPE.format(data=table))
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def done(labelled):
    """The study's output folder and its results."""
    return labelled / "out", study(labelled / "study.toml", output=labelled / "out")


def read(folder):
    """(labels, predicted, probabilities) of a run, each (n, C), sorted by file; and the files."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
    classes = [name.removeprefix("p_") for name in rows[0] if name.startswith("p_")]
    labels, said = (
        np.array([[name in row[key].split("|") for name in classes] for row in rows], int)
        for key in ("labels", "predicted")
    )
    return labels, said, np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])


def of_sklearn(*parts):
    """Mean average precision and macro-F1 of runs together; every label has a picture."""
    labels, said, shares = (np.concatenate(each) for each in zip(*parts, strict=True))
    return sk.average_precision_score(labels, shares, average="macro"), sk.f1_score(labels, said, average="macro")


def test_rows_are_mean_average_precisions_over_seeds(done):
    output, results = done
    assert [run.folder for run in results.runs] == [f"runs/{name}" for name in NAMES]
    precisions = {}
    for run in results.runs:
        result = json.loads((output / run.folder / "result.json").read_text())
        last = json.loads((output / run.folder / "metrics.jsonl").read_text().splitlines()[-1])
        mean, macro = of_sklearn(read(output / run.folder))
        assert (run.accuracy, run.last_accuracy) == (None, None)
        assert run.mean_average_precision == pytest.approx(mean)
        assert mean == pytest.approx(result["label_metrics"]["mean_average_precision"]["value"])
        assert run.last_mean_average_precision == last["val_map"]
        assert run.macro_f1 == pytest.approx(macro) == result["label_metrics"]["macro_f1"]["value"]
        precisions.setdefault(run.mode, []).append((mean, last["val_map"], macro))
    assert any(run.last_mean_average_precision < run.mean_average_precision for run in results.runs), (
        "this test needs a last epoch that is not best"
    )
    for row in results.rows:
        best, last, macro = zip(*precisions[row.mode], strict=True)
        assert (row.accuracy, row.last_accuracy) == (None, None)
        assert row.mean_average_precision == row.figure == pytest.approx(np.mean(best))
        assert row.last_mean_average_precision == row.last_figure == pytest.approx(np.mean(last))
        assert row.best == pytest.approx(max(best))
        assert row.macro_f1 == pytest.approx(np.mean(macro))
        half = 12.706204736 * abs(best[0] - best[1]) / 2  # Student's t of one degree of freedom; sd / sqrt(2) is that
        ends = (max(0, np.mean(best) - half), min(1, np.mean(best) + half))
        assert (row.interval and tuple(row.interval)) == (pytest.approx(ends) if half else None)
    assert results.rows[0].interval is not None


def test_pairs_are_differences_of_mean_average_precision(done):
    output, results = done
    (pair,) = results.pairs
    runs = {name: read(output / "runs" / name) for name in NAMES}
    precision = {name: of_sklearn(runs[name])[0] for name in NAMES}
    gains = [precision[f"all-numpy-{seed}"] - precision[f"head-numpy-{seed}"] for seed in (0, 1)]
    assert pair.difference == pytest.approx(np.mean(gains))
    assert pair.difference != 0
    assert (pair.n, pair.seeds, pair.splits, pair.total) == (8, (0, 1), 1, 16)
    same = [(runs[f"head-numpy-{s}"][1] == runs[f"all-numpy-{s}"][1]).all(axis=1).sum() for s in (0, 1)]
    assert pair.same == sum(same)
    assert pair.p == (0.5 if gains[0] * gains[1] > 0 else 1.0)
    assert pair.interval.low < pair.difference < pair.interval.high


def test_nothing_that_is_written_calls_it_an_accuracy(done):
    output, results = done
    content = json.loads((output / "study.json").read_text())
    assert content == results.as_json()
    for each in (*content["rows"], *content["runs"]):
        assert each.keys() >= {"mean_average_precision", "last_mean_average_precision"}
        assert not each.keys() & {"accuracy", "last_accuracy"}
    page = re.sub(r"data:image/png;base64,[^\"']*", "", (output / "report.html").read_text())
    for text in ((output / "study.md").read_text(), page):
        assert "ccurac" not in text
        assert "mAP, best epoch" in text
        assert f"{results.rows[1].mean_average_precision:.4f}" in text
        assert f"{results.pairs[0].difference:+.4f}" in text
        assert "Mean average precision on 8 validation images" in text
        assert "sign-flip test over seeds" in text
        assert "of 2 seeds it is 0.5 at least" in text
    drawn = sorted(path.name for path in (output / "plots").iterdir())
    assert drawn == [f"mean_average_precision{end}.png" for end in ("", "_all", "_head")]
    assert page.count("<figcaption>Mean average precision by epoch, mean over seeds") == 3
    for path in (output / "plots").iterdir():
        with Image.open(path) as picture:
            assert len(set(picture.convert("L").resize((32, 32)).tobytes())) > 5


def test_the_command_says_it_run_by_run_and_does_nothing_twice(done, labelled):
    output, results = done
    words = ["study", str(labelled / "study.toml"), "--output", str(output)]
    lines = CliRunner().invoke(main, words).stdout
    for number, run in enumerate(results.runs, start=1):
        figure = f"mAP {run.mean_average_precision:.4f} in {run.seconds:.1f} s, done before"
        assert f"[{number}/4] {run.mode} on numpy, seed {run.seed}: {figure}" in lines
    assert (output / "study.md").read_text() in lines


def test_pictures_of_earlier_modes_go(done, labelled, tmp_path):
    shutil.copytree(done[0], tmp_path / "out")
    (labelled / "head.toml").write_text((labelled / "study.toml").read_text().split("[modes.all]")[0])
    study(labelled / "head.toml", output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "plots").iterdir()) == [
        "mean_average_precision.png",
        "mean_average_precision_head.png",
    ]


def test_a_run_with_an_epoch_of_the_other_task_is_refused_in_a_line(done, labelled, tmp_path):
    shutil.copytree(done[0], tmp_path / "out")
    path = tmp_path / "out" / "runs" / "all-numpy-0" / "metrics.jsonl"
    *lines, last = path.read_text().splitlines()
    row = json.loads(last)
    assert not row["best"], "of the best epoch result.json says the figures too"
    row = {key: value for key, value in row.items() if not key.startswith(("val_", "train_"))}
    row |= {"val_loss": 1.0, "train_loss": 1.0, "val_accuracy": 0.5, "train_accuracy": 0.5}
    path.write_text("\n".join([*lines, json.dumps(row)]) + "\n")
    words = ["study", str(labelled / "study.toml"), "--output", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "all-numpy-0/metrics.jsonl, line 3: val_accuracy, expected val_map" in refused.stderr


def test_a_study_of_both_tasks_is_refused_in_a_line(labelled, folder):
    text = (labelled / "study.toml").read_text() + f"[modes.classes]\nrecipe = '{folder / 'recipe.toml'}'\n"
    (labelled / "both.toml").write_text(text)
    with pytest.raises(ConfigError, match="mode classes tells classes apart, mode all any number of labels") as refused:
        read_plan(labelled / "both.toml")
    assert "\n" not in str(refused.value)
    assert "Cure: a study for each task" in str(refused.value)
    again = read_plan(labelled / "both.toml", overrides={"data.task": "classification"})
    assert {run.recipe.data.task for run in again.runs} == {"classification"}


def test_pictures_of_all_folds_are_ranked_together(labelled, tmp_path):
    output = tmp_path / "out"
    results = study(labelled / "study.toml", output=output, folds=2, seeds=1)
    precisions = {}
    for row in results.rows:
        parts = [read(output / "runs" / f"{row.mode}-numpy-0-fold-{fold}") for fold in (1, 2)]
        precisions[row.mode], macro = of_sklearn(*parts)
        assert row.mean_average_precision == pytest.approx(precisions[row.mode])
        assert row.macro_f1 == pytest.approx(macro)
        apart = np.mean([of_sklearn(part)[0] for part in parts])
        assert row.mean_average_precision != pytest.approx(apart), "this test needs networks that rank differently"
        assert (row.last_mean_average_precision, row.last_interval, row.interval) == (None, None, None)
    (pair,) = results.pairs
    assert (pair.n, pair.total, pair.p) == (40, 40, 1.0)
    assert pair.difference == pytest.approx(precisions["all"] - precisions["head"])
    assert pair.interval.low > 0, "this test needs a difference that shows"
    assert pair.verdict == "different"  # by the interval: p is of one seed
    sentence = f"all is better than head, by {pair.difference:.4f} of mean average precision"
    assert study_text.verdicts(results) == [sentence]
    head, lines = study_text.result_table(results)
    assert "mAP, last epoch" not in head
    assert all(len(line) == len(head) for line in lines)
    pairs = study_text.pair_table(results)[1]
    assert pairs[0][4:6] == ["", ""]  # no test over one seed
    notes = " ".join(study_text.notes(results))
    assert "The pictures of all folds are ranked together" in notes
    assert "one seed has none" in notes


def test_seeds_with_a_split_each_are_compared_on_it(labelled, tmp_path):
    output = tmp_path / "out"
    results = study(labelled / "study.toml", output=output, set={"data.split_seed": "seed"}, epochs=1)
    (pair,) = results.pairs
    files = [
        {row.split(",")[0] for row in (output / "runs" / name / "predictions.csv").read_text().splitlines()[1:]}
        for name in NAMES[:2]
    ]
    assert (results.splits, pair.splits, pair.total) == (2, 2, 16)
    assert pair.n == len(files[0] | files[1]) < 16
    assert pair.difference == pytest.approx(results.rows[1].figure - results.rows[0].figure)
    assert "mean average precisions of different runs differ by their images too" in " ".join(study_text.notes(results))
