"""The padding of other libraries' ResNets: the same numbers as their layers give, and found where no name tells it."""

import json
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from archs import ARCHS
from safetensors.numpy import save_file

import xfer
from xfer.archs import is_statistic
from xfer.backend import Batch, OptimizerSpec
from xfer.data.loader import read_now
from xfer.errors import ConfigError, WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.losses import LossSpec, targets_of
from xfer.nets.net import build_net
from xfer.nets.padding import statistics_distance
from xfer.nets.specs import ModelSpec
from xfer.recipe.load import as_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.conformance import random_weights
from xfer.testing.fixtures import require, targets
from xfer.testing.kit import make_groups
from xfer.testing.pictures import write_class_folders
from xfer.training.run import prepare

DECLARED = [target for target in targets() if target.backend in ("torch", "mindspore")]
SIZE = 64
PADDINGS = ("symmetric", "same_pool", "same")
pytestmark = pytest.mark.parametrize("target", DECLARED, ids=str)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (10, 2), (SIZE, SIZE))


def padded(target, padding, arch="resnet18", size=SIZE):
    backend, device = require(target.backend, target.kind)
    table = ARCHS[arch]
    net = build_net(backend, device, ModelSpec(arch, 2, (size, size), table.mean, table.std, padding=padding))
    net.load(random_weights(net.shapes, seed=1))
    return net


def images(count=4, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("size", [SIZE, 70, 75])
@pytest.mark.parametrize("padding", ["same_pool", "same"])
def test_a_stem_gives_what_mindspores_own_layers_give(target, padding, size):
    """As MindCV writes it, and as the tutorials do: with the defaults of MindSpore's layers."""
    require("mindspore", "cpu")
    mindspore = import_module("mindspore")
    nn = mindspore.nn
    net, pictures = padded(target, padding, size=size), images(size=size)
    weights = net.export()
    mode = {"pad_mode": "pad", "padding": 3} if padding == "same_pool" else {}
    conv, norm = nn.Conv2d(3, 64, kernel_size=7, stride=2, **mode), nn.BatchNorm2d(64)
    pool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
    conv.weight.set_data(mindspore.Tensor(weights["conv1.weight"]))
    slots = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for theirs, ours in slots.items():
        getattr(norm, theirs).set_data(mindspore.Tensor(weights[f"bn1.{ours}"]))
    norm.set_train(False)
    x = (pictures / 255 - np.array(net.spec.mean)) / np.array(net.spec.std)
    x = mindspore.Tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2).astype(np.float32)))
    wanted = pool(mindspore.ops.relu(norm(conv(x)))).asnumpy()
    assert relative(net.predict_step(stop="layer1")(pictures), wanted) < 1e-5
    others = [padded(target, other, size=size) for other in PADDINGS if other != padding]
    differences = [other.predict_step(stop="layer1")(pictures) - wanted for other in others]
    assert max(np.abs(difference).max() for difference in differences) > 0.1


@pytest.mark.parametrize("padding", ["same_pool", "same"])
def test_training_moves_the_same_way_in_both_frameworks(target, padding):
    losses, after = [], []
    for one in (DECLARED[0], target):
        net = padded(one, padding)
        groups = make_groups(net.shapes, [(tuple(n for n in net.shapes if not is_statistic(n)), 0.0)])
        batch = Batch(images(), *targets_of(LossSpec(), np.arange(4) % 2, 2))
        losses.append(net.train_step(OptimizerSpec("sgd"), groups)([batch], (0.01,))()[0])
        after.append(net.export())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert max(np.abs(after[0][n] - after[1][n]).max() for n in after[0]) < 1e-4


def calibrated(net, pictures):
    """Its weights, with the running statistics of these pictures."""
    before = net.export()
    head = net.arch.head_names
    groups = make_groups(before, [(head, 0.0)], filter(is_statistic, before))
    batch = Batch(pictures, *targets_of(LossSpec(), np.zeros(len(pictures), np.int64), 2))
    net.train_step(OptimizerSpec(), groups)([batch], (0.0,))()
    after = net.export()
    return before | {n: before[n] + 10 * (after[n] - before[n]) for n in before if is_statistic(n)}


def as_mindcv(weights):
    names = {"downsample": "down_sample", "fc.": "classifier."}
    for ours, theirs in names.items():
        weights = {name.replace(ours, theirs): array for name, array in weights.items()}
    return weights


def training_pictures(recipe, target):
    prepared = prepare(recipe, *require(target.backend, target.kind))
    split = prepared.data.train
    return read_now(split, recipe.augment.eval_transforms, np.arange(len(split.labels)))


