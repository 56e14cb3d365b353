"""`xfer runs`: what there is, and what may be removed."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.recipe.load import as_recipe
from xfer.results.listing import all_but_best, list_runs, ordered, where
from xfer.results.read import LOCK
from xfer.system.interrupts import Interrupted
from xfer.system.locks import locked
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

RATES = {"slow": 0.001, "middle": 0.01, "fast": 0.1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three finished runs, one that was stopped in its second epoch, one that is damaged, and two that are none."""
    tmp_path = tmp_path_factory.mktemp("made")
    data = write_class_folders(tmp_path / "pictures", ("ants", "bees"), (4, 3))
    usual = {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 2}
    for age, (name, rate) in enumerate(RATES.items()):
        run = xfer.train(as_recipe(None, usual | {"lr": rate}), NumpyBackend(), output=tmp_path / "runs" / name)
        for path in run.path.rglob("*"):
            os.utime(path, (1000 + age, 1000 + age))

    def stop(what, done, total):
        if what == "epoch 2":
            raise Interrupted(2, between=True)

    with pytest.raises(Interrupted):
        xfer.train(as_recipe(None, usual), NumpyBackend(), output=tmp_path / "runs" / "stopped", progress=stop)
    xfer.train(as_recipe(None, usual), NumpyBackend(), output=tmp_path / "runs" / "damaged")
    (tmp_path / "runs" / "damaged" / "result.json").write_text("{")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "config.toml").write_text("mine")
    (tmp_path / "runs" / "file").write_text("mine")
    return tmp_path / "runs"


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def names(runs):
    return [run.path.name for run in runs]


def call(*words, code=0, **more):
    result = CliRunner().invoke(main, ["runs", *map(str, words)], **more)
    assert result.exit_code == code, result.output
    return result


def test_what_is_known_of_each(folder):
    runs = {run.path.name: run for run in list_runs([folder])}
    assert runs.keys() == {*RATES, "stopped", "damaged"}
    result = json.loads((folder / "fast" / "result.json").read_text())
    assert runs["fast"].facts.items() >= result.items()
    assert runs["fast"].facts["optimizer.lr"] == 0.1
    assert runs["fast"].facts["written"] == 1002
    assert runs["fast"].facts["bytes"] == sum(p.stat().st_size for p in (folder / "fast").rglob("*") if p.is_file())
    (first,) = [json.loads(line) for line in (folder / "stopped" / "metrics.jsonl").read_text().splitlines()]
    stopped = runs["stopped"].facts
    assert (stopped["state"], stopped["epochs"], stopped["best_epoch"]) == ("unfinished", 1, 1)
    assert stopped["val_loss"] == first["val_loss"]
    assert runs["damaged"].facts["state"] == "damaged"
    assert "result.json" in runs["damaged"].problem


def test_a_run_may_be_named_itself_and_is_listed_once(folder):
    assert names(list_runs([folder / "fast"])) == ["fast"]
    assert sorted(names(list_runs([folder / "fast", folder, folder / "fast"]))) == sorted(names(list_runs([folder])))


def test_filters_and_order(folder):
    runs = list_runs([folder])
    assert names(where(runs, ["state=finished"])) == ["slow", "middle", "fast"]  # oldest first
    assert names(where(runs, ["state=finished", "optimizer.lr>=0.01"])) == ["middle", "fast"]
    assert names(where(runs, ["optimizer.lr != 0.01", "state!=damaged"])) == ["slow", "fast"]
    assert names(where(runs, ["optimizer.nesterov=false", "optimizer.lr<0.01"])) == ["slow"]
    assert where(runs, ["state=finished", "val_loss<0"]) == []
    finished = where(runs, ["state=finished"])
    losses = [run.facts["val_loss"] for run in ordered(finished, "val_loss")]
    assert losses == sorted(losses)
    assert ordered(finished, "-val_loss") == ordered(finished, "val_loss")[::-1]
    assert names(ordered(runs, "-optimizer.lr"))[-1] == "slow"
    for wrong in ("state", "=finished", "state~finished", ""):
        with pytest.raises(ConfigError, match="expected KEY=VALUE"):
            where(runs, [wrong])
    with pytest.raises(ConfigError, match=r"val_acuracy: none of these runs has it\. Did you mean 'val_accuracy'\?"):
        where(runs, ["val_acuracy>0.5"])


