"""Runs with partial loading and hidden layers, on the NumPy backend."""

import json
from dataclasses import replace

import numpy as np
import pytest

import xfer
from xfer.cli import run_text
from xfer.errors import CheckpointError, ConfigError, WeightsError
from xfer.formats.files import digest, write_weights
from xfer.nets.convert import convert
from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights
from xfer.pixels.augment import default_eval
from xfer.recipe.load import as_recipe, load_recipe, make_recipe, to_toml
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.testing.conformance import LAWS
from xfer.testing.delegate import Delegate
from xfer.testing.laws import changes
from xfer.testing.laws.model import channels_are_red_green_blue
from xfer.testing.numpy_backend import NETWORK, TINY, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import write as folder
from xfer.training.run import prepare

SPEC = ModelSpec("tiny", 2, (32, 32), TINY.mean, TINY.std)


def shapes_of(spec):
    return with_graph(spec, NumpyBackend()).graph.weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    write_weights(path, init_weights(shapes_of(SPEC), 7), {})
    return path


@pytest.fixture(scope="module")
def recipe(data, source):
    overrides = {"data": str(data), "arch": "tiny", "weights": str(source), "size": 32, "epochs": 2, "batch_size": 5}
    return as_recipe(None, overrides | {"views": 2, "optimizer.lr": 0.05})


def widened(recipe, **more):
    return as_recipe(recipe, {"weights.partial": True, "model.extra": [6, 5], "train_from": "extra", **more})


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    return xfer.train(widened(recipe), NumpyBackend(), output=tmp_path_factory.mktemp("runs") / "run")


class Widened(Delegate):
    """The NumPy backend with hidden layers in every network, which the laws need not know of."""

    def __init__(self):
        super().__init__(NumpyBackend())
        self.networks = {"tiny": NETWORK.with_hidden("extra", (6, 5))}


@pytest.mark.parametrize(
    "law",
    [law for law in LAWS if law is not channels_are_red_green_blue and law not in changes.LAWS],
    ids=lambda law: law.__name__,
)
def test_the_oracle_keeps_the_laws_with_hidden_layers(law):
    law(Widened(), "cpu", "tiny")


def test_partial_is_strict_where_everything_fits(recipe):
    strict = prepare(recipe, NumpyBackend())
    partial = prepare(as_recipe(recipe, {"weights.partial": True}), NumpyBackend())
    assert partial.source_digest == strict.source_digest
    assert strict.loaded is None
    assert set(partial.loaded.names("loaded")) == set(strict.net.shapes) - {"fc.weight", "fc.bias"}


def test_strict_loading_into_a_changed_network_is_refused_with_the_cure(recipe):
    with pytest.raises(WeightsError, match=r"4 missing: extra\.0\.weight.*Cure: .*weights\.partial = true"):
        prepare(widened(recipe, **{"weights.partial": False}), NumpyBackend())


def test_nothing_that_fits_names_the_file(recipe, tmp_path):
    write_weights(tmp_path / "other.safetensors", {"encoder.weight": np.zeros(3, np.float32)}, {})
    with pytest.raises(WeightsError, match=r"other\.safetensors: no layer of the file fits"):
        prepare(widened(recipe, weights=str(tmp_path / "other.safetensors")), NumpyBackend())


def test_random_weights_have_nothing_to_take(recipe):
    assert prepare(widened(recipe, weights="random"), NumpyBackend()).loaded is None


