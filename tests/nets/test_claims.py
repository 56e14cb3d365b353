"""What a file says of its network is held against its tensors before a network is built."""

import numpy as np
import pytest
from small_graphs import CONV, Builder

from xfer.errors import ConfigError, WeightsError
from xfer.nets.claims import refuse_claims
from xfer.nets.specs import ModelSpec, with_graph
from xfer.testing.numpy_backend import NumpyBackend

BACKEND = NumpyBackend()


def spec(arch="resnet18", classes=3, **changes):
    return with_graph(ModelSpec(arch, classes, (32, 32), (0.5,) * 3, (0.5,) * 3, **changes), BACKEND)


def weights(of):
    return {name: np.zeros(shape, np.float32) for name, shape in of.graph.weights.items()}


CLAIMS = [
    spec(),
    spec(layers=(2, 2, 2, 3)),
    spec(layers=(1, 12)),
    spec("resnet50"),
    spec(extra=(5, 7)),
    spec("convnet"),
    spec("tiny"),
]


@pytest.mark.parametrize("claimed", CLAIMS)
def test_a_true_claim_is_let_through(claimed):
    refuse_claims(claimed, weights(claimed), "c.safetensors")


@pytest.mark.parametrize(
    ("held", "claimed", "message"),
    [
        (spec(), spec(classes=10**9), r"fc\.weight is \(3, 512\), expected \(1000000000, 512\)"),
        (spec(), spec(layers=(256, 2, 2, 2)), r"missing: layer1\.2\.conv1\.weight"),
        (spec(), spec("resnet152"), "missing: .*The file looks like resnet18"),
        (spec(), spec(layers=(2, 2, 2)), r"unexpected: layer4\.0\.conv1\.weight"),
        (spec(), spec(extra=(8,)), r"missing: extra\.0\.weight"),
        (spec(extra=(8, 9)), spec(extra=(8,)), r"unexpected: extra\.1\.weight"),
        (spec(extra=(8,)), spec(), r"unexpected: extra\.0\.weight"),
    ],
)
def test_a_false_claim_is_named(held, claimed, message):
    with pytest.raises(WeightsError, match=f"c.safetensors does not fit the network: .*{message}"):
        refuse_claims(claimed, weights(held), "c.safetensors")


@pytest.mark.parametrize("held", [{}, {"fc.weight": np.zeros((), np.float32)}])
def test_weights_of_no_network_are_refused(held):
    with pytest.raises(WeightsError, match=r"missing: conv1\.weight"):
        refuse_claims(spec(), held, "c.safetensors")


def test_hidden_layers_may_be_of_the_network_itself():
    b = Builder()
    b.add("mean", "mean", axes=[2, 3], keep=False)
    b.linear("head", 3, 3)
    graph = b.graph("head").with_hidden("extra", [5])
    claimed = spec("n.safetensors", graph=graph)
    refuse_claims(claimed, weights(claimed), "c.safetensors")
    with pytest.raises(WeightsError, match="number of classes = 4, its weights say 3"):
        refuse_claims(spec("n.safetensors", classes=4, graph=graph), weights(claimed), "c.safetensors")


def test_a_network_that_gives_no_logits_is_refused():
    b = Builder()
    b.add("head", "conv", slots={"weight": (3, 3, 1, 1), "bias": (3,)}, **CONV | {"padding": [0] * 4})
    with pytest.raises(ConfigError, match=r"gives \(1, 3, 32, 32\) of one picture: expected logits, \(1, 3\)"):
        spec("n.safetensors", graph=b.graph("head"))