@pytest.mark.parametrize("padding", ["same", *(pytest.param(p, marks=pytest.mark.long) for p in PADDINGS[:2])])
def test_weights_with_mindcvs_names_get_the_padding_that_their_statistics_fit(target, padding, data, tmp_path):
    source = tmp_path / "theirs.safetensors"
    asked = {"data": str(data), "arch": "resnet18", "size": SIZE, "batch_size": 10}
    pictures = training_pictures(as_recipe(None, asked | {"weights": "random"}), target)
    assert len(pictures) == 20
    weights = calibrated(padded(target, padding), pictures)
    save_file(as_mindcv(weights), source)
    prepared = prepare(as_recipe(None, asked | {"weights": str(source)}), *require(target.backend, target.kind))
    assert prepared.net.spec.padding == padding
    assert f"model.padding = '{padding}', by a forward test" in prepared.notes[0]
    assert "those of 20 training pictures" in prepared.notes[0]
    after = prepared.net.export()
    body = [name for name in after if not name.startswith("fc.")]
    assert all(np.array_equal(after[name], weights[name]) for name in body)  # the test leaves no trace in them
    decided = asked | {"weights": str(source), "model.padding": "same"}
    by_hand = prepare(as_recipe(None, decided), *require(target.backend, target.kind))
    assert (by_hand.net.spec.padding, by_hand.notes) == ("same", ())
    save_file(weights, source)  # torchvision's names: there is nothing to doubt
    plain = prepare(as_recipe(None, asked | {"weights": str(source)}), *require(target.backend, target.kind))
    assert (plain.net.spec.padding, plain.notes) == ("symmetric", ())


def test_a_checkpoint_carries_it_to_predictions_and_to_the_next_training(target, data, tmp_path):
    backend, device = require(target.backend, target.kind)
    recipe = {"data": str(data), "arch": "resnet18", "size": SIZE, "batch_size": 10, "epochs": 1, "lr": 0.0001}
    run = xfer.train(
        None, backend, device=device, output=tmp_path / "run", **recipe, weights="random", **{"model.padding": "same"}
    )
    saved = load_checkpoint(tmp_path / "run")
    assert json.loads(saved.metadata()["padding"]) == saved.spec.padding == "same"
    picture = next((data / "val" / "ants").iterdir())
    wanted = run.predict([picture], backend=backend, device=device).probabilities
    other = replace(saved, spec=replace(saved.spec, padding="symmetric", graph=None))
    one = read_now(prepare(as_recipe(None, recipe | {"weights": "random"}), backend, device).data.val,
                   saved.transforms, np.array([0]))  # fmt: skip
    logits = [checkpoint.net(backend, device).predict_step()(one) for checkpoint in (saved, other)]
    assert relative(*logits) > 1e-4
    softmax = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert np.abs(softmax - wanted).max() < 1e-5
    again = prepare(as_recipe(None, recipe | {"weights": str(tmp_path / "run")}), backend, device)
    assert again.net.spec.padding == "same"


def test_a_checkpoint_of_before_is_padded_symmetrically_and_a_damaged_one_is_refused(target, data, tmp_path):
    backend, device = require(target.backend, target.kind)
    asked = {"data": str(data), "arch": "resnet18", "size": SIZE, "weights": "random"}
    weights = prepare(as_recipe(None, asked), backend, device).net.export()
    for name, metadata in (("old", {}), ("bad", {"padding": '"left"'})):
        write_weights(tmp_path / f"{name}.safetensors", weights, {"format": "xfer-1"} | metadata)
    sources = [str(tmp_path / f"{name}.safetensors") for name in ("old", "bad")]
    assert prepare(as_recipe(None, asked | {"weights": sources[0]}), backend, device).net.spec.padding == "symmetric"
    with pytest.raises(WeightsError, match=r"bad\.safetensors: padding = 'left': expected one of symmetric, same_pool"):
        prepare(as_recipe(None, asked | {"weights": sources[1]}), backend, device)


def test_a_network_that_is_no_resnet_has_none(target):
    backend, device = require(target.backend, target.kind)
    recipe = as_recipe(None, {"arch": "convnet", "weights": "random", "model.padding": "same"})
    with pytest.raises(ConfigError, match=r"model\.padding = 'same': convnet is no ResNet\. Cure: "):
        prepare(recipe, backend, device)


def test_real_weights_tell_padding_in_all_layers_from_torchvisions(target):
    """Of the network turned by 180 degrees, on pictures turned as far, the padding is SAME, but for its projections."""
    folders = [os.environ.get(name) for name in ("XFER_TEST_DATA", "XFER_TEST_WEIGHTS")]
    if not all(folders):
        pytest.skip("XFER_TEST_DATA and XFER_TEST_WEIGHTS name no real pictures and weights")
    recipe = as_recipe(
        None, {"data": str(Path(folders[0]) / "hymenoptera_data"), "arch": "resnet18", "weights": "random"}
    )
    split = prepare(recipe, *require(target.backend, target.kind)).data.val
    pictures = read_now(split, recipe.augment.eval_transforms, np.linspace(0, 152, 16).astype(int))
    weights, _ = read_weights(Path(folders[1]) / "resnet18-imagenet1k-pq.safetensors")
    distances = {}
    for padding in ("symmetric", "same"):
        net = padded(target, padding, size=224)
        body = {n: weights[n] for n in net.shapes if not n.startswith("fc.")}
        for turned in (False, True):
            turn = {n: w[..., ::-1, ::-1].copy() if turned and w.ndim == 4 else w for n, w in body.items()}
            net.load(net.export() | turn)
            x = pictures[:, ::-1, ::-1].copy() if turned else pictures
            distances[padding, turned] = statistics_distance(net, x)
    assert distances["symmetric", False] < 0.85 * distances["same", False]
    assert distances["same", True] < 0.98 * distances["symmetric", True]
