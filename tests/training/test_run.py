"""A whole run on the NumPy backend: what is frozen, what is cached, what is repeated, what is written."""

import csv
import json
import shutil

import numpy as np
import pytest

import xfer
import xfer.plots.files
from xfer.data.dataset import open_dataset
from xfer.errors import BackendError, CheckpointError, ConfigError, DataError, WeightsError
from xfer.features.cache import FeatureCache
from xfer.formats.files import digest
from xfer.recipe.load import DEMO, as_recipe, load_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.results.read import read_metrics
from xfer.results.run import Run
from xfer.testing.numpy_backend import TINY, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import write as folder
from xfer.training.record import record
from xfer.training.run import fit, prepare

RESULT_KEYS = {
    "backend", "device", "arch", "dataset", "classes", "n_train", "n_val", "seed", "epochs", "best_epoch",
    "val_accuracy", "val_loss", "train_accuracy", "seconds_total", "seconds_features", "seconds_training",
    "images_per_second", "peak_memory", "batches_digest", "weights_digest", "versions",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def nothing_is_drawn():
    """Here pictures are."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees", "蜂"))


@pytest.fixture
def recipe(data):
    return as_recipe(
        None,
        {
            "data": str(data),
            "arch": "tiny",
            "weights": "random",
            "size": 32,
            "epochs": 3,
            "batch_size": 5,
            "views": 2,
            "optimizer.lr": 0.05,
        },
    )


def fitted(recipe, **changes):
    prepared = prepare(as_recipe(recipe, changes), NumpyBackend())
    *_, last = fit(prepared)
    return prepared, last


def test_a_run_leaves_everything_and_can_be_loaded(recipe, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run")
    assert set(run.result) >= RESULT_KEYS
    assert run.result["classes"] == ["ants", "bees", "蜂"]
    left = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    pictures = {f"plots/{n}.png" for n in ("samples", "curves", "confusion_matrix", "predictions", "top_losses")}
    assert left == pictures | {
        "config.toml", "env.json", "classes.json", "metrics.jsonl", "result.json", "log.txt", "best.safetensors",
        "last.safetensors", "predictions.csv", "skipped_images.csv", "report.html",
    }  # fmt: skip
    loaded = Run.load(run.path)
    assert loaded.result == json.loads(json.dumps(run.result))
    assert loaded.recipe == recipe
    assert [row["epoch"] for row in loaded.history] == [1, 2, 3]
    best = max(loaded.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert (best["epoch"], best["val_accuracy"]) == (run.result["best_epoch"], run.result["val_accuracy"])


def test_the_best_checkpoint_predicts_as_the_run_did(recipe, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run")
    result = run.evaluate(backend=NumpyBackend())
    assert result.accuracy == run.result["val_accuracy"]
    assert result.loss == pytest.approx(run.result["val_loss"], abs=1e-6)
    with (run.path / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    predictions = run.predict([row["file"] for row in rows], backend=NumpyBackend())
    assert [row["predicted"] for row in rows] == list(predictions.labels)
    written = [[float(row[f"p_{name}"]) for name in predictions.classes] for row in rows]
    assert np.allclose(written, predictions.probabilities, atol=1e-6)


def test_what_was_found_on_disk_is_told_apart_by_its_digest(recipe, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "a")
    again = xfer.train(recipe, NumpyBackend(), output=tmp_path / "b")
    reseeded = xfer.train(recipe, NumpyBackend(), output=tmp_path / "c", seed=1)
    same = ("batches_digest", "weights_digest", "val_loss", "val_accuracy", "train_accuracy")
    assert [run.result[k] for k in same] == [again.result[k] for k in same]
    assert run.result["batches_digest"] != reseeded.result["batches_digest"]
    assert run.result["weights_digest"] != reseeded.result["weights_digest"]


@pytest.mark.parametrize("train_from", ["head", "layer1"])
@pytest.mark.parametrize("views", [1, 2, "fresh"])
def test_the_boundary_cache_changes_nothing(recipe, train_from, views):
    changes = {"train_from": train_from, "views": views, "model.dropout": 0.3}
    prepared, kept = fitted(recipe, **changes)
    _, anew = fitted(recipe, **changes, **{"features.cache": False})
    assert kept.epoch.batches_digest == anew.epoch.batches_digest
    for name in prepared.net.shapes:
        assert np.allclose(kept.best_weights[name], anew.best_weights[name], atol=1e-6), name
    assert np.allclose(kept.result.logits, anew.result.logits, atol=1e-5)


def test_features_too_large_for_memory_go_to_a_file_and_change_nothing(recipe, monkeypatch):
    prepared, kept = fitted(recipe, train_from="layer1")
    monkeypatch.setattr(xfer.features.cache, "IN_MEMORY", 0)
    rooms, room = [], xfer.features.cache._room
    monkeypatch.setattr(xfer.features.cache, "_room", lambda *size: rooms.append(room(*size)) or rooms[-1])
    _, mapped = fitted(recipe, train_from="layer1")
    assert len(rooms) == 3
    assert all(isinstance(values, np.memmap) for values in rooms)
    assert all(np.array_equal(kept.best_weights[name], mapped.best_weights[name]) for name in prepared.net.shapes)


def test_each_view_of_a_picture_is_computed_once(recipe, monkeypatch):
    asked = []
    compute = FeatureCache._compute
    monkeypatch.setattr(FeatureCache, "_compute", lambda self, view: asked.append(view) or compute(self, view))
    fitted(recipe, epochs=6)
    assert sorted(asked) == [0, 0, 1]  # validation once, and each of the two training views


def test_frozen_names_keep_their_bits_and_the_others_move(recipe):
    prepared = prepare(as_recipe(recipe, {"train_from": "layer1"}), NumpyBackend())
    before = prepared.net.export()
    list(fit(prepared))
    after = prepared.net.export()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == set(prepared.net.shapes) - prepared.groups[0].frozen == {
        "layer1.weight", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var", "fc.weight", "fc.bias"
    }  # fmt: skip


def test_phases_follow_each_other_with_their_own_freezing(recipe):
    content = recipe.model_dump(mode="json", exclude_none=True)
    content["phases"] = [{"epochs": 1, "train_from": "head"}, {"epochs": 2, "train_from": "stem", "lr": 0.001}]
    prepared = prepare(xfer.recipe.load.make_recipe(content, {}), NumpyBackend())
    first = prepared.net.export()["stem.weight"]
    seen = [(f.epoch, prepared.net.export()["stem.weight"]) for f in fit(prepared)]
    assert [(e.epoch, e.phase) for e, _ in seen] == [(1, 1), (2, 2), (3, 2)]
    assert np.array_equal(seen[0][1], first)
    assert not np.array_equal(seen[1][1], first)
    assert seen[0][0].lr > seen[1][0].lr


def test_the_head_starts_the_same_whatever_the_rest_starts_from(recipe, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", **{"train.train_from": "stem"})
    changes = {"weights": str(run.path / "best.safetensors"), "weights.head": "fresh"}
    again = prepare(as_recipe(recipe, changes), NumpyBackend())
    fresh = prepare(recipe, NumpyBackend())
    a, b = (p.net.export() for p in (again, fresh))
    assert np.array_equal(a["fc.weight"], b["fc.weight"])
    assert not np.array_equal(a["stem.weight"], b["stem.weight"])
    assert np.array_equal(a["stem.weight"], load_checkpoint(run.path).weights["stem.weight"])


def test_class_weights_need_one_for_each_class(recipe):
    balanced = prepare(as_recipe(recipe, {"loss.class_weights": "balanced"}), NumpyBackend())
    assert balanced.loss.class_weights == (1, 1, 1)
    with pytest.raises(ConfigError, match="one for each of 3 classes"):
        prepare(as_recipe(recipe, {"loss.class_weights": [1.0, 2.0]}), NumpyBackend())


@pytest.mark.usefixtures("undrawn")
def test_class_weights_by_name_are_those_in_the_order_of_the_classes(recipe, tmp_path):
    table = {"蜂": 3.0, "ants": 1, "bees": 2.5}
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "a", epochs=1, **{"loss.class_weights": table})
    listed = xfer.train(
        recipe, NumpyBackend(), output=tmp_path / "b", epochs=1, **{"loss.class_weights": [1.0, 2.5, 3.0]}
    )
    plain = xfer.train(recipe, NumpyBackend(), output=tmp_path / "c", epochs=1)
    assert run.result["weights_digest"] == listed.result["weights_digest"] != plain.result["weights_digest"]
    assert Run.load(run.path).recipe.loss.class_weights == table  # through config.toml
    assert "loss.class_weights.ants" in [setting.key for setting in xfer.compare([run, plain]).settings]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"ants": 1.0, "bees": 1.0, "蜂": 1.0, "wasps": 2.0},
            "class_weights = 'wasps': expected one of ants, bees, 蜂",
        ),
        ({"ant": 1.0, "bees": 1.0, "蜂": 1.0}, "Did you mean 'ants'"),
        ({"ants": 2.0}, "has none for bees, 蜂. Cure: give each class"),
    ],
)
def test_class_weights_by_names_that_are_not_those_of_the_classes(recipe, table, message):
    with pytest.raises(ConfigError, match=message):
        prepare(as_recipe(recipe, {"loss.class_weights": table}), NumpyBackend())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"arch": "tyni"}, BackendError, "Did you mean 'tiny'"),
        ({"train_from": "layer5"}, ConfigError, "Did you mean 'layer1'"),
        ({"weights": "no/such/file.safetensors"}, WeightsError, "no/such/file.safetensors"),
        ({"data": "no/such/folder"}, DataError, "no/such/folder"),
        ({"augment.train": [{"op": "CenterCrop", "size": 16}]}, ConfigError, "same size"),
    ],
)
def test_what_cannot_run_leaves_no_folder(recipe, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_written_over_unasked(recipe, tmp_path):
    xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=1)
    with pytest.raises(CheckpointError, match="already holds a run"):
        xfer.train(recipe, NumpyBackend(), output=tmp_path / "run")
    (tmp_path / "run" / "plots" / "against_random.png").write_bytes(b"of the run that was here")
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", overwrite=True, epochs=2)
    assert len(run.history) == 2
    assert not (run.path / "plots" / "against_random.png").exists()


def test_the_best_is_on_disk_when_training_dies(recipe, tmp_path):
    prepared = prepare(recipe, NumpyBackend())
    path = folder.create(prepared, tmp_path / "run")
    epochs = record(prepared, path, fit(prepared))
    best = next(epochs).best_weights
    epochs.close()
    assert np.array_equal(load_checkpoint(path).weights["fc.weight"], best["fc.weight"])
    assert len(read_metrics(path)) == 1


def test_random_weights_are_a_baseline_with_everything_trained(recipe):
    baseline = xfer.recipe.meaning.from_random(recipe, "stem")
    assert (baseline.weights.source, baseline.train.train_from, baseline.train.epochs) == ("random", "stem", 3)
    assert (baseline.data, baseline.model, baseline.seed) == (recipe.data, recipe.model, recipe.seed)


def test_the_baseline_of_the_demo_is_a_small_network_on_small_pictures():
    demo = load_recipe(DEMO, {"seed": 3, "epochs": 5})
    baseline = xfer.recipe.meaning.small_from_random(demo)
    assert (baseline.weights.source, baseline.model.arch, baseline.augment.size) == ("random", "convnet", 64)
    assert (baseline.data, baseline.seed, baseline.train.epochs) == (demo.data, 3, 3)
    assert baseline.augment.train_transforms != demo.augment.train_transforms


def test_dropout_is_the_architectures_or_the_recipes(recipe):
    masks = []

    class Listening(NumpyBackend):
        def make_train_step(self, *args):
            step = super().make_train_step(*args)
            return lambda parts, lrs: masks.append(parts[0].masks.get("fc")) or step(parts, lrs)

    def kept(**changes):
        masks.clear()
        list(fit(prepare(as_recipe(recipe, {"epochs": 1} | changes), Listening())))
        return None if masks[0] is None else float(np.mean([m.astype(bool).mean() for m in masks]))

    assert kept() is None  # tiny has none of its own
    assert kept(**{"model.dropout": 0.4}) == pytest.approx(0.6, abs=0.1)


def test_pictures_are_normalised_as_the_recipe_says_or_else_as_the_weights_were(recipe, tmp_path):
    def spec(**changes):
        spec = prepare(as_recipe(recipe, changes), NumpyBackend()).net.spec
        return spec.mean, spec.std

    own, usual = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), (TINY.mean, TINY.std)
    transforms = [{"op": "CenterCrop", "size": 32}, {"op": "Normalize", "mean": list(own[0]), "std": list(own[1])}]
    assert spec() == usual
    assert spec(**{"augment.eval": transforms}) == own
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=1, **{"augment.eval": transforms})
    assert spec(weights=str(run.path / "best.safetensors")) == own


def test_the_digest_is_that_of_the_best_weights(recipe, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run")
    assert run.result["weights_digest"] == digest(load_checkpoint(run.path).weights)


@pytest.mark.usefixtures("undrawn")
def test_a_run_evaluates_folders_that_have_only_some_of_its_classes(recipe, data, tmp_path):
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=1)
    for split in ("train", "val"):
        for name in ("bees", "蜂"):  # in the run these are the second and third of three
            shutil.copytree(data / split / name, tmp_path / "some" / split / name)
    result = run.evaluate(tmp_path / "some", backend=NumpyBackend())
    assert sorted(set(result.labels)) == [1, 2]
    (tmp_path / "some" / "val" / "bees").rename(tmp_path / "some" / "val" / "wasps")
    (tmp_path / "some" / "train" / "bees").rename(tmp_path / "some" / "train" / "wasps")
    with pytest.raises(DataError, match="also has wasps"):
        run.evaluate(tmp_path / "some", backend=NumpyBackend())


def test_a_run_of_the_very_defaults_knows_its_data(recipe, data, tmp_path, monkeypatch):
    checkpoint = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=1).checkpoint
    asked = []

    def opened(recipe, progress, source, **_):
        asked.append((recipe.data.source, source))
        return open_dataset(str(data))

    monkeypatch.setattr("xfer.results.run.open_data", opened)
    assert len(xfer.results.run.choose(checkpoint, None, "val", xfer.Recipe()).split.labels) == 12
    assert asked == [(xfer.Recipe().data.source, None)]
    with pytest.raises(CheckpointError, match="--data"):
        xfer.results.run.choose(checkpoint, None, "val", None)


def test_pictures_are_given_the_names_of_their_files(recipe, tmp_path, data, monkeypatch):
    drawn = {}
    for name in ("plot_samples", "plot_predictions", "plot_top_losses"):
        monkeypatch.setattr(xfer.plots.files, name, lambda *given, key=name: drawn.update({key: given}))
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", data=str(data), train_from="head")
    for key, (_, images, labels, *_, classes, names) in drawn.items():
        assert len(names) == len(set(names)) == len(images)
        assert [name.split("/")[0] for name in names] == [classes[label] for label in labels]
        assert all((data / ("train" if key == "plot_samples" else "val") / name).exists() for name in names)
    assert set(drawn) == {"plot_samples", "plot_predictions", "plot_top_losses"}
    assert run.result["n_val"] == 12


def test_progress_of_features_is_over_both_splits_and_all_views(recipe, tmp_path):
    steps = []
    xfer.train(
        recipe, NumpyBackend(), output=tmp_path / "run", progress=lambda *step: steps.append(step), train_from="head"
    )
    assert [step for step in steps if step[0].startswith("features")] == [
        ("features of val, view 1 of 1", 12, 60),
        ("features of train, view 1 of 2", 36, 60),
        ("features of train, view 2 of 2", 60, 60),
    ]


@pytest.mark.parametrize("gone", ["val/ants/0.png", "val"])
def test_pictures_that_vanish_once_all_is_trained_are_only_not_shown(recipe, tmp_path, data, gone):
    own = shutil.copytree(data, tmp_path / "own")

    def remove(what, done, total):
        if what == "epoch 3" and done == total:
            shutil.rmtree(own / gone) if gone == "val" else (own / gone).unlink(missing_ok=True)

    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", progress=remove, data=str(own), train_from="head")
    assert not (own / gone).exists()
    assert run.result["epochs"] == 3
    assert (run.path / "plots" / "top_losses.png").stat().st_size > 1000
    assert xfer.Run.load(run.path).result == run.result
