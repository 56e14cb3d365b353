"""Networks of every family as ONNX models: what onnxruntime makes of them is what the network gives."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx_backend import OnnxBackend, session_of
from small_graphs import GRAPHS

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, norm_layers
from xfer.backend import NetworkSpec
from xfer.errors import ConfigError
from xfer.export.network import Network, onnx_model
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import boundaries
from xfer.nets import catalogue
from xfer.testing.fixtures import require
from xfer.testing.kinds import evaluate
from xfer.testing.kit import random_batch, random_weights

CLOSE = 1e-5  # of the largest logit
SMALL = {
    "convnet": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_lite0": 64,
    "googlenet": 64,
    "mnasnet0_5": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 65,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
}
"""Name -> side of the pictures."""


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere():
    """Backends are those that are installed: what torch gives is asked for."""


def as_network(graph, weights, size=None):
    return Network(graph, weights, size or graph.size, IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_small_network_gives_what_its_formulas_say_in_batches_of_any_size(name):
    graph = GRAPHS[name]
    weights = random_weights(graph.weights, seed=1)
    model = onnx_model(as_network(graph, weights), "normalised", 17, {"arch": name})
    onnx.checker.check_model(model, full_check=True)
    session = session_of(model)
    images = np.random.default_rng(0).normal(size=(5, 3, *graph.size)).astype(np.float32)
    wanted = evaluate(graph, weights, images)[graph.nodes[-1].name]
    assert np.ptp(wanted, axis=0).min() > 1e-3
    for part in (slice(0, 1), slice(0, 5), slice(2, 5)):
        logits, shares = session.run(["logits", "probabilities"], {"images": images[part]})
        assert np.abs(logits - wanted[part]).max() <= CLOSE * np.abs(wanted).max()
        powers = np.exp(wanted[part])
        assert np.abs(shares - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-6


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_each_family_gives_what_torch_gives(name):
    backend, device = require("torch")
    side = SMALL[name]
    graph = catalogue.graph_named(name, (side, side)).with_classes(5)
    weights = lively(random_weights(graph.weights, seed=1))
    images = random_batch(3, image_size=(side, side)).inputs
    start = next(iter(boundaries(graph)))
    logits = []
    for used in (backend, OnnxBackend()):
        model = used.build(NetworkSpec(graph_of_size(graph, side), IMAGENET_MEAN, IMAGENET_STD), device)
        used.import_weights(model, weights)
        logits.append(used.make_predict_step(model, start, "logits")(images))
    wanted, found = logits
    assert np.ptp(wanted, axis=0).max() > 1e-3 * np.abs(wanted).max(), "this test needs pictures that are told apart"
    assert np.abs(found - wanted).max() <= CLOSE * np.abs(wanted).max()


def lively(weights):
    """With larger scales in norm layers: through many of them, random ones let all pictures look the same."""
    scales = {f"{layer}.weight" for layer in norm_layers(weights)}
    return {name: 2 * weight if name in scales else weight for name, weight in weights.items()}


def graph_of_size(graph, side):
    return Graph(graph.nodes, graph.weights, graph.head, (side, side), graph.fixed, graph.stages)


@pytest.mark.long
def test_every_network_of_the_catalogue_gives_what_torch_gives():
    from tests import onnx_all

    require("torch")
    assert onnx_all.main([]) == 0


def test_a_convolution_and_its_normalisation_are_one():
    graph = GRAPHS["residual"]
    model = onnx_model(as_network(graph, random_weights(graph.weights, seed=1)), "normalised", 17, {})
    kinds = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == sum(node.kind == "conv" for node in graph.nodes)


def test_names_of_a_network_are_in_nobodys_way():
    """A stranger's nodes and weights may be called like the model's own values."""
    names = {"images": "relu", "logits": "sigmoid", "probabilities": "tanh"}
    nodes, last = [Node("image", "image")], "image"
    for name, kind in names.items():
        nodes.append(Node(name, kind, (last,)))
        last = name
    nodes += [
        Node("pool", "mean", (last,), {"axes": [2, 3], "keep": False}),
        Node("head", "linear", ("pool",), {}, {"weight": "logits/Sigmoid", "bias": "constant"}),
        Node("end", "add", ("head",), {"value": 2.0}),
    ]
    graph = Graph(tuple(nodes), {"logits/Sigmoid": (4, 3), "constant": (4,)}, "head", (8, 8))
    weights = random_weights(graph.weights, seed=1)
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    model = onnx_model(as_network(graph, weights), "normalised", 17, {})
    onnx.checker.check_model(model, full_check=True)
    (logits,) = session_of(model).run(["logits"], {"images": images})
    assert np.allclose(logits, evaluate(graph, weights, images)["end"], atol=1e-5)


def test_weights_that_fit_into_no_file_are_refused_before_anything_is_made():
    shapes = {"head.weight": (30_000, 30_000), "head.bias": (30_000,)}
    nodes = (
        Node("image", "image"),
        Node("pool", "mean", ("image",), {"axes": [2, 3], "keep": False}),
        Node("head", "linear", ("pool",), {}, {"weight": "head.weight", "bias": "head.bias"}),
    )
    with pytest.raises(ConfigError, match=r"bytes of weights: an ONNX file holds .* at most. Cure: --format"):
        onnx_model(as_network(Graph(nodes, shapes, "head", (8, 8)), {}), "normalised", 17, {})


def test_sizes_that_the_network_does_not_take_are_an_error_of_one_line():
    with pytest.raises(ConfigError, match=r"cannot take \(.*\): expected values for"):
        onnx_model(as_network(GRAPHS["transformer"], {}, (40, 40)), "normalised", 17, {})
