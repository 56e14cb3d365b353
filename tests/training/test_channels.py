"""Grey pictures, `data.channels = 1`: what a network gets of them, its first weights, and what a run is used for."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import xfer
from xfer.backend import NetworkSpec
from xfer.data.files import Files
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import CheckpointError, ConfigError
from xfer.export.export import export
from xfer.export.runtime import open_onnx
from xfer.formats.files import read_with_metadata, write_weights
from xfer.graphs.channels import fitted, mean_of, takers, with_channels
from xfer.graphs.graph import Node
from xfer.graphs.read import graph_from_json
from xfer.graphs.shapes import shapes_of
from xfer.nets import catalogue
from xfer.nets.specs import ModelSpec, with_graph
from xfer.pixels.augment import Channels, apply
from xfer.pixels.channels import channels_of, in_grey
from xfer.plots.overlay import overlaid
from xfer.plots.style import in_colours
from xfer.porting.probe import measure
from xfer.porting.task import GRADIENTS, LOGITS_OF_ALL, Task
from xfer.recipe.load import as_recipe
from xfer.results.checkpoint import load_checkpoint
from xfer.results.explained import explain
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.recorder import Recorder
from xfer.testing.resuming import assert_same_end, ended
from xfer.training.gallery import draw
from xfer.training.resume import identity, refuse_changes
from xfer.training.run import fit, prepare

NAMES = ["numpy", "torch", "mindspore"]
GREY = Channels(count=1)


# Pixels


def test_grey_is_pillows_to_the_bit_and_grey_colours_keep_their_value():
    colours = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    assert np.array_equal(in_grey(colours)[..., 0], np.asarray(Image.fromarray(colours).convert("L")))
    values = np.arange(256, dtype=np.uint8)[:, None, None]
    assert np.array_equal(in_grey(in_colours(values)), values)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_augmentations_see_colours_and_grey_leaves(tmp_path, suffix, mode):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 4), np.uint8)
    name = str(tmp_path / f"a{suffix}")
    Image.fromarray(pixels).convert("RGB" if suffix == ".jpg" and mode == "RGBA" else mode).save(name)
    recipe = as_recipe(None, {"augment.train": [
        {"op": "RandomResizedCrop", "size": 24}, {"op": "ColorJitter", "brightness": 0.4, "hue": 0.1},
        {"op": "RandAugment"}, {"op": "RandomErasing", "p": 1.0, "value": "random"},
    ], "augment.eval": [{"op": "Resize", "size": [24, 24]}]})  # fmt: skip
    split = Split(Files.below(str(tmp_path), [f"a{suffix}"]), np.zeros(1, np.int64))
    for transforms in (recipe.augment.train_transforms, recipe.augment.eval_transforms):
        plain = read_now(split, transforms, np.array([0, 0]))
        for place in (0, len(transforms)):
            asked = (*transforms[:place], GREY, *transforms[place:])
            grey = read_now(split, asked, np.array([0, 0]))
            assert grey.shape == (2, 24, 24, 1)
            assert np.array_equal(grey, in_grey(plain))
    with Image.open(name) as image:
        one = apply(image.convert("RGB"), (GREY,))
    assert (one.shape, one.dtype, one.flags.writeable) == ((40, 50, 1), np.uint8, True)


# Networks


FAMILIES = (
    "alexnet", "convnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5",
    "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_16",
)  # fmt: skip


@pytest.mark.parametrize("names", [FAMILIES, pytest.param(catalogue.names(), marks=pytest.mark.long)])
def test_every_network_of_the_catalogue_has_one_for_grey(names):
    for name in names:
        graph = catalogue.graph_named(name)
        grey = with_channels(graph, 1)
        shapes_of(grey, grey.size)
        (changed,) = [n for n in graph.weights if graph.weights[n] != grey.weights[n]]
        assert grey.weights[changed][1] * 3 == graph.weights[changed][1]
        assert (changed,) == takers(graph)
        assert with_channels(grey, 1) is grey
        assert graph_from_json(json.loads(json.dumps(grey.as_json()))) == grey
        assert grey.digest() != graph.digest()


def test_a_network_that_takes_colours_apart_is_refused():
    graph = catalogue.graph_named("convnet")
    first = graph[next(node.name for node in graph.nodes if node.kind == "conv")]
    red = Node("red", "slice", ("image",), {"axis": 1, "start": 0, "stop": 1})
    apart = (graph.nodes[0], red, *graph.nodes[1:])
    with pytest.raises(ConfigError, match=r"^data.channels: red \(slice\) takes the colours .* Cure: data\."):
        with_channels(replace(graph, nodes=apart), 1)
    by_group = replace(first, attributes={**first.attributes, "groups": 3})
    with pytest.raises(ConfigError, match=r"\(conv\) takes the colours"):
        with_channels(replace(graph, nodes=tuple(by_group if node is first else node for node in graph.nodes)), 1)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_that_were_added_up_give_what_three_equal_colours_gave(name):
    backend, device = require(name)
    graph = NETWORK if name == "numpy" else catalogue.graph_named("convnet", (32, 32))
    graph, rng = graph.with_classes(4), np.random.default_rng(2)
    weights = {n: rng.normal(0, 0.1, shape).astype(np.float32) for n, shape in graph.weights.items()}
    weights |= {n: np.abs(array) + 0.5 for n, array in weights.items() if n.endswith("running_var")}
    grey = with_channels(graph, 1)
    of_grey, names = fitted(weights, grey)
    assert names == takers(graph)
    assert {n: array.shape for n, array in of_grey.items()} == dict(grey.weights)
    assert fitted(of_grey, grey) == (of_grey, ())
    assert fitted(weights, graph)[1] == ()
    pictures = rng.integers(0, 256, (3, 32, 32, 1), np.uint8)
    logits = []
    for of, known, images, count in ((graph, weights, in_colours(pictures), 3), (grey, of_grey, pictures, 1)):
        model = backend.build(NetworkSpec(of, (0.4,) * count, (0.3,) * count), device)
        backend.import_weights(model, known)
        start = "stem" if name == "numpy" else catalogue.arch_named("convnet", graph).stage_names[0]
        logits.append(backend.make_predict_step(model, start, "logits")(images))
    assert np.allclose(*logits, rtol=1e-4, atol=1e-4 * np.abs(logits[0]).max())
    assert np.abs(logits[0]).max() > 1e-3


def test_parity_measures_a_network_of_grey_pictures_by_its_weights():
    """Both frameworks against each other, on pictures of which they see the grey."""
    grey, rng = with_channels(catalogue.graph_named("convnet", (32, 32)).with_classes(3), 1), np.random.default_rng(6)
    weights = {n: rng.normal(0, 0.1, shape).astype(np.float32) for n, shape in grey.weights.items()}
    weights |= {n: np.abs(array) + 0.5 for n, array in weights.items() if n.endswith("running_var")}
    task = Task("convnet", rng.integers(0, 256, (4, 32, 32, 3), np.uint8), weights, steps=1, batch_size=4)
    logits, gradients = [], []
    for name in ("torch", "mindspore"):
        arrays = measure(require(name)[0], "cpu", task).arrays
        logits.append(arrays[LOGITS_OF_ALL]["logits"])
        gradients.append(arrays[GRADIENTS][takers(grey)[0]])
    assert np.allclose(*logits, atol=1e-4 * np.abs(logits[0]).max())
    assert np.allclose(*gradients, atol=1e-3 * np.abs(gradients[0]).max())
    assert gradients[0].shape[1] == 1


def test_the_mean_and_the_deviation_of_grey_are_the_means_of_those_of_the_colours():
    spec = ModelSpec("convnet", 2, (32, 32), (0.3, 0.5, 0.7), (0.1, 0.2, 0.3), channels=1)
    found = with_graph(spec, NumpyBackend()).network
    assert (found.mean, found.std) == (pytest.approx((0.5,)), pytest.approx((0.2,)))
    assert mean_of((0.3, 0.5, 0.7), 3) == (0.3, 0.5, 0.7)


# Runs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (6, 3), (36, 40))


def settings(data, name="numpy", **changes):
    usual = {"data": str(data), "weights": "random", "size": 32, "epochs": 1, "batch_size": 4, "train_from": "head"}
    usual |= {"arch": "tiny" if name == "numpy" else "convnet", "model.dropout": 0.0, "data.channels": 1}
    return (
        usual
        | {"augment.train": [{"op": "RandomResizedCrop", "size": 32}, {"op": "ColorJitter", "hue": 0.2}]}
        | changes
    )


def recipe_of(data, name="numpy", **changes):
    return as_recipe(None, settings(data, name, **changes))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_grey_pictures_and_all_that_it_is_used_for(data, tmp_path, name):
    backend, device = require(name)
    usual = {"device": device, "progress": False}
    plain = xfer.train(recipe_of(data, name, **{"data.channels": 3}), backend, output=tmp_path / "colours", **usual)
    recipe = recipe_of(data, name, **{"weights": str(plain.path), "mix.mixup": 0.2})
    p = prepare(recipe, backend, device)
    (first,) = takers(with_graph(replace(p.net.spec, graph=None, channels=3), backend).network.graph)
    says = f"data.channels = 1: the kernels of the three colours were added up in {first}"
    assert says in p.notes
    was = plain.checkpoint.weights[first]
    parts = was.reshape(was.shape[0], 3, -1).sum(axis=1)
    assert np.allclose(p.net.export()[first].reshape(parts.shape), parts, atol=1e-6)
    run = xfer.train(recipe, backend, output=tmp_path / "run", **usual)
    assert run.checkpoint.spec.graph.channels == 1
    assert channels_of(run.checkpoint.transforms) == 1
    assert run.evaluate(backend=backend).accuracy == run.result["val_accuracy"]
    flipped = run.evaluate(backend=backend, tta="flip")
    assert np.isfinite(flipped.logits).all()
    files = sorted((data / "val").rglob("*.png"))
    of_files = run.predict(files, backend=backend).probabilities
    images = [Image.open(file) for file in files]
    for given in (images, [np.asarray(image) for image in images], [image.convert("RGBA") for image in images]):
        assert np.array_equal(run.predict(given, backend=backend).probabilities, of_files)
    found = run.path / "best.safetensors"
    weights, meta = read_with_metadata(found)
    if name != "numpy":
        explained = explain(load_checkpoint(found), [(str(files[0]), str(files[0]))], backend, device).explanation
        assert explained.pictures.shape == (1, 32, 32, 1)
        assert explained.maps.max() <= 1
        own = run.model(device="cpu")
        assert own is not None
    # A checkpoint whose parts do not fit each other is refused.
    without = json.loads(meta["transforms"])
    meta["transforms"] = json.dumps([one for one in without if one["op"] != "Channels"])
    write_weights(tmp_path / "odd.safetensors", weights, meta)
    with pytest.raises(CheckpointError, match=r"transforms make pictures of 3 channels, its network takes 1"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_grey_pictures_are_drawn(data, tmp_path):
    recipe = recipe_of(data)
    run = xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", progress=False)
    p = prepare(recipe, NumpyBackend())
    *_, last = fit(p)
    draw(p, run.path, last.result)
    assert sorted(f.stem for f in (run.path / "plots").glob("*.png")) == [
        "confusion_matrix", "curves", "predictions", "samples", "top_losses"]  # fmt: skip
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert np.array_equal(overlaid(grey, np.zeros((2, 2))), overlaid(in_colours(grey), np.zeros((2, 2))))


@pytest.mark.parametrize("enters", ["normalised", "pixels"])
def test_an_onnx_model_takes_one_channel(data, tmp_path, enters):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    backend = NumpyBackend()
    run = xfer.train(recipe_of(data), backend, output=tmp_path / "run", progress=False)
    target = tmp_path / "model.onnx"
    exported = export(run.path, target, enters=enters, backend=backend)
    assert exported.check.passed
    (shape,) = [value.shape for value in onnxruntime.InferenceSession(str(target)).get_inputs()]
    assert shape == (["batch", 1, 32, 32] if enters == "normalised" else ["batch", 32, 32, 1])
    model = open_onnx(target)
    files = sorted(map(str, (data / "val").rglob("*.png")))
    pictures = np.stack([apply(Image.open(file), model.about.transforms) for file in files])
    chances = run.predict(files, backend=backend).probabilities
    logits = model.step(pictures)
    assert np.allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), chances, atol=1e-5)
    with pytest.raises(ConfigError, match=r"^--input pictures: of Channels\(count=1\), .* Cure: --input pixels$"):
        export(run.path, tmp_path / "whole.onnx", enters="pictures", backend=backend)


@pytest.mark.parametrize("format", ["torchscript", "torch-export", "mindir"])
def test_what_a_framework_writes_takes_one_channel(data, tmp_path, format):
    name = "mindspore" if format == "mindir" else "torch"
    backend, _ = require(name)
    run = xfer.train(recipe_of(data, name), backend, output=tmp_path / "run", progress=False)
    suffix = {"torchscript": ".pt", "torch-export": ".pt2", "mindir": ".mindir"}[format]
    assert export(run.path, tmp_path / f"model{suffix}", format=format, backend=backend).check.passed


@pytest.mark.parametrize("name", NAMES)
def test_a_run_stopped_within_its_epochs_ends_the_same(data, tmp_path, name):
    backend, device = require(name)
    recipe = recipe_of(data, name, epochs=2, views=2)
    whole = ended(recipe, [backend], [], tmp_path, device)
    assert_same_end(whole, ended(recipe, [backend], [2, 3], tmp_path, device))
    stored = identity(whole[0])
    with pytest.raises(CheckpointError, match=r"data.channels was 1, 3 is now"):
        refuse_changes(prepare(recipe_of(data, name, epochs=2, views=2, **{"data.channels": 3}), backend, device),
                       stored, tmp_path)  # fmt: skip


def test_both_frameworks_get_the_same_batches_and_features_are_kept_apart(data, tmp_path, monkeypatch):
    traces, losses = [], []
    for name in ("torch", "mindspore"):
        recorder = Recorder(require(name)[0])
        *_, last = fit(prepare(recipe_of(data, name), recorder, "cpu"))
        traces.append(recorder.trace)
        losses.append(last.epoch.val_loss)
    assert traces[0] == traces[1]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "10MB")
    ends = {}
    for cached in (True, False):  # the second of each pair finds what the first has kept
        for channels in (3, 1):
            recipe = recipe_of(data, views=1, **{"data.channels": channels, "features.cache": cached})
            *_, last = fit(prepare(recipe, NumpyBackend()))
            ends[cached, channels] = last.epoch.val_loss
    assert ends[True, 1] == pytest.approx(ends[False, 1], abs=1e-6)
    assert ends[True, 3] == pytest.approx(ends[False, 3], abs=1e-6)
    assert ends[True, 1] != ends[True, 3]


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_a_native_pipeline_gives_grey_too(data, name):
    backend, _ = require(name)
    plain = [{"op": "Resize", "size": [32, 32]}]
    ends = {}
    for pipeline in ("core", "native"):
        recipe = recipe_of(data, name, **{"data.pipeline": pipeline, "augment.train": plain, "augment.eval": plain})
        *_, last = fit(prepare(recipe, backend, "cpu"))
        ends[pipeline] = last.result.logits
    assert np.allclose(ends["core"], ends["native"], atol=0.1)


def test_what_cannot_be_meant_is_refused_in_one_line(data):
    for count in (0, 2, 5, "grey"):
        with pytest.raises(ConfigError, match=r"data\.channels"):
            recipe_of(data, **{"data.channels": count})
    listed = recipe_of(data, **{"augment.eval": [{"op": "Channels", "count": 1}, {"op": "Resize", "size": [32, 32]}]})
    with pytest.raises(ConfigError, match=r"^augment: Channels stands in a list\. Cure: data.channels"):
        prepare(listed, NumpyBackend())
