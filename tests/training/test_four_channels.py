"""Pictures of four channels, `data.channels = 4`: the fourth moves with the colours and is never coloured."""

import numpy as np
import pytest
from PIL import Image

import xfer
from xfer.backend import NetworkSpec
from xfer.data.files import Files
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import ConfigError, DataError
from xfer.export.export import export
from xfer.graphs.channels import channels_in, fitted, mean_of, takers, with_channels
from xfer.nets import catalogue
from xfer.pixels.augment import Channels, apply
from xfer.pixels.levels import Levels
from xfer.pixels.rgb import to_rgba
from xfer.recipe.load import as_recipe
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.recorder import Recorder
from xfer.training.run import fit, prepare

NAMES = ["numpy", "torch", "mindspore"]
FOUR = Channels(count=4)
STILL = [
    {"op": "ColorJitter", "brightness": 0.4, "hue": 0.2}, {"op": "Grayscale"}, {"op": "RandomGrayscale", "p": 1.0},
    {"op": "AutoContrast", "p": 1.0}, {"op": "Equalize", "p": 1.0}, {"op": "Invert", "p": 1.0},
    {"op": "Posterize", "bits": 3, "p": 1.0}, {"op": "Solarize", "threshold": 90, "p": 1.0},
    {"op": "Sharpness", "sharpness_factor": 2.0, "p": 1.0}, {"op": "GaussianBlur", "kernel_size": 3},
    {"op": "RandomErasing", "p": 1.0},
]  # fmt: skip
MOVING = [
    {"op": "RandomResizedCrop", "size": 20}, {"op": "RandomCrop", "size": 30, "padding": 4},
    {"op": "Resize", "size": 20},
    {"op": "CenterCrop", "size": 20}, {"op": "HorizontalFlip", "p": 1.0}, {"op": "VerticalFlip", "p": 1.0},
    {"op": "Rotation", "degrees": 40}, {"op": "Affine", "degrees": 20, "translate": [0.2, 0.1]},
    {"op": "Perspective", "p": 1.0}, {"op": "Pad", "padding": 3}, {"op": "Letterbox", "size": 24},
]  # fmt: skip


def listed(*steps):
    return as_recipe(None, {"augment.train": [*steps, {"op": "CenterCrop", "size": 16}]}).augment.train_transforms


def rgba(seed=0, size=(36, 40)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 4), np.uint8)


@pytest.mark.parametrize("step", [*STILL, *MOVING], ids=lambda step: step["op"])
def test_colours_are_as_ever_and_the_fourth_moves_as_they_do(step):
    """Against the same operation on the colours alone, and on a grey picture of the fourth channel."""
    pixels, transforms = rgba(), listed(step)
    colours, fourth = pixels[..., :3], np.repeat(pixels[..., 3:], 3, axis=-1)
    made = apply(Image.fromarray(pixels), (FOUR, *transforms), np.random.default_rng(7))
    assert made.shape == (16, 16, 4)
    assert np.array_equal(made[..., :3], apply(Image.fromarray(colours), transforms, np.random.default_rng(7)))
    moved = listed() if step in STILL else listed({**step, **({"fill": 0} if step["op"] in ("Letterbox",) else {})})
    alone = apply(Image.fromarray(fourth), moved, np.random.default_rng(7))
    assert np.array_equal(made[..., 3], alone[..., 0])


def test_what_is_filled_in_is_0_in_the_fourth():
    opaque = Image.fromarray(np.full((20, 20, 4), 200, np.uint8))
    steps = as_recipe(None, {"augment.train": [{"op": "Pad", "padding": 2, "fill": 90}]}).augment.train_transforms
    made = apply(opaque, (FOUR, *steps))
    assert (made[0, 0].tolist(), made[10, 10].tolist()) == ([90, 90, 90, 0], [200] * 4)


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "LA", "P"])
def test_files_keep_colours_under_their_transparency_and_are_opaque_without(tmp_path, mode):
    pixels = rgba(1, (20, 24))
    image = Image.fromarray(pixels) if mode in ("RGBA", "LA") else Image.fromarray(pixels[..., :3])
    (image if mode == "RGBA" else image.convert(mode)).save(tmp_path / "a.png")
    split = Split(Files.below(str(tmp_path), ["a.png"]), np.zeros(1, np.int64))
    transforms = (FOUR, *as_recipe(None, {"augment.eval": [{"op": "CenterCrop", "size": [20, 24]}]}).augment.eval)
    (made,) = read_now(split, transforms, np.array([0]))
    with Image.open(tmp_path / "a.png") as again:
        assert np.array_equal(made, np.asarray(again.convert("RGBA")))
    assert (made[..., 3] == 255).all() == (mode not in ("RGBA", "LA"))
    image.convert("RGB").save(tmp_path / "a.jpg")
    (made,) = read_now(Split(Files.below(str(tmp_path), ["a.jpg"]), split.labels), transforms, np.array([0]))
    with Image.open(tmp_path / "a.jpg") as again:
        assert np.array_equal(made, np.asarray(again.convert("RGBA")))


def test_transparency_of_16_bits_and_a_depth_is_refused():
    image = Image.fromarray(rgba())
    with pytest.raises(DataError, match=r"^transparency of 16 bits is not scaled .* Cure: data.depth = 16"):
        to_rgba(image, Levels(depth=12), (image, False))


