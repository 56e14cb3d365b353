"""What speaks for a class: the gradient it is made of, and that both frameworks see the same."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from small_graphs import GRAPHS

import xfer
from xfer.archs import LOGITS
from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.graphs.parts import boundaries
from xfer.nets.catalogue import graph_named
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec
from xfer.recipe.load import as_recipe
from xfer.results import explained, layercam
from xfer.results.layercam import Tokens, explain, places
from xfer.testing.fixtures import require
from xfer.testing.kit import random_batch, random_weights
from xfer.testing.pictures import write_class_folders

FRAMEWORKS = ("torch", "mindspore")


def network(backend, arch, size):
    net = build_net(backend, "cpu", ModelSpec(arch, 3, (size, size), (0.5,) * 3, (0.25,) * 3))
    net.load(random_weights(net.graph.weights, 0))
    return net


def pictures(size, count=2):
    return random_batch(count, 3, (size, size)).inputs


@pytest.mark.parametrize("class_", [0, 2])
def test_it_is_the_gradient_of_the_logit(class_):
    """By central differences, in single precision."""
    net = network(require("torch")[0], "convnet", 20)
    assert list(places(net.graph, (20, 20))) == ["layer1", "layer2"]
    for place in places(net.graph, (20, 20)):
        activation = net.predict_step(stop=place)(pictures(20, 1))
        logits, rng = net.predict_step(place), np.random.default_rng(1)
        gradient = layercam._Gradient(net, place)(activation, logits(activation)[0], class_)
        assert gradient.shape == activation.shape[1:]
        for _ in range(5):
            way = rng.standard_normal(activation.shape).astype(np.float32)
            step = np.float32(1e-3) * way
            above, below = (logits(activation + sign * step)[0, class_].astype(np.float64) for sign in (1, -1))
            assert (above - below) / 2e-3 == pytest.approx(float((gradient * way[0]).sum()), rel=2e-2, abs=2e-3)


def test_a_map_is_what_the_paper_says():
    gradient = np.array([[[1, -2], [3, 0]], [[1, 1], [-1, 0]]], np.float32)
    activation = np.array([[[2, 5], [1, 7]], [[-6, 1], [4, 7]]], np.float32)
    expected = np.array([[0, 1 / 3], [1, 0]], np.float32)  # 1*2 - 1*6 < 0; 1*1; 3*1; nothing
    np.testing.assert_allclose(layercam._layercam(gradient, activation, 0), expected)
    last = (np.moveaxis(array, 0, -1) for array in (gradient, activation))
    np.testing.assert_allclose(layercam._layercam(*last, 2), expected)
    assert not layercam._layercam(-abs(gradient), activation, 0).any()


def test_the_predicted_class_is_explained_where_none_is_asked_for():
    net = network(require("torch")[0], "convnet", 20)
    images = pictures(20, 3)
    guesses = net.predict_step()(images).argmax(axis=1)
    found = explain(net, images, [None, None, 1])
    assert found.classes.tolist() == [*guesses[:2], 1]
    assert found.maps.min() >= 0
    assert set(found.maps.max(axis=(1, 2))) <= {0, 1}
    np.testing.assert_array_equal(found.pictures, images)
    again = explain(net, images[1:2], [None])
    np.testing.assert_allclose(again.maps[0], found.maps[1], atol=1e-5)  # whatever lies beside it


@pytest.mark.parametrize(
    ("arch", "size", "at"), [("convnet", 20, None), ("convnet", 20, "layer1"), ("swin_t", 64, None)]
)
def test_both_frameworks_see_the_same(arch, size, at):
    first, second = (explain(network(require(b)[0], arch, size), pictures(size), [None, 1], at) for b in FRAMEWORKS)
    assert first.boundary == second.boundary
    assert first.classes.tolist() == second.classes.tolist()
    assert first.maps.any()
    assert np.abs(first.maps - second.maps).max() < 1e-4


def transformer(backend):
    graph = GRAPHS["transformer"]
    net = build_net(backend, "cpu", ModelSpec("", 3, (32, 32), (0.5,) * 3, (0.25,) * 3, graph=graph))
    net.load(random_weights(graph.weights, 0))
    return net


def test_tokens_are_put_back_on_their_grid_without_that_of_the_class():
    rows = np.arange(7 * 2, dtype=np.float32).reshape(7, 2)
    grid = Tokens(1, 2, 3).on_grid(rows)
    assert grid.shape == (2, 3, 2)
    assert grid[..., 0].tolist() == [[2, 4, 6], [8, 10, 12]]
    assert Tokens(0, 7, 1).on_grid(rows)[:, 0].tolist() == rows.tolist()


def test_what_a_patch_says_stands_at_its_place_in_the_picture():
    """Patches are numbered by rows, from behind the class token on."""
    net, images = transformer(require("torch")[0]), pictures(32)
    found = explain(net, images, [0, 0], next(iter(places(net.graph, (32, 32)))))
    assert found.maps.shape == (2, 4, 4)
    activation = net.predict_step(stop=found.boundary)(images)
    gradient = layercam._Gradient(net, found.boundary)
    logits = net.predict_step()(images)
    total = np.maximum(gradient(activation[:1], logits[0], 0), 0) * activation[0]
    rows = np.maximum(total.sum(axis=1), 0)[1:]
    assert rows.max() > 0
    for place, value in enumerate(rows / rows.max()):
        assert found.maps[0, place // 4, place % 4] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("at", [None, "layer2"])
def test_both_frameworks_see_the_same_in_tokens(at):
    first, second = (explain(transformer(require(b)[0]), pictures(32), [None, 1], at) for b in FRAMEWORKS)
    assert first.boundary == second.boundary == (at or "layer4")
    assert first.maps.shape == (2, 4, 4)
    assert first.maps.any(axis=(1, 2)).all()
    assert np.abs(first.maps - second.maps).max() < 1e-4


def test_where_maps_cross():
    graph = graph_named("swin_t")
    assert set(places(graph, (224, 224)).values()) == {3}  # as windows have it
    of_tokens = places(graph_named("vit_b_16"), (224, 224))
    assert {"encoder", "layer1", "encoder.layers.encoder_layer_11"} <= of_tokens.keys()
    assert set(of_tokens.values()) == {2}
    assert "encoder.ln" not in of_tokens, "only the class token counts behind it"
    assert layercam.tokens_of(graph_named("vit_b_16"), (224, 224)) == Tokens(1, 14, 14)
    assert layercam.tokens_of(graph_named("resnet18"), (224, 224)) is None
    assert layercam.tokens_of(graph_named("swin_t"), (224, 224)) is None
    of_resnet = places(graph_named("resnet18"), (64, 96))
    assert set(of_resnet.values()) == {1}
    assert {"layer1", "layer4.1"} <= of_resnet.keys()
    assert not {"stem", "head", LOGITS} & of_resnet.keys()


@pytest.mark.parametrize(("arch", "last"), [("resnet18", "layer4.1"), ("efficientnet_lite0", "_conv_head")])
def test_by_default_it_is_the_last_place_that_no_normalisation_follows(arch, last):
    net = network(require("torch")[0], arch, 64)
    assert layercam.choose_place(net, None) == last
    assert boundaries(net.graph)[last] in {node.name for node in net.graph.nodes}


def test_what_cannot_be_explained_is_refused():
    net = network(require("torch")[0], "convnet", 20)
    with pytest.raises(ConfigError, match=r"^at = 'layer9': expected one of "):
        explain(net, pictures(20), [None, None], "layer9")
    with pytest.raises(ConfigError, match=r"^at = 'head': expected one of "):
        explain(net, pictures(20), [None, None], "head")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("explained")
    data = write_class_folders(root / "pictures", ("ants", "bees"), (6, 4))
    usual = {"data": str(data), "arch": "convnet", "weights": "random", "size": 20, "epochs": 1, "train_from": "stem"}
    return xfer.train(as_recipe(None, usual), require("torch")[0], output=root / "run", progress=False)


def call(*words, code=0):
    result = CliRunner().invoke(main, ["explain", *map(str, words), "--quiet"])
    assert result.exit_code == code, result.output
    return result


def test_the_worst_validation_pictures_of_a_run_go_into_its_report(run, tmp_path):
    path = shutil.copytree(run.path, tmp_path / "run")
    assert "explained.png" not in {file.name for file in (path / "plots").iterdir()}
    wrong = [name for name, _ in explained.most_wrong(path)]
    rows = {row["file"]: row[f"p_{row['label']}"] for row in predicted(path)}
    assert [rows[name] for name in wrong] == sorted(rows.values())[:8]
    before = (path / "report.html").stat().st_size
    assert "explained.png" in call(path).stdout
    assert (path / "plots" / "explained.png").stat().st_size > 10_000
    assert "by LayerCAM" in (path / "report.html").read_text()
    assert (path / "report.html").stat().st_size > before
    xfer.train(run.recipe, require("torch")[0], output=path, overwrite=True, progress=False)
    assert not (path / "plots" / "explained.png").exists()  # of other weights


def predicted(path):
    with open(path / "predictions.csv", newline="", encoding="utf-8") as lines:
        return [{k: float(v) if k[:2] == "p_" else v for k, v in row.items()} for row in csv.DictReader(lines)]


def test_pictures_into_a_folder(run, tmp_path):
    folder = tmp_path / "out"
    images = run.recipe.data.source + "/val/ants"
    call(run.path, images, "-o", folder, "--class", "bees", "--at", "layer1")
    record = json.loads((folder / "explained.json").read_text())
    assert record["boundary"] == "layer1"
    assert {row["class"] for row in record["pictures"]} == {"bees"}
    for row in record["pictures"]:
        assert Image.open(folder / row["picture"]).size == (20, 20)
    assert Image.open(folder / "explained.png").width > 400
    call(run.path, images, "-o", folder)  # in the place of its own


def test_bad_input_is_one_line(run, tmp_path):
    images = run.recipe.data.source + "/val"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for words, said in {
        (run.path / "best.safetensors",): "Cure: name pictures",
        (run.path, images, "--class", "wasps"): "class = 'wasps': expected one of ants, bees",
        (run.path, images, "--at", "layer7"): "at = 'layer7': expected one of",
        (run.path, images, "-o", tmp_path / "mine"): "holds notes.txt, but no explanation",
        (run.path, tmp_path / "mine", "-o", tmp_path / "new"): "mine",
        (run.path, "-o", tmp_path / "new"): "--output",
        (tmp_path, images): "no checkpoint here",
    }.items():
        result = call(*words, code=2)
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
