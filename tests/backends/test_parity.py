"""Every framework, on every device, follows the same workflow as torch on the CPU, and comes to the same numbers."""

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from archs import ARCHS

import xfer
from xfer.archs import LOGITS
from xfer.backend import Batch, OptimizerSpec
from xfer.data.find import find_images
from xfer.data.loader import read_batches
from xfer.data.split import Split
from xfer.formats.files import read_weights
from xfer.losses import LossSpec, targets_of
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.net import build_net
from xfer.nets.pretrained import resolve_source
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import init_weights, merge
from xfer.pixels.augment import default_eval
from xfer.recipe.load import as_recipe
from xfer.testing.fixtures import Target, require, targets
from xfer.testing.kit import random_weights
from xfer.testing.pictures import write_class_folders
from xfer.testing.recorder import Recorder
from xfer.training.run import fit, prepare

REFERENCE = Target("torch", "cpu")
OTHERS = [target for target in targets() if target.backend != "numpy" and target != REFERENCE]
SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (10, 5), (80, 72))


@pytest.fixture(params=OTHERS, ids=str)
def pair(request):
    """Two backends, each with its device: the reference, and another."""
    return [require(target.backend, target.kind) for target in (REFERENCE, request.param)]


@pytest.fixture
def recipe(data):
    overrides = {"data": str(data), "arch": "resnet18", "weights": "random", "size": SIZE, "batch_size": 8, "epochs": 2}
    return as_recipe(None, overrides | {"views": 2, "model.dropout": 0.2, "loss.label_smoothing": 0.1})


def nets(pair, arch, classes=3, size=SIZE, weights=None):
    """The same network with the same weights on each."""
    for backend, device in pair:
        net = build_net(backend, device, ModelSpec(arch, classes, (size, size), ARCHS[arch].mean, ARCHS[arch].std))
        net.load(first_weights(arch, net.shapes) if weights is None else weights)
        yield net


def first_weights(arch, shapes):
    """Random ones, but for the network in whose random layers rounding grows a thousandfold: those of its package."""
    first = random_weights(shapes, seed=1)
    if arch != "efficientnet_lite0":
        return first
    return merge(shapes, resolve_source("imagenet", arch)[0], ARCHS[arch].head_names, first, "package")


def images(count=5, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(a).max()


def apart(a, b):
    """The largest difference of any weight; relative for those above 1, as variances may count in thousands."""
    return max(np.abs(a[name] - b[name]).max() / max(1, np.abs(a[name]).max()) for name in a)


@pytest.mark.parametrize("train_from", ["head", "layer4"])
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_both_make_the_same_calls_with_the_same_batches(pair, recipe, train_from, cache):
    traces, digests = [], []
    for backend, device in pair:
        recorder = Recorder(backend)
        variant = as_recipe(recipe, {"train_from": train_from, "features.cache": cache})
        *_, last = fit(prepare(variant, recorder, device))
        traces.append(recorder.trace)
        digests.append(last.epoch.batches_digest)
    assert len([call for call in traces[0] if call["call"] == "train"]) == 2 * 3
    assert traces[0] == traces[1]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "arch", ["resnet18", pytest.param("resnet50", marks=pytest.mark.long), "efficientnet_lite0", "convnet"]
)
def test_every_stage_gives_the_same_activations(pair, arch):
    stops = [*ARCHS[arch].stage_names[1:], LOGITS]
    activations = [[net.predict_step(stop=stop)(images()) for stop in stops] for net in nets(pair, arch)]
    for stop, a, b in zip(stops, *activations, strict=True):
        assert a.shape == b.shape
        assert relative(a, b) < 1e-4, f"the first stage that differs ends at {stop}"


@pytest.mark.parametrize("size", [65, 97])
@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_lite0"])
def test_odd_sizes_are_padded_alike(pair, arch, size):
    a, b = (net.predict_step()(images(2, size)) for net in nets(pair, arch, size=size))
    assert relative(a, b) < 1e-4


