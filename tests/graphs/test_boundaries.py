"""Boundaries are called after what begins there."""

import pytest
from small_graphs import GRAPHS, Builder, residual

from xfer.graphs import packaged
from xfer.graphs.parts import begun_by, boundaries, part_of
from xfer.graphs.stages import stages_of

NAMES = {
    "residual": ["stem", "bn1", "layer1", "layer2", "head", "logits"],
    "convolutional head": ["stem", "layer1", "head", "logits"],
    "transformer": ["stem", "layer1", "layer2", "layer3", "layer4", "ln", "head", "logits"],
}
CATALOGUE = ("squeezenet1_1", "vit_b_32", "mobilenet_v2", "regnet_y_400mf", "densenet121", "googlenet", "mnasnet0_5")


@pytest.mark.parametrize("name", GRAPHS)
def test_names(name):
    assert list(boundaries(GRAPHS[name])) == NAMES[name]


@pytest.mark.parametrize("network", CATALOGUE)
def test_nothing_of_a_module_lies_before_the_boundary_that_is_called_after_it(network):
    graph = packaged.load(network)
    (first, *names), begun = boundaries(graph), begun_by(graph)
    stages = {stage.name for stage in stages_of(graph)}
    for name in (*names[:-1], *begun):
        if name not in stages:
            entered = begun.get(name, name)
            before = [weight for node in part_of(graph, first, entered).nodes for weight in node.weights.values()]
            behind = [weight for node in part_of(graph, entered, names[-1]).nodes for weight in node.weights.values()]
            assert not [weight for weight in before if weight.startswith(f"{name}.")]
            assert behind[0].startswith(f"{name}.")


def test_modules_that_begin_where_something_else_gives_the_name():
    assert begun_by(residual()) == {"conv1": "stem", "layer1.0": "layer1", "layer2.0": "layer2"}
    assert begun_by(GRAPHS["transformer"])["blocks.2"] == "layer3"
    found = begun_by(packaged.load("mobilenet_v2"))
    assert (found["features.5"], found["features.7.conv"]) == ("features.5.conv", "layer3")


@pytest.mark.parametrize(
    ("network", "crossed"),
    [
        ("alexnet", {"hidden": "flatten", "classifier.4": "classifier.2", "head": "classifier.5"}),
        ("vgg11", {"hidden": "flatten", "classifier.3": "classifier.1"}),
    ],
)
def test_what_drops_lies_behind_the_boundary_of_what_takes_the_rest(network, crossed):
    """Linear, ReLU, dropout, linear: trained from the second linear layer, the dropout goes on dropping."""
    found = boundaries(packaged.load(network))
    assert {name: found[name] for name in crossed} == crossed


def test_what_drops_may_be_moved_about_before_weights_take_it():
    b = Builder()
    b.conv("conv", 4, 3, stride=4)
    before = b.add("relu", "relu")
    b.add("drop", "dropout", p=0.5)
    b.add("turned", "permute", axes=[0, 2, 3, 1])
    b.linear("mixed", 4, 4)
    b.add("pool", "mean", axes=[1, 2], keep=False)
    b.linear("fc", 2, 4)
    graph = b.graph("fc")
    assert boundaries(graph) == {"stem": "image", "layer1": before, "head": "pool", "logits": "fc"}
    assert [node.name for node in part_of(graph, "layer1", "head").nodes] == ["drop", "turned", "mixed", "pool"]
