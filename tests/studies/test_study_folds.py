"""Studies of folds: a run for each, and all that is said is of the predictions of all pictures."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.studies import text as study_text
from xfer.studies.plan import read_plan
from xfer.studies.record import PairedTest
from xfer.studies.results import gather, summarise
from xfer.studies.study import study


@pytest.fixture(scope="module")
def folded(folder, tmp_path_factory):
    """Two modes x three folds of one seed: the output folder and the results."""
    output = tmp_path_factory.mktemp("folded") / "out"
    return output, study(folder / "study.toml", output=output, seeds=1, folds=3, epochs=1, lr=0.2)


def predicted(output, mode):
    """Of all folds together, by file."""
    rows = {}
    for fold in (1, 2, 3):
        with (output / "runs" / f"{mode}-numpy-0-fold-{fold}" / "predictions.csv").open(newline="") as file:
            own = {row["file"]: (row["label"], row["predicted"]) for row in csv.DictReader(file)}
        assert not own.keys() & rows.keys()
        rows |= own
    return rows


def test_a_row_is_of_all_pictures(folded, folder):
    output, results = folded
    assert [(run.mode, run.fold, run.n_val) for run in results.runs] == [
        (mode, fold, n) for mode in ("head", "all") for fold, n in ((1, 6), (2, 5), (3, 5))
    ]
    assert (results.folds, results.n_val, results.splits) == (3, (16, 16), 1)
    head = results.runs[:3]
    assert np.mean([run.accuracy for run in head]) != results.rows[0].accuracy, "this test needs folds that differ"
    for row in results.rows:
        rows = predicted(output, row.mode)
        assert sorted(rows) == sorted(str(file) for file in (folder / "pictures" / "train").rglob("*.png"))
        labels, guesses = zip(*rows.values(), strict=True)
        assert row.accuracy == pytest.approx(sk.accuracy_score(labels, guesses))
        assert row.macro_f1 == pytest.approx(sk.f1_score(labels, guesses, average="macro"))
        assert row.seconds == pytest.approx(sum(run.seconds for run in results.runs if run.mode == row.mode))
        assert (row.seeds, row.interval) == ((0,), None)


def test_rows_are_tested_on_all_pictures(folded):
    output, results = folded
    (pair,) = results.pairs
    assert isinstance(pair, PairedTest)
    assert (pair.n, pair.total, pair.splits, pair.seeds) == (16, 16, 1, (0,))
    first, second = (predicted(output, mode) for mode in ("head", "all"))
    gains = [int(second[f][0] == second[f][1]) - int(first[f][0] == first[f][1]) for f in first]
    assert pair.difference == pytest.approx(np.mean(gains))
    assert pair.same == sum(first[f][1] == second[f][1] for f in first)
    notes = " ".join(study_text.notes(results))
    assert "by the network of 3 that was not trained on its fold" in notes
    assert "Bengio and Grandvalet 2004" in notes


def test_folds_that_are_missing_are_done_and_no_others(folded, folder, tmp_path):
    output, results = folded
    copy = tmp_path / "out"
    shutil.copytree(output, copy)
    shutil.rmtree(copy / "runs" / "all-numpy-0-fold-3")
    words = ["study", str(folder / "study.toml"), "--seeds", "1", "--folds", "3", "--output", str(copy)]
    words += ["--set", "train.epochs=1", "--set", "optimizer.lr=0.2"]
    lines = CliRunner().invoke(main, words).stdout.splitlines()
    ended = [line for line in lines if line.startswith("[")]
    assert ended[1].startswith("[2/6] head on numpy, seed 0, fold 2: ")
    assert ended[5].startswith("[6/6] all on numpy, seed 0, fold 3: ")
    assert [line.endswith("done before") for line in ended] == [True, True, True, True, True, False]
    again = json.loads((copy / "study.json").read_text())
    assert [row["accuracy"] for row in again["rows"]] == [row.accuracy for row in results.rows]
    assert "macro-F1" in "\n".join(lines)


def test_a_seed_without_one_of_its_folds_has_predicted_too_few(folded, folder):
    output, results = folded
    plan = read_plan(folder / "study.toml", seeds=1, folds=3)
    some = [run for run in plan.runs if run.name != "all-numpy-0-fold-2"]
    groups = gather(some, output / "runs", plan.folds)
    assert [(group.mode, len(group.runs[0])) for group in groups] == [("head", 3)]
    summary = summarise("study", groups, [], 0.01, folds=plan.folds)
    assert summary.rows == results.rows[:1]


def test_folds_of_a_study_are_read_and_refused(folder, tmp_path):
    text = (folder / "study.toml").read_text().replace("seeds = 2", "seeds = 2\nfolds = 3")
    (folder / "of_three.toml").write_text(text)
    plan = read_plan(folder / "of_three.toml")
    assert [run.name for run in plan.runs[:4]] == [
        *(f"head-numpy-0-fold-{n}" for n in (1, 2, 3)),
        "head-numpy-1-fold-1",
    ]
    assert [(run.recipe.data.folds, run.recipe.data.fold, run.recipe.seed) for run in plan.runs[2:4]] == [
        (3, 3, 0),
        (3, 1, 1),
    ]
    assert {run.recipe.split_seed for run in plan.runs} == {0}
    assert len(read_plan(folder / "of_three.toml", folds=2).runs) == 8
    with pytest.raises(ConfigError, match="folds = 1"):
        read_plan(folder / "of_three.toml", folds=1)
    with pytest.raises(ConfigError, match=r"10,200 runs, expected at most 10,000. Cure: fewer seeds, folds"):
        read_plan(folder / "study.toml", folds=100, seeds=51)