def test_figures_are_keys_too(folder):
    runs = list_runs([folder])
    result = json.loads((folder / "fast" / "result.json").read_text())["metrics"]
    facts = {run.path.name: run.facts for run in runs}["fast"]
    assert facts["metrics.macro_f1"] == result["macro_f1"]["value"]
    assert facts["metrics.top_k"] is None
    assert names(where(runs, [f"metrics.log_loss>={result['log_loss']['value']!r}", "name=fast"])) == ["fast"]
    assert names(where(runs, [f"metrics.log_loss>{result['log_loss']['value']!r}", "name=fast"])) == []
    assert facts["days"] > 365


def test_nothing_is_larger_or_smaller_than_what_is_of_another_kind(folder):
    runs = where(list_runs([folder]), ["state=finished"])
    for key, value in (("train.ema", "0"), ("train.views", "1"), ("optimizer.lr", "a"), ("data.source", "1")):
        for sign in ("<", "<=", ">", ">="):
            assert where(runs, [f"{key}{sign}{value}"]) == [], f"{key}{sign}{value}"
        assert len(where(runs, [f"{key}!={value}"])) == 3
    assert len(where(runs, ["train.ema=none"])) == 3
    assert names(where(runs, ["name>g"])) == ["slow", "middle"], "texts by their letters"


def test_the_best_stay(folder):
    runs = list_runs([folder])
    finished = where(runs, ["state=finished"])
    best = max(finished, key=lambda run: (run.facts["val_accuracy"], -run.facts["val_loss"]))
    gone = all_but_best(runs, 1)
    assert len(gone) == 2
    assert best not in gone
    assert all_but_best(runs, 3) == []


def test_the_list(folder):
    shown = call("ls", folder, "--where", "backend=numpy", "--sort=-val_accuracy", "--column", "optimizer.lr").stdout
    assert "4 of 5 runs" in shown
    assert "0.001" in shown
    listed = json.loads(call("ls", folder, "--json").stdout)
    assert {row["state"] for row in listed} == {"finished", "unfinished", "damaged"}
    assert len(call("ls", folder / "nowhere", code=2).stderr.splitlines()) == 1
    assert len(call("ls", folder, "--column", "optimizer.rate", code=2).stderr.splitlines()) == 1


def test_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("ls").stdout == "0 runs\n"
    assert call("prune", "--where", "state=unfinished").stdout == "no such run\n"


def test_nothing_is_removed_unasked(folder):
    assert "which runs?" in call("prune", folder, code=2).stderr
    assert "would remove 1 run" in call("prune", folder, "--where", "state=unfinished", "--dry-run").stdout
    assert "nobody is there to be asked" in call("prune", folder, "--where", "state=unfinished", code=2).stderr
    assert len(list_runs([folder])) == 5


def test_what_is_removed_as_json(folder):
    assert "--json asks nobody" in call("prune", folder, "--keep-best", 1, "--json", code=2).stderr
    finished = where(list_runs([folder]), ["state=finished"])
    doomed = [str(run.path) for run in all_but_best(finished, 1)]
    size = sum(run.facts["bytes"] for run in all_but_best(finished, 1))
    said = json.loads(call("prune", folder, "--keep-best", 1, "--json", "--dry-run").stdout)
    assert said == {"runs": doomed, "removed": [], "bytes": size}
    with locked(Path(doomed[0]) / LOCK):
        result = call("prune", folder, "--keep-best", 1, "--json", "--yes")
    said = json.loads(result.stdout)
    assert (said["runs"], said["removed"]) == (doomed, doomed[1:])
    assert len(list_runs([folder])) == 4
    empty = call("prune", folder, "--where", "seed=99", "--json", "--dry-run").stdout
    assert json.loads(empty) == {"runs": [], "removed": [], "bytes": 0}


def test_what_is_removed_is_a_runs_and_not_being_trained(folder):
    (folder / "slow" / "mine.txt").write_text("mine")
    with locked(folder / "middle" / LOCK):
        result = call("prune", folder, "--keep-best", 0, "--yes")
    assert "2 runs removed" in result.stdout
    assert "warning" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["damaged", "file", "middle", "notes", "slow", "stopped"]
    assert [path.name for path in (folder / "slow").iterdir()] == ["mine.txt"]
    assert list_runs([folder / "middle"])[0].facts["state"] == "finished"
