"""Networks with blocks or stages added or dropped, and with hidden layers, are the same ones in every framework."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from archs import ARCHS

import xfer
from xfer.archs import EXTRA
from xfer.backend import Batch, OptimizerSpec
from xfer.data.find import find_images
from xfer.errors import WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.losses import LossSpec, targets_of
from xfer.nets.catalogue import graph_named
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec, builds
from xfer.recipe.load import as_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.conformance import random_weights
from xfer.testing.delegate import Delegate
from xfer.testing.fixtures import Target, require, targets
from xfer.testing.laws import model, statistics
from xfer.testing.pictures import write_class_folders
from xfer.training.run import prepare

REFERENCE = Target("torch", "cpu")
DECLARED = [target for target in targets() if target.backend != "numpy"]
OTHERS = [target for target in DECLARED if target != REFERENCE]
SIZE = 64
CHANGES = [
    pytest.param("resnet18", (2, 2, 2, 3), (), id="a block more"),
    pytest.param("resnet18", (2, 2, 2), (), id="a stage less"),
    pytest.param("resnet18", (1, 2), (16, 8), id="two stages and hidden layers"),
    pytest.param("resnet50", (1, 1, 2), (16,), id="bottlenecks"),
    pytest.param("convnet", None, (16,), id="convnet"),
    pytest.param("efficientnet_lite0", None, (16,), id="efficientnet"),
]


@pytest.fixture(params=OTHERS, ids=str)
def pair(request):
    return [require(target.backend, target.kind) for target in (REFERENCE, request.param)]


def spec_of(arch, layers=None, extra=(), classes=3):
    return ModelSpec(arch, classes, (SIZE, SIZE), ARCHS[arch].mean, ARCHS[arch].std, layers, extra)


def nets(pair, spec):
    for backend, device in pair:
        if not builds(backend, spec.arch):
            pytest.skip(f"{backend.name} does not build {spec.arch}")
        net = build_net(backend, device, spec)
        net.load(random_weights(net.shapes, seed=1))
        yield net


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(a).max()


@pytest.mark.parametrize(("arch", "layers", "extra"), CHANGES)
def test_every_stage_gives_the_same_activations(pair, arch, layers, extra):
    a, b = nets(pair, spec_of(arch, layers, extra))
    table, weights = a.arch, [net.export() for net in (a, b)]
    assert {n: w.shape for n, w in weights[0].items()} == {n: w.shape for n, w in weights[1].items()}
    assert weights[0][table.head_names[0]].shape == (3, table.features)
    assert {table.stage_of(name) for name in weights[0]} == set(table.stage_names)
    x = y = images(3)
    # Stage by stage, each fed with what the reference gave the last: random layers would multiply what rounding did.
    for start, stop in pairwise(a.boundaries):
        y = b.predict_step(start, stop)(x)
        x = a.predict_step(start, stop)(x)
        assert x.shape == y.shape
        assert relative(x, y) < 1e-4, f"the stage that differs is {start}"


@pytest.mark.parametrize(
    ("layers", "extra", "train_from"),
    [((1, 1, 1, 3), (), "layer4"), ((2, 2, 2), (), "layer3"), ((2, 2, 2), (), "head")]
    + [((1, 2), (16, 8), stage) for stage in ("stem", "layer2", "extra", "head")],
)
def test_a_step_moves_exactly_the_names_that_are_not_frozen_and_alike(pair, layers, extra, train_from):
    losses, after = [], []
    for net in nets(pair, spec_of("resnet18", layers, extra)):
        before = net.export()
        # Statistics at rest: those of so few pictures of this size are mostly rounding in the last stage.
        groups = resolve(FreezePolicy(train_from, "freeze", head_lr_mult=2.0), net.arch, list(before))
        step = net.train_step(OptimizerSpec("sgd", momentum=0.9), groups)
        batch = Batch(images(6), *targets_of(LossSpec(), np.arange(6) % 3, 3))
        losses.append(step([batch], [0.01 * group.lr_mult for group in groups.trainable])()[0])
        after.append(net.export())
        changed = {name for name in before if not np.array_equal(before[name], after[-1][name])}
        assert changed == set(before) - groups.frozen
        assert net.arch.first_stage(groups.moving) == train_from
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert max(np.abs(after[0][n] - after[1][n]).max() for n in after[0]) < 1e-4


class Changed(Delegate):
    """A backend whose resnet18 has two stages, of one block each, and a hidden layer: of which no law need know."""

    def __init__(self, inner):
        super().__init__(inner)
        self.networks = {"resnet18": graph_named("resnet18", layers=(1, 1)).with_hidden(EXTRA, (8,))}


@pytest.mark.long  # a graph like any other to a backend, and `test_conformance` holds two of them to these laws
@pytest.mark.parametrize("target", DECLARED, ids=str)
@pytest.mark.parametrize("law", [*model.LAWS, *statistics.LAWS], ids=lambda law: law.__name__)
def test_changed_networks_keep_the_laws(law, target):
    """Those of weights, boundaries and statistics: the rest asks nothing of a network's shape."""
    backend, device = require(target.backend, target.kind)
    law(Changed(backend), device, "resnet18")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (6, 4), (80, 72))


