"""What a file says of its network is held against its tensors before a network is built."""

import numpy as np
import pytest
from small_graphs import CONV, Builder

from xfer.backend import ModelSpec
from xfer.errors import ConfigError, WeightsError
from xfer.nets.catalogue import ARCHS
from xfer.nets.claims import refuse_claims
from xfer.nets.specs import with_graph


def weights(blocks=(2, 2, 2, 2), classes=3, extra=()):
    names = ["conv1", *(f"layer{stage}.{block}.conv1" for stage, n in enumerate(blocks, 1) for block in range(n))]
    held = {f"{name}.weight": np.zeros((1, 1), np.float32) for name in names}
    held |= {f"extra.{i}.weight": np.zeros((width, 1), np.float32) for i, width in enumerate(extra)}
    return held | {"fc.weight": np.zeros((classes, 1), np.float32)}


def spec(arch="resnet18", classes=3, **changes):
    return ModelSpec(arch, classes, (32, 32), (0.5,) * 3, (0.5,) * 3, **changes)


@pytest.mark.parametrize(
    ("held", "claimed"),
    [
        (weights(), spec()),
        (weights((2, 2, 2, 3)), spec(layers=(2, 2, 2, 3))),
        (weights((1, 12)), spec(layers=(1, 12))),
        (weights((3, 8, 36, 3)), spec("resnet152")),
        (weights(extra=(5, 7)), spec(extra=(5, 7))),
    ],
)
def test_a_true_claim_is_let_through(held, claimed):
    refuse_claims(ARCHS, claimed, held, "c.safetensors")


@pytest.mark.parametrize(
    ("held", "claimed", "message"),
    [
        (weights(), spec(classes=10**9), r"number of classes = \[1000000000\], its weights say \[3\]"),
        (weights(), spec(layers=(256, 2, 2, 2)), r"layers = \[256, 2, 2, 2\], its weights say \[2, 2, 2, 2\]"),
        (weights(), spec("resnet152"), r"layers = \[3, 8, 36, 3\], its weights say \[2, 2, 2, 2\]"),
        (weights(), spec(layers=(2, 2, 2)), "belongs to no stage"),
        (weights(), spec(layers=(10**9,)), "each 1 to 256"),
        (weights(), spec(extra=(8,)), r"extra = \[8\], its weights say \[\]"),
        (weights(extra=(8, 9)), spec(extra=(8,)), r"extra = \[8\], its weights say \[8, 9\]"),
        (weights(extra=(8,)), spec(), "belongs to no stage"),
        ({"fc.weight": np.zeros((), np.float32)}, spec(), r"classes = \[3\], its weights say \[0\]"),
        ({}, spec(), r"classes = \[3\], its weights say \[\]"),
    ],
)
def test_a_false_claim_is_named(held, claimed, message):
    with pytest.raises(WeightsError, match=f"c.safetensors does not fit the network: .*{message}"):
        refuse_claims(ARCHS, claimed, held, "c.safetensors")


def test_hidden_layers_may_be_of_the_network_itself():
    b = Builder()
    b.add("mean", "mean", axes=[2, 3], keep=False)
    b.linear("head", 3, 3)
    graph = b.graph("head").with_hidden("extra", [5])
    held = {name: np.zeros(shape, np.float32) for name, shape in graph.weights.items()}
    refuse_claims({}, spec("n.safetensors", graph=graph), held, "c.safetensors")
    with pytest.raises(WeightsError, match="number of classes"):
        refuse_claims({}, spec("n.safetensors", classes=4, graph=graph), held, "c.safetensors")


def test_a_network_that_gives_no_logits_is_refused():
    b = Builder()
    b.add("head", "conv", slots={"weight": (3, 3, 1, 1), "bias": (3,)}, **CONV | {"padding": [0] * 4})
    with pytest.raises(ConfigError, match=r"gives \(1, 3, 32, 32\) of one picture: expected logits, \(1, 3\)"):
        with_graph(spec("n.safetensors", graph=b.graph("head")), {})