def test_blocks_for_a_network_without_them_are_refused(recipe):
    with pytest.raises(ConfigError, match="tiny is no ResNet"):
        prepare(as_recipe(recipe, {"model.layers": [2, 2]}), NumpyBackend())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"layers": []}, "model.layers = []"),
        ({"layers": [1, 1, 1, 1, 1]}, "model.layers"),
        ({"layers": [2, 0]}, "model.layers.1 = 0"),
        ({"layers": 2}, "model.layers = 2"),
        ({"extra": [0]}, "model.extra.0 = 0"),
        ({"extra": ["a"]}, "model.extra.0 = 'a'"),
        ({"extras": [3]}, "Did you mean 'extra'?"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(model, message):
    with pytest.raises(ConfigError) as caught:
        make_recipe({"model": model}, {})
    assert message in str(caught.value)


def test_the_recipe_survives_its_file(recipe, tmp_path):
    changed = as_recipe(widened(recipe), {"model.layers": [1, 2]})
    (tmp_path / "r.toml").write_text(to_toml(changed))
    assert load_recipe(tmp_path / "r.toml") == changed
    assert (changed.model.layers, changed.model.extra, changed.weights.partial) == ((1, 2), (6, 5), True)


@pytest.mark.parametrize("cache", [True, False])
def test_training_moves_the_hidden_layers_and_nothing_before(recipe, cache):
    prepared = prepare(widened(recipe, **{"features.cache": cache, "model.dropout": 0.3}), NumpyBackend())
    assert prepared.net.arch.features == 5
    before = prepared.net.export()
    list(xfer.training.run.fit(prepared))
    after = prepared.net.export()
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert changed == {n for n in before if n.startswith(("extra.", "fc."))}


def test_a_run_writes_what_was_taken_and_its_checkpoint_is_enough(run, data, tmp_path):
    record = json.loads((run.path / "weights_loaded.json").read_text())
    assert {row["name"] for row in record["tensors"] if row["fate"] == "random"} == {
        f"extra.{i}.{leaf}" for i in (0, 1) for leaf in ("weight", "bias")
    }
    assert record["frozen_at_random_values"] == []
    convert(run.path / "best.safetensors", tmp_path / "moved.pth")
    for path in (run.path, tmp_path / "moved.pth"):
        checkpoint = load_checkpoint(path)
        assert (checkpoint.spec.layers, checkpoint.spec.extra) == (None, (6, 5))
        picture = str(next((data / "val").rglob("*.png")))
        predictions = xfer.results.predict.predict(checkpoint, [picture], NumpyBackend())
        assert predictions.probabilities.shape == (1, 2)
    assert run.evaluate(backend=NumpyBackend()).accuracy == run.result["val_accuracy"]


def test_another_run_in_the_folder_leaves_no_record_of_the_first(recipe, tmp_path):
    for variant, left in ((widened(recipe), True), (recipe, False)):
        folder.create(prepare(variant, NumpyBackend()), tmp_path / "run", overwrite=True)
        assert (tmp_path / "run" / "weights_loaded.json").exists() == left


def test_the_table_is_printed_with_its_warning(recipe, capsys):
    run_text.show(prepare(widened(recipe, train_from="head"), NumpyBackend()))
    printed = capsys.readouterr().out
    assert "left at random" in printed
    assert "warning: frozen at random values: extra.0.weight, extra.0.bias, extra.1.weight and 1 more. " in printed
    assert "Cure: train_from = 'extra'" in printed
    run_text.show(prepare(recipe, NumpyBackend()))
    assert "left at random" not in capsys.readouterr().out


def test_a_checkpoint_goes_on_into_the_same_changed_network(recipe, run):
    onward = widened(recipe, weights=str(run.path / "best.safetensors"), **{"weights.partial": False})
    prepared = prepare(onward, NumpyBackend())
    weights = prepared.net.export()
    best = run.checkpoint.weights
    assert all(np.array_equal(weights[n], best[n]) for n in best if not n.startswith("fc."))


def checkpoint(spec):
    return Checkpoint(init_weights(shapes_of(spec), 0), spec, ("a", "b"), default_eval(32), {"epoch": "3"})


@pytest.mark.parametrize("changes", [{}, {"extra": (6,)}, {"extra": (6, 5)}])
def test_changes_survive_the_file(changes, tmp_path):
    saved = checkpoint(replace(SPEC, **changes))
    saved.save(tmp_path / "c.safetensors")
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.spec == saved.spec
    assert loaded.record == {"epoch": "3"}
    exported = loaded.net(NumpyBackend(), "cpu").export()
    assert digest(exported) == digest(saved.weights)


def test_a_checkpoint_of_before_these_keys_is_of_the_plain_network(tmp_path):
    saved = checkpoint(SPEC)
    metadata = {k: v for k, v in saved.metadata().items() if k not in ("layers", "extra")}
    write_weights(tmp_path / "old.safetensors", saved.weights, metadata)
    assert load_checkpoint(tmp_path / "old.safetensors").spec == SPEC


@pytest.mark.parametrize(
    ("key", "value"), [("layers", "[1, "), ("layers", '"two"'), ("extra", "[null]"), ("extra", "3")]
)
def test_damaged_changes_are_named(key, value, tmp_path):
    saved = checkpoint(SPEC)
    write_weights(tmp_path / "c.safetensors", saved.weights, saved.metadata() | {key: value})
    with pytest.raises(CheckpointError, match="metadata is damaged"):
        load_checkpoint(tmp_path / "c.safetensors")