def recipe_of(data, **more):
    defaults = {"data": str(data), "arch": "resnet18", "weights": "random", "size": SIZE, "batch_size": 6, "epochs": 1}
    return as_recipe(None, defaults | {"views": 1, "train_from": "extra"} | more)


def test_a_changed_run_is_the_same_run_and_its_checkpoint_predicts_the_same_on_the_other(pair, data, tmp_path):
    recipe = recipe_of(data, **{"model.layers": [1, 1], "model.extra": [8], "model.dropout": 0.3})
    runs = [xfer.train(recipe, b, device=d, output=tmp_path / f"{b.name}-{d}") for b, d in pair]
    a, b = (run.checkpoint for run in runs)
    assert runs[0].result["batches_digest"] == runs[1].result["batches_digest"]
    assert all(np.abs(a.weights[n] - b.weights[n]).max() < 1e-4 for n in a.weights)
    files = find_images([data / "val"])
    for run in runs:
        checkpoint = load_checkpoint(run.path)
        assert (checkpoint.spec.layers, checkpoint.spec.extra) == ((1, 1), (8,))
        predictions = [xfer.results.predict.predict(checkpoint, files, backend, device) for backend, device in pair]
        assert np.abs(predictions[0].probabilities - predictions[1].probabilities).max() < 1e-5


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Weights of the unchanged resnet18."""
    backend, device = require("torch")
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    write_weights(path, random_weights(build_net(backend, device, spec_of("resnet18")).shapes, 3), {})
    return path


@pytest.mark.parametrize("target", DECLARED, ids=str)
@pytest.mark.parametrize(
    ("layers", "fresh", "unused"),
    [
        ((2, 2, 2, 3), "layer4.2.", ()),
        ((2, 2, 2), "extra.", ("layer4.",)),
        ((2, 1), "extra.", ("layer2.1.", "layer3.", "layer4.")),
    ],
)
def test_weights_of_the_plain_network_are_taken_by_a_changed_one(target, plain, data, layers, fresh, unused):
    backend, device = require(target.backend, target.kind)
    changes = {"weights": str(plain), "model.layers": list(layers), "train_from": "stem"}
    changes |= {} if fresh == "layer4.2." else {"model.extra": [8]}
    with pytest.raises(WeightsError, match=r"weights\.partial = true"):
        prepare(recipe_of(data, **changes), backend, device)
    prepared = prepare(recipe_of(data, **changes, **{"weights.partial": True}), backend, device)
    taken, given = prepared.loaded, read_weights(plain)[0]
    assert not taken.names("resized", "incomplete")
    assert all(name.startswith(fresh) for name in taken.names("random"))
    assert taken.names("random")
    assert all(name.startswith(unused) for name in taken.names("unused"))
    weights = prepared.net.export()
    assert all(np.array_equal(weights[name], given[name]) for name in taken.names("loaded"))
    assert len(taken.names("loaded", "unused")) + 2 == len(given)


def test_real_weights_in_a_network_without_its_last_stage(pair, data):
    folder = os.environ.get("XFER_TEST_WEIGHTS")
    if not folder:
        pytest.skip("XFER_TEST_WEIGHTS names no real weights")
    file = Path(folder) / "resnet18-imagenet1k-pq.safetensors"
    changes = {"weights": str(file), "weights.partial": True, "model.layers": [2, 2, 2], "model.extra": [64]}
    a, b = (prepare(recipe_of(data, **changes), backend, device) for backend, device in pair)
    assert a.source_digest == b.source_digest
    assert a.loaded == b.loaded
    x, y = (p.net.predict_step()(images(4)) for p in (a, b))
    assert relative(x, y) < 1e-4