# Through the batch statistics of EfficientNet's 49 norm layers, float32 itself is the limit: after such a step torch is
# up to 6e-4 away from the same step in float64. Its gradients are compared with the statistics at rest.
@pytest.mark.parametrize(
    ("arch", "norm_stats", "train_from"),
    [
        *product(("resnet18", "convnet"), ("follow",), ("stem", "layer1", "head")),
        ("efficientnet_lite0", "freeze", "stem"),
        pytest.param("efficientnet_lite0", "freeze", "layer1", marks=pytest.mark.long),
        ("efficientnet_lite0", "freeze", "head"),
    ],
)
def test_one_step_has_the_same_loss_and_moves_the_same_names_alike(pair, arch, norm_stats, train_from):
    # With fewer values for a batch's statistic than 8 pictures of 96 pixels give, rounding decides at some ReLU: either
    # framework is then as far from a float64 computation as from the other.
    table, labels, size = ARCHS[arch], np.arange(8) % 3, 96 if norm_stats == "follow" else 64
    losses, after = [], []
    for net in nets(pair, arch, size=size):
        before = net.export()
        groups = resolve(FreezePolicy(train_from, norm_stats, weight_decay=1e-2), table, list(before))
        rule, loss = OptimizerSpec("sgd", momentum=0.9), LossSpec(class_weights=(1.0, 2.0, 0.5))
        batch = Batch(images(8, size), *targets_of(loss, labels, 3))
        losses.append(net.train_step(rule, groups)([batch], [0.01] * len(groups.trainable))()[0])
        after.append(net.export())
        changed = {name for name in before if not np.array_equal(before[name], after[-1][name])}
        assert changed == set(before) - groups.frozen
        assert table.first_stage(groups.moving) == train_from
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert apart(*after) < 1e-4


def test_a_frozen_run_ends_with_the_same_head_on_both(pair, recipe, tmp_path):
    runs = [xfer.train(recipe, b, device=d, output=tmp_path / f"{b.name}-{d}") for b, d in pair]
    a, b = (run.checkpoint.weights for run in runs)
    assert runs[0].result["batches_digest"] == runs[1].result["batches_digest"]
    assert runs[0].result["val_accuracy"] == runs[1].result["val_accuracy"]
    for name in a:
        assert np.abs(a[name] - b[name]).max() < 1e-4, name


def test_a_checkpoint_of_either_predicts_the_same_on_the_other(pair, recipe, data, tmp_path):
    for number, (backend, device) in enumerate(pair):
        path = tmp_path / str(number)
        run = xfer.train(recipe, backend, device=device, output=path, epochs=1, train_from="layer4")
        a, b = (run.predict(data / "val", backend=used, device=on) for used, on in pair)
        assert a.labels == b.labels
        assert np.abs(a.probabilities - b.probabilities).max() < 1e-4


@pytest.fixture
def real():
    """Eight real pictures with their labels, and a reader of real weights."""
    folders = [os.environ.get(name) for name in ("XFER_TEST_DATA", "XFER_TEST_WEIGHTS")]
    if not all(folders):
        pytest.skip("XFER_TEST_DATA and XFER_TEST_WEIGHTS name no real pictures and weights")
    files = find_images([f"{folders[0]}/hymenoptera_data/val"])[::20]
    labels = np.array(["bees" in file for file in files], np.int64)
    transforms, every = default_eval(224), [np.arange(len(files))]
    ((batch, _),) = read_batches(Split(files, labels), transforms, every, seed=0, view=0, workers=0)
    return batch, lambda arch: read_weights(Path(folders[1]) / f"{arch}-imagenet1k-pq.safetensors")[0]


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_real_networks_see_the_same_in_real_pictures(pair, real, arch):
    batch, weights_of = real
    a, b = (
        net.predict_step()(batch.inputs) for net in nets(pair, arch, classes=1000, size=224, weights=weights_of(arch))
    )
    assert relative(a, b) < 1e-4
    assert np.array_equal(a.argmax(axis=1), b.argmax(axis=1))


def test_fine_tuning_a_real_network_takes_the_same_first_step(pair, real):
    pictures, weights_of = real
    batch = Batch(pictures.inputs, *targets_of(LossSpec(), pictures.labels, 2))
    loaded, table = weights_of("resnet18"), ARCHS["resnet18"]
    shapes = {n: w.shape for n, w in loaded.items()} | {"fc.weight": (2, 512), "fc.bias": (2,)}
    first = merge(shapes, loaded, table.head_names, init_weights(shapes, 0), "real")
    groups = resolve(FreezePolicy("stem"), table, list(shapes))
    losses, after = [], []
    for net in nets(pair, "resnet18", classes=2, size=224, weights=first):
        losses.append(net.train_step(OptimizerSpec("sgd", momentum=0.9), groups)([batch], [0.001])()[0])
        after.append(net.export())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert all(not np.array_equal(first[name], after[0][name]) for name in shapes)
    assert apart(*after) < 1e-4
