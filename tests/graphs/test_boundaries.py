"""Boundaries are called after what begins there."""

import pytest
from small_graphs import GRAPHS, residual

from xfer.graphs import packaged
from xfer.graphs.parts import begun_by, boundaries, part_of
from xfer.graphs.stages import stages_of

NAMES = {
    "residual": ["stem", "bn1", "layer1", "layer2", "head", "logits"],
    "convolutional head": ["stem", "layer1", "head", "logits"],
    "transformer": [
        "stem",
        "layer1",
        "blocks.0",
        "layer2",
        "blocks.1",
        "layer3",
        "blocks.3",
        "layer4",
        "ln",
        "head",
        "logits",
    ],
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
    assert (found["features.5"], found["features.7.conv.1"]) == ("features.5.conv", "layer3")
