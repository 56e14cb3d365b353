"""Training that starts from a run of xfer's: its best checkpoint, its head where the classes are the same."""

import json
from dataclasses import replace

import numpy as np
import pytest

import xfer
from xfer.cli import run_text
from xfer.errors import WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.nets.convert import convert
from xfer.recipe.load import as_recipe, load_recipe
from xfer.recipe.meaning import from_random
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import baseline, record
from xfer.training.run import prepare

HEAD = ("fc.weight", "fc.bias")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees", "wasps"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    recipe = {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 3, "optimizer.lr": 0.05}
    return xfer.train(as_recipe(None, recipe), NumpyBackend(), output=tmp_path_factory.mktemp("runs") / "run")


def onward(run, source, **changes):
    """The recipe that goes on from a source, at a rate that changes nothing."""
    return as_recipe(run.recipe, {"weights": str(source), "epochs": 1, "optimizer.lr": 1e-12, **changes})


def head_of(recipe):
    prepared = prepare(recipe, NumpyBackend())
    return {name: prepared.net.export()[name] for name in HEAD}, prepared.notes


def assert_head(actual, wanted):
    for name in HEAD:
        np.testing.assert_array_equal(actual[name], wanted[name], err_msg=name)


@pytest.mark.parametrize("file", ["", "best.safetensors"])
@pytest.mark.parametrize("partial", [False, True])
def test_a_run_goes_on_at_its_old_loss_and_names_its_parent(run, file, partial, tmp_path):
    recipe = onward(run, run.path / file, **{"weights.partial": partial})
    child = xfer.train(recipe, NumpyBackend(), output=tmp_path / "child")
    assert child.result["val_loss"] == pytest.approx(run.result["val_loss"], abs=1e-6)
    best = run.path / "best.safetensors"
    parent = {"path": str(best), "weights_digest": run.result["weights_digest"], "head": "kept"}
    assert child.result["parent"] == parent
    assert json.loads(child.checkpoint.record["parent"]) == parent
    assert f"started from  {best}, head kept" in run_text.headline(child, [])
    assert load_recipe(child.path / "config.toml").weights.source == str(run.path / file)


@pytest.mark.parametrize("suffix", [".pth", ".ckpt"])
def test_a_converted_checkpoint_is_still_one(run, suffix, tmp_path):
    target = tmp_path / f"converted{suffix}"
    convert(run.path / "best.safetensors", target)
    head, notes = head_of(onward(run, target))
    assert_head(head, load_checkpoint(run.path).weights)
    assert notes == (f"head kept: {target} knows the 3 classes",)
    target.with_name(f"{target.name}.json").unlink()
    assert head_of(onward(run, target))[1] == ()


def test_a_run_from_random_weights_has_no_parent(run):
    assert run.result["parent"] is None
    assert "parent" not in run.checkpoint.record
    assert "started from" not in run_text.headline(run, [])


def test_rows_follow_the_names_of_the_classes(run, tmp_path):
    best = load_checkpoint(run.path)
    turned = [2, 0, 1]
    weights = {name: array[turned] if name in HEAD else array for name, array in best.weights.items()}
    replace(best, weights=weights, classes=tuple(best.classes[i] for i in turned)).save(tmp_path / "w.safetensors")
    head, notes = head_of(onward(run, tmp_path / "w.safetensors"))
    assert_head(head, best.weights)
    assert notes == (f"head kept: {tmp_path / 'w.safetensors'} knows the 3 classes, its rows in the order of the data",)


def test_a_head_of_other_classes_is_made_anew_and_the_user_hears_why(run, tmp_path, capsys):
    best = load_checkpoint(run.path)
    replace(best, classes=("ants", "bees", "flies")).save(tmp_path / "w.safetensors")
    recipe = onward(run, tmp_path / "w.safetensors")
    head, notes = head_of(recipe)
    assert not np.array_equal(head["fc.weight"], best.weights["fc.weight"])
    assert_head(head, head_of(onward(run, run.path, **{"weights.head": "fresh"}))[0])
    note = f"head made anew: of {tmp_path / 'w.safetensors'}, its head lacks 'wasps' and has 'flies' besides"
    assert notes == (note,)
    run_text.describe(prepare(recipe, NumpyBackend()))
    assert note in capsys.readouterr().out
    with pytest.raises(WeightsError, match=r"weights\.head = 'keep', but of .*lacks 'wasps'.*Cure: weights\.head"):
        prepare(as_recipe(recipe, {"weights.head": "keep"}), NumpyBackend())


def test_fresh_is_fresh_and_says_nothing(run):
    head, notes = head_of(onward(run, run.path, **{"weights.head": "fresh"}))
    assert not np.array_equal(head["fc.weight"], run.checkpoint.weights["fc.weight"])
    assert notes == ()


def test_weights_without_classes_have_a_fresh_head_unless_it_was_asked_for(run, tmp_path):
    write_weights(tmp_path / "w.pth", read_weights(run.path / "best.safetensors")[0], {})
    head, notes = head_of(onward(run, tmp_path / "w.pth"))
    assert not np.array_equal(head["fc.weight"], run.checkpoint.weights["fc.weight"])
    assert notes == ()
    for source in (tmp_path / "w.pth", "random"):
        with pytest.raises(WeightsError, match=r"'keep', but of .*does not name the classes.*Cure: "):
            prepare(onward(run, source, **{"weights.head": "keep"}), NumpyBackend())


def test_the_comparison_with_random_weights_asks_for_no_head(run):
    recipe = from_random(onward(run, run.path, **{"weights.head": "keep"}), "stem")
    assert prepare(recipe, NumpyBackend()).parent is None


def test_a_folder_of_no_run_is_refused(run, tmp_path):
    with pytest.raises(WeightsError, match=r"a folder without best\.safetensors\. Cure: the folder of a run"):
        prepare(onward(run, tmp_path), NumpyBackend())


def test_a_run_from_random_weights_is_not_given_those_of_the_run_it_is_compared_with(run, tmp_path):
    child = xfer.train(onward(run, run.path), NumpyBackend(), output=tmp_path / "child")
    recipe = baseline.recipe_of(child, "same", NumpyBackend())
    *_, other = baseline.train(child, recipe, NumpyBackend(), "cpu", record.Watch())
    assert other.result["parent"] is None
    assert json.loads((other.path / "env.json").read_text())["weights"] is None
