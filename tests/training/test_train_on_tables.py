"""Training on a table: the run of the same pictures in class folders to the bit, and everything after it."""

import json

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file
from stopped_runs import recipe_of, stopped_in
from stopped_runs import train as go_on

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def root(tmp_path):
    root = write_class_folders(tmp_path / "set", counts=(6, 3), size=(32, 32))
    files = sorted(root.rglob("*.png"), key=lambda file: file.name + file.parent.name)
    rows = [f"{file.relative_to(root)},{file.parent.name},{file.parts[-3]}" for file in files]
    (root / "labels.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    return root


def train(data, output, backend="numpy", **more):
    chosen, device = require(backend)
    arch = {} if backend == "numpy" else {"device": device}
    usual = {"weights": "random", "size": 32, "epochs": 2, "batch_size": 4, "views": 1, "progress": False}
    names = {"arch": "tiny" if backend == "numpy" else "convnet"}
    more = {"set": {"model.dropout": 0.0}} | more
    return xfer.train(None, chosen, data=data, output=output, **usual, **names, **arch, **more)


@pytest.mark.parametrize("backend", ["numpy", "torch", "mindspore"])
def test_a_table_of_class_folders_gives_the_same_run_to_the_bit(root, tmp_path, backend):
    table, folders = (
        train(data, tmp_path / name, backend) for name, data in (("table", root / "labels.csv"), ("folders", root))
    )
    for key in ("batches_digest", "val_accuracy", "val_loss", "n_train"):
        assert table.result[key] == folders.result[key]
    assert table.result["batches_digest"]
    ours, theirs = (load_file(run.path / "best.safetensors") for run in (table, folders))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert len(ours) == len(theirs)


NUMPY = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "-q"]


def refused(*words):
    result = CliRunner().invoke(main, [*map(str, words)])
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    return result.output


@pytest.mark.usefixtures("declare")
def test_evaluating_and_predicting(root, tmp_path):
    text = (root / "labels.csv").read_text().replace("path,label", "where,what")
    (root / "labels.csv").write_text(text)
    own_names = {"model.dropout": 0.0, "data.columns": {"path": "where", "label": "what"}}
    run = train(root / "labels.csv", tmp_path / "run", set=own_names)
    own = run.evaluate()
    assert own.accuracy == run.result["val_accuracy"]
    assert own.accuracy == run.evaluate(root / "labels.csv").accuracy == run.evaluate(root).accuracy
    few = tmp_path / "few.jsonl"
    rows = [{"where": str(root / f"val/{name}/0.png"), "what": name} for name in ("ants", "bees")]
    few.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(run.evaluate(few).labels) == 2
    assert len(run.predict(root / "val").labels) == 6
    few.write_text("".join(json.dumps(row | {"what": row["what"][1:]}) + "\n" for row in rows))
    assert "nts" in refused("evaluate", run.path, "--data", few, "-q")
    text = text.replace("where,what", "path,label")
    (root / "labels.csv").write_text(text.replace("ants,", "ants|bees,"))
    assert "several labels" in refused("train", "--data", root / "labels.csv", "--output", tmp_path / "no", *NUMPY)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("change", [(",ants,train", ",bees,train"), (",train", ",val"), ("", "")])
def test_a_table_that_has_changed_is_another_data_set(root, tmp_path, change):
    recipe, path, table = recipe_of(root / "labels.csv"), tmp_path / "run", root / "labels.csv"
    stopped_in(path, recipe)
    table.write_text(table.read_text().replace(*change, 1) if change[0] else table.read_text() + "\n")
    if change[0]:
        with pytest.raises(CheckpointError, match="changed since"):
            go_on(None, path, resume=path)
    else:
        go_on(None, path, resume=path)
        assert (path / "result.json").exists()


@pytest.mark.usefixtures("declare")
def test_folds_of_whole_groups(root, tmp_path):
    lines = (root / "labels.csv").read_text().splitlines()
    rows = [f"{line.rsplit(',', 1)[0]},{i // 2 % 4}" for i, line in enumerate(sorted(lines[1:]))]
    (root / "grouped.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    usual = {"weights": "random", "size": 32, "epochs": 1, "batch_size": 4, "arch": "tiny", "progress": False}
    backend, _ = require("numpy")
    result = xfer.cross_validate(None, backend, data=root / "grouped.csv", output=tmp_path / "cv", folds=2, **usual)
    assert (result.metrics.n, sum(fold.n_val for fold in result.folds)) == (18, 18)
