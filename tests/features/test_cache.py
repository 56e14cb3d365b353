"""Features that runs share: what they depend on and what not, and that sharing never changes a result."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xfer.data.dataset
import xfer.features.cache
import xfer.features.key
from xfer.archs import LOGITS
from xfer.data.dataset import open_dataset
from xfer.data.loader import read_batches
from xfer.data.split import Split, joined
from xfer.errors import DataError, XferError
from xfer.features import store as feature_store
from xfer.formats.files import read_weights, write_weights
from xfer.nets.weights import init_weights
from xfer.pixels.content import file_digest
from xfer.progress import silent
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import plan
from xfer.results.predict import relabel
from xfer.testing.numpy_backend import NETWORK, TINY, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.recorder import Recorder
from xfer.training.phases import open_phase
from xfer.training.run import fit, prepare

SEED = 7
STAGES = (*TINY.stage_names, LOGITS)
FIXED = [{"op": "Resize", "size": [32, 32]}]


def write_weights_file(path, changed=None):
    """Weights of the tiny network, those of one name other than usual."""
    weights = init_weights(NETWORK.with_classes(2).weights, SEED)
    if changed:
        weights[changed] = weights[changed] + np.float32(0.01)
    write_weights(path, weights, {})
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture
def own_data(data, tmp_path):
    """A copy that may be changed."""
    return Path(shutil.copytree(data, tmp_path / "own"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "10MB")
    return feature_store.open_store()


@pytest.fixture
def recipe(data, tmp_path):
    weights = write_weights_file(tmp_path / "tiny.safetensors")
    overrides = {"data": str(data), "arch": "tiny", "weights": weights, "size": 32, "epochs": 2, "batch_size": 4}
    return as_recipe(None, overrides | {"views": 2, "optimizer.lr": 0.05})


class Counting(NumpyBackend):
    """Counts the pictures that went through a prefix."""

    def __init__(self):
        self.computed = 0

    def make_predict_step(self, model, start, stop):
        step = super().make_predict_step(model, start, stop)

        def predict(inputs):
            self.computed += len(inputs) if (start, stop) != (STAGES[0], STAGES[-1]) and start == STAGES[0] else 0
            return step(inputs)

        return predict


def fitted(recipe, backend=None, **changes):
    prepared = prepare(as_recipe(recipe, changes), backend or NumpyBackend())
    *_, last = fit(prepared)
    return last.epoch.batches_digest, prepared.net.export()


def added(store, recipe, backend=None, **changes):
    """What a run puts into the store: how many views of which split."""
    before = {entry.key for entry in feature_store.entries(store)}
    fitted(recipe, backend, **changes)
    new = [entry.about["split"] for entry in feature_store.entries(store) if entry.key not in before]
    return {split: new.count(split) for split in set(new)}


def same(a, b):
    return a[0] == b[0] and all(np.array_equal(a[1][name], b[1][name]) for name in a[1])


@pytest.mark.parametrize("divided", [True, False])
def test_digests_follow_their_files_through_checking_and_splitting(own_data, divided):
    (own_data / "train" / "ants" / "3.png").write_bytes(b"no picture")
    source = own_data / "train" if divided else own_data
    dataset = open_dataset(str(source), val_fraction=0.3, workers=2)
    assert len(dataset.skipped) == 1
    for split in (dataset.train, dataset.val, joined([dataset.val, dataset.train])):
        assert split.digests.tolist() == [list(file_digest(file)) for file in split.files]
        relabelled = relabel(split, dataset.classes, ("bees", "wasps", "ants"))
        assert np.array_equal(relabelled.digests, split.digests)
    assert joined([dataset.val, replace(dataset.train, digests=None)]).digests is None


# What features depend on

BOTH, TRAIN, VAL = {"train": 2, "val": 1}, {"train": 2}, {"val": 1}
NORMALIZE = {"op": "Normalize", "mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"train_from": "layer1"}, BOTH),
        ({"augment.size": 24}, BOTH),
        ({"augment.eval": [*FIXED, NORMALIZE]}, BOTH),  # other pictures to validate on, and another mean for all
        ({"features.dtype": "float16"}, BOTH),
        ({"augment.train": [*FIXED, {"op": "HorizontalFlip"}]}, TRAIN),
        ({"augment.eval": FIXED}, VAL),
        ({"seed": 1}, TRAIN),
        ({"views": 3, "epochs": 3}, {"train": 1}),
        ({"views": "fresh"}, {}),
        ({"epochs": 5}, {}),
        ({"batch_size": 3, "optimizer.kind": "adam", "optimizer.lr": 0.01, "schedule.kind": "constant"}, {}),
        ({"model.dropout": 0.5, "loss.label_smoothing": 0.1, "loss.class_weights": "balanced"}, {}),
        ({"data.workers": 1, "data.on_bad_image": "error"}, {}),
        ({"train.norm_stats": "freeze"}, {}),
    ],
)
def test_a_key_is_new_for_what_features_depend_on_and_for_nothing_else(store, recipe, changes, new):
    assert added(store, recipe) == BOTH
    assert added(store, recipe, **changes) == new
    assert added(store, recipe, **changes) == {}


def test_where_no_transform_is_random_all_seeds_and_views_are_one(store, recipe):
    assert added(store, recipe, views="fresh", **{"augment.train": FIXED}) == {"train": 1, "val": 1}
    for changes in ({"seed": 1}, {"views": 3, "epochs": 3}):
        assert added(store, recipe, **{"augment.train": FIXED}, **changes) == {}


@pytest.mark.parametrize(
    ("name", "new"), [("stem.weight", BOTH), ("norm1.running_mean", BOTH), ("fc.weight", {}), ("fc.bias", {})]
)
def test_of_the_weights_those_before_the_boundary_count(store, recipe, tmp_path, name, new):
    added(store, recipe)
    assert added(store, recipe, weights=write_weights_file(tmp_path / "other.safetensors", name)) == new


def test_weights_behind_an_earlier_boundary_do_not_count(store, recipe, tmp_path):
    added(store, recipe, train_from="layer1")
    changed = write_weights_file(tmp_path / "other.safetensors", "layer1.weight")
    assert added(store, recipe, train_from="layer1", weights=changed) == {}


def test_the_bytes_of_the_files_count_and_their_order(store, recipe, own_data):
    added(store, recipe, data=str(own_data))
    first, second = own_data / "val" / "ants" / "0.png", own_data / "val" / "bees" / "1.png"
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(first)
    assert added(store, recipe, data=str(own_data)) == VAL
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    assert added(store, recipe, data=str(own_data)) == VAL


def test_paths_labels_and_the_number_of_classes_do_not_count(store, recipe, data, tmp_path):
    added(store, recipe)
    for classes in (("a", "b"), ("a", "a", "b", "b"), ("a", "b", "c", "c"), ("a", "b", "c", "d")):
        shutil.rmtree(tmp_path / "elsewhere", ignore_errors=True)
        for split in ("train", "val"):  # the same files in the same order, in other classes
            files = sorted((data / split).rglob("*.png"))
            for number, file in enumerate(files):
                folder = tmp_path / "elsewhere" / split / classes[number * len(classes) // len(files)]
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / f"{number:02d}.png")
        assert added(store, recipe, data=str(tmp_path / "elsewhere")) == {}


def test_versions_numerics_and_the_kind_of_device_count(store, recipe, monkeypatch):
    class Newer(Counting):
        def versions(self):
            return {"numpy": "99"}

    class Elsewhere(Counting):
        def devices(self):
            return "npu:0", "npu:1"

    class Otherwise(Counting):
        numerics = "graph"

    added(store, recipe, Counting())
    assert added(store, recipe, Newer()) == BOTH
    assert added(store, recipe, Otherwise()) == BOTH
    assert added(store, recipe, Elsewhere()) == BOTH
    assert added(store, recipe, Counting()) == {}
    monkeypatch.setattr(xfer.features.key, "__version__", "99")
    assert added(store, recipe, Counting()) == BOTH


def test_the_network_counts_beyond_its_name(store, recipe, monkeypatch):
    added(store, recipe)
    nodes = [replace(node, attributes=node.attributes | {"eps": 1e-3}) if node.kind == "batch_norm" else node
             for node in NETWORK.nodes]  # fmt: skip
    monkeypatch.setattr(NumpyBackend, "networks", {"tiny": replace(NETWORK, nodes=tuple(nodes))})
    assert added(store, recipe) == BOTH


def test_of_two_graphs_with_the_same_weights_each_has_its_own(store, recipe):
    prepared = prepare(recipe, NumpyBackend())

    def key(graph):
        net = replace(prepared.net, spec=replace(prepared.net.spec, graph=graph))
        source = open_phase(replace(prepared, net=net), plan(recipe)[0], silent)[0].train
        return source.origin.key(0)

    nodes = [replace(node, kind="relu6") if node.kind == "relu" else node for node in NETWORK.nodes]
    assert key(NETWORK) == key(replace(NETWORK)) == key(NETWORK.with_classes(9))
    assert key(NETWORK) != key(replace(NETWORK, nodes=tuple(nodes)))


def test_the_code_of_a_backend_counts(store, recipe, tmp_path, monkeypatch):
    source = tmp_path / "adapter" / "backend.py"
    source.parent.mkdir()
    source.write_text("old")
    monkeypatch.setattr(xfer.features.key.inspect, "getfile", lambda kind: str(source))
    xfer.features.key._code.cache_clear()
    added(store, recipe)
    (source.parent / "step.py").write_text("new")
    xfer.features.key._code.cache_clear()  # a process has one code for as long as it lives
    assert added(store, recipe) == BOTH


# Sharing changes nothing


class _Step:
    def __init__(self, prefix, inner):
        self.prefix, self.inner = prefix, inner

    def __call__(self, parts, lrs):
        return self.inner([replace(part, inputs=self.prefix(part.inputs)) for part in parts], lrs)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Exact(NumpyBackend):
    """Stages that hand over float32, each picture on its own: with or without a cache, the same numbers are added."""

    def make_predict_step(self, model, start, stop):
        names = STAGES[STAGES.index(start) : STAGES.index(stop) + 1]
        steps = [super(Exact, self).make_predict_step(model, a, b) for a, b in pairwise(names)]

        def forward(x):
            for step in steps:
                x = step(x)
            return x

        return lambda inputs: np.concatenate([forward(inputs[i : i + 1]) for i in range(len(inputs))])

    def make_train_step(self, model, optimizer, loss, groups, start, cut):
        inner = super().make_train_step(model, optimizer, loss, groups, cut, cut)
        return inner if start == cut else _Step(self.make_predict_step(model, start, cut), inner)


@pytest.mark.parametrize("train_from", ["head", "layer1"])
@pytest.mark.parametrize("views", [1, 2, "fresh"])
def test_cold_warm_on_disk_or_not_at_all_a_run_is_the_same_to_the_last_bit(
    store, recipe, monkeypatch, train_from, views
):
    changes = {"train_from": train_from, "views": views, "model.dropout": 0.3}
    off = fitted(recipe, Exact(), **changes, **{"features.cache": False})
    assert not feature_store.entries(store)
    cold, warm = fitted(recipe, Exact(), **changes), fitted(recipe, Exact(), **changes)
    monkeypatch.setattr(xfer.features.cache, "IN_MEMORY", 0)
    mapped = fitted(recipe, Exact(), **changes)
    monkeypatch.setenv("XFER_CACHE_LIMIT", "0")
    alone = fitted(recipe, Exact(), **changes)
    assert all(same(off, run) for run in (cold, warm, mapped, alone))


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_a_view_that_is_kept_is_neither_computed_nor_are_its_pictures_read(store, recipe, monkeypatch, in_memory):
    monkeypatch.setattr(xfer.features.cache, "IN_MEMORY", in_memory)
    backend = Counting()
    cold = fitted(recipe, backend)
    assert backend.computed == 2 * 16 + 8
    for reader in ("xfer.data.sources.read_batches", "xfer.features.cache.file_digest"):
        monkeypatch.setattr(reader, None)  # whoever opened a picture would fail
    assert same(fitted(recipe, backend), cold)
    assert backend.computed == 2 * 16 + 8


def test_a_limit_of_nothing_keeps_nothing(store, recipe, monkeypatch):
    monkeypatch.setenv("XFER_CACHE_LIMIT", "0")
    fitted(recipe)
    assert not store.root.exists()


def test_entries_stay_within_the_limit_and_what_is_larger_than_all_of_it_is_not_kept(store, recipe, monkeypatch):
    fitted(recipe)
    small, large = sorted({entry.bytes for entry in feature_store.entries(store)})
    feature_store.prune(store, 0)
    monkeypatch.setenv("XFER_CACHE_LIMIT", str(small + 10))
    backend = Counting()
    fitted(recipe, backend)
    assert [entry.about["split"] for entry in feature_store.entries(store)] == ["val"]
    monkeypatch.setenv("XFER_CACHE_LIMIT", str(large + 10))
    cold = fitted(recipe, backend, seed=1)
    assert [entry.about["view"] for entry in feature_store.entries(store)] == [2]
    assert same(cold, fitted(recipe, backend, seed=1))


def test_large_features_without_room_are_one_line_before_any_is_written(store, recipe, monkeypatch):
    """The system would end the process with SIGBUS where a mapped file is written for which its disk has no room."""
    monkeypatch.setattr(xfer.features.cache, "IN_MEMORY", 0)
    taken = []

    def full(handle, start, size):
        taken.append((start, size))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(
        XferError, match=r"features do not fit into .* \(No space left on device\). Cure: TMPDIR=FOLDER"
    ):
        fitted(recipe)
    assert taken == [(0, 8 * 16 * 4)], "all of the 8 pictures' 16 values"


@pytest.mark.parametrize("fault", ["no folder", "full disk"])
def test_where_nothing_can_be_kept_a_run_goes_on_and_says_so_in_a_line(store, recipe, monkeypatch, fault):
    usual = fitted(recipe)
    feature_store.prune(store, 0)
    if fault == "no folder":
        store.root.rmdir()
        store.root.write_text("a file")
    else:
        monkeypatch.setattr(feature_store, "sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left")))
    messages = []
    *_, last = fit(prepare(recipe, NumpyBackend()), lambda what, done, total: messages.append(what))
    assert last.epoch.batches_digest == usual[0]
    assert any("not kept on disk" in what for what in messages)
    assert not feature_store.entries(store)


def test_a_file_that_was_edited_after_it_was_checked_is_not_kept_under_its_old_digest(store, recipe, own_data):
    def edit_when_read(what, done, total):
        if what.startswith("features"):
            Image.new("RGB", (40, 48)).save(own_data / "val" / "ants" / "0.png")

    prepared = prepare(as_recipe(recipe, {"data": str(own_data)}), NumpyBackend())
    list(fit(prepared, edit_when_read))
    assert {entry.about["split"] for entry in feature_store.entries(store)} == {"train"}
    edited_before_it_was_read = prepare(as_recipe(recipe, {"data": str(own_data), "seed": 1}), NumpyBackend())
    (own_data / "val" / "ants" / "0.png").write_bytes((own_data / "val" / "bees" / "0.png").read_bytes())
    with pytest.raises(DataError, match="changed since it was checked"):
        list(fit(edited_before_it_was_read))
    assert {entry.about["split"] for entry in feature_store.entries(store)} == {"train"}


def test_native_pictures_are_kept_for_their_run_only(store, recipe):
    class Native(Counting):
        def native_batches(self, spec):
            split = Split(spec.files, spec.labels)
            how = {"seed": spec.seed, "view": 0, "workers": spec.workers}
            return (batch for batch, _ in read_batches(split, spec.transforms, spec.chunks, **how))

    backend = Native()
    assert added(store, recipe, backend, **{"data.pipeline": "native"}) == {}
    assert backend.computed == 2 * 16 + 8


def test_a_recorder_hears_every_feature_computed_whatever_is_kept(store, recipe):
    fitted(recipe)
    traces = []
    for _ in range(2):
        recorder = Recorder(NumpyBackend())
        fitted(recipe, recorder)
        traces.append(recorder.trace)
    assert traces[0] == traces[1]
    assert any(call["call"] == "predict" for call in traces[0][: len(traces[0]) // 2])


# Half precision


def test_half_precision_takes_half_the_bytes_and_rounds_once(store, recipe):
    fitted(recipe, views=1)
    fitted(recipe, views=1, **{"features.dtype": "float16"})
    full, half = {}, {}
    for entry in feature_store.entries(store):
        kept = feature_store.read(store, entry.key, 1 << 30)
        (half if entry.about["dtype"] == "float16" else full)[entry.about["split"]] = kept.values
    for split in ("train", "val"):
        assert half[split].nbytes * 2 == full[split].nbytes
        assert np.array_equal(half[split], full[split].astype(np.float16))


def test_batches_of_features_in_half_precision_are_float32(store, recipe):
    seen = set()

    class Listening(NumpyBackend):
        def make_train_step(self, *args):
            step = super().make_train_step(*args)
            return _Step(lambda inputs: seen.add(inputs.dtype.name) or inputs, step)

    fitted(recipe, Listening(), **{"features.dtype": "float16"})
    assert seen == {"float32"}


def test_what_is_beyond_half_precision_is_refused(recipe):
    class Large(NumpyBackend):
        def make_predict_step(self, model, start, stop):
            step = super().make_predict_step(model, start, stop)
            return lambda inputs: step(inputs) + np.float32(65520)

    with pytest.raises(XferError, match=r"float16.*beyond its range.*Cure: features.dtype = 'float32'"):
        fitted(recipe, Large(), **{"features.dtype": "float16"})


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_that_are_not_finite_are_named_and_not_kept(recipe, store, tmp_path, dtype):
    weights, metadata = read_weights(Path(recipe.weights.source))
    weights["norm1.bias"][:] = 3e38
    weights["norm1.weight"][:] = 3e38
    write_weights(tmp_path / "huge.safetensors", weights, metadata)
    huge = as_recipe(recipe, {"weights": str(tmp_path / "huge.safetensors"), "features.dtype": dtype})
    prepared = prepare(huge, NumpyBackend())
    with pytest.raises(XferError, match=r"ants.0\.png: what the frozen layers make of it is not finite.*Cu") as caught:
        list(fit(prepared))
    assert "\n" not in str(caught.value)
    assert feature_store.entries(store) == []
    assert next(iter(fit(prepare(recipe, NumpyBackend()))))
    assert feature_store.entries(store)