@pytest.mark.parametrize("name", NAMES)
def test_four_channels_that_are_alike_give_what_three_gave(name):
    backend, device = require(name)
    graph = (NETWORK if name == "numpy" else catalogue.graph_named("convnet", (32, 32))).with_classes(4)
    rng = np.random.default_rng(2)
    weights = {n: rng.normal(0, 0.1, shape).astype(np.float32) for n, shape in graph.weights.items()}
    weights |= {n: np.abs(array) + 0.5 for n, array in weights.items() if n.endswith("running_var")}
    first = takers(graph)[0]
    shape = weights[first].shape
    alike = weights[first].reshape(shape[0], 3, -1)[:, :1].repeat(3, axis=1)
    weights[first] = alike.reshape(shape)  # kernels of one kind: whichever comes twice, the sum is the same
    four = with_channels(graph, 4)
    of_four, names = fitted(weights, four)
    assert names == (first,)
    assert {n: array.shape for n, array in of_four.items()} == dict(four.weights)
    assert (channels_in(of_four, graph), channels_in(weights, graph)) == (4, 3)
    pictures = rng.integers(0, 256, (3, 32, 32, 1), np.uint8)
    logits = []
    for of, known, count in ((graph, weights, 3), (four, of_four, 4)):
        model = backend.build(NetworkSpec(of, (0.4,) * count, (0.3,) * count), device)
        backend.import_weights(model, known)
        start = "stem" if name == "numpy" else catalogue.arch_named("convnet", graph).stage_names[0]
        logits.append(backend.make_predict_step(model, start, "logits")(np.repeat(pictures, count, axis=-1)))
    assert np.allclose(*logits, rtol=1e-4, atol=1e-4 * np.abs(logits[0]).max())


def test_kernels_are_timms_and_the_mean_of_the_fourth_is_that_of_the_colours():
    graph = catalogue.graph_named("resnet18")
    weights = {"conv1.weight": np.arange(64 * 3 * 49, dtype=np.float32).reshape(64, 3, 7, 7)}
    made = fitted(weights, with_channels(graph, 4))[0]["conv1.weight"]
    for channel, of in enumerate((0, 1, 2, 0)):
        assert np.array_equal(made[:, channel], weights["conv1.weight"][:, of] * np.float32(0.75))
    assert mean_of((0.3, 0.5, 0.7), 4) == pytest.approx((0.3, 0.5, 0.7, 0.5))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes that differ in the fourth channel alone."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    rng = np.random.default_rng(3)
    for split, count in (("train", 8), ("val", 4)):
        for label, level in (("low", 40), ("high", 210)):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (32, 32, 4), np.uint8)
                pixels[..., 3] = rng.normal(level, 15, (32, 32)).clip(0, 255)
                Image.fromarray(pixels).save(root / split / label / f"{i}.png")
    return root


def settings(data, name, **changes):
    usual = {"data": str(data), "weights": "random", "size": 32, "epochs": 6, "batch_size": 4, "train_from": "stem"}
    usual |= {"arch": "tiny" if name == "numpy" else "convnet", "model.dropout": 0.0, "data.channels": 4}
    return usual | {"optimizer.kind": "adam", "optimizer.lr": 0.003} | changes


@pytest.mark.parametrize("name", NAMES)
def test_a_run_learns_from_the_fourth_channel_and_is_used(data, tmp_path, name):
    backend, device = require(name)
    usual = {"device": device, "progress": False}
    run = xfer.train(as_recipe(None, settings(data, name)), backend, output=tmp_path / "run", **usual)
    assert run.result["val_accuracy"] == 1.0
    assert run.checkpoint.spec.graph.channels == 4
    files = sorted((data / "val").rglob("*.png"))
    of_files = run.predict(files, backend=backend).probabilities
    images = [Image.open(file) for file in files]
    for given in (images, [np.asarray(image) for image in images]):
        assert np.array_equal(run.predict(given, backend=backend).probabilities, of_files)
    opaque = run.predict([np.asarray(image)[..., :3] for image in images], backend=backend)
    assert (opaque.probabilities.argmax(axis=1) == list(run.checkpoint.classes).index("high")).all()
    assert run.evaluate(backend=backend, tta="flip").accuracy == 1.0
    again = as_recipe(None, settings(data, name, weights=str(run.path), epochs=1, **{"data.channels": 3}))
    with pytest.raises(xfer.XferError, match=r"of another shape"):
        prepare(again, backend, device)


def test_exported_models_take_four_channels(data, tmp_path):
    pytest.importorskip("onnxruntime")
    run = xfer.train(
        as_recipe(None, settings(data, "numpy", epochs=1)), NumpyBackend(), output=tmp_path / "run", progress=False
    )
    for enters in ("normalised", "pixels"):
        assert export(run.path, tmp_path / f"{enters}.onnx", enters=enters, backend=NumpyBackend()).check.passed


def test_both_frameworks_get_the_same_batches(data):
    traces = []
    steps = [
        {"op": "RandomResizedCrop", "size": 32},
        {"op": "Rotation", "degrees": 20},
        {"op": "ColorJitter", "hue": 0.2},
    ]
    for name in ("torch", "mindspore"):
        recorder = Recorder(require(name)[0])
        recipe = as_recipe(None, settings(data, name, epochs=1, **{"augment.train": steps, "mix.cutmix": 1.0}))
        list(fit(prepare(recipe, recorder, "cpu")))
        traces.append(recorder.trace)
    assert traces[0] == traces[1]


def test_what_cannot_be_meant_is_refused_in_one_line(data):
    backend, steps = NumpyBackend(), [{"op": "RandomResizedCrop", "size": 32}, {"op": "RandAugment"}]
    policy = as_recipe(None, settings(data, "numpy", **{"augment.train": steps}))
    with pytest.raises(ConfigError, match=r"^data.channels = 4: RandAugment draws what moves .* Cure: operations"):
        prepare(policy, backend)
    native = as_recipe(None, settings(data, "numpy", **{"data.pipeline": "native"}))
    with pytest.raises(ConfigError, match=r"^data.channels = 4: a native pipeline .* Cure: data.pipeline = 'core'$"):
        list(fit(prepare(native, backend)))
