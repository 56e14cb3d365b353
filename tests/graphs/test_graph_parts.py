"""What lies between two boundaries, and the same at rest: held to the formulas of every node."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from small_graphs import CONV, GRAPHS, Builder, residual

from xfer.archs import LOGITS
from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.graph import Graph
from xfer.graphs.parts import Merge, at_rest, boundaries, part_of
from xfer.nets.catalogue import graph_named
from xfer.testing.kinds import evaluate
from xfer.testing.kit import random_weights

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 32, 32))
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def values_of(graph, weights):
    return evaluate(graph, weights, IMAGES)


def through(graph, part, weights, entering):
    """What a part makes of the value of its source, and of nothing else of the network."""
    names = {node.name for node in part.nodes}
    assert part.source not in names
    given = replace(graph[part.source], kind="image", inputs=(), attributes={}, weights={})
    nodes = (given, *part.nodes)
    return evaluate(Graph(nodes, graph.weights, graph.head), weights, entering)[part.result]


@every_graph
def test_every_part_makes_of_what_enters_it_what_the_whole_has_there(graph):
    weights = random_weights(graph.weights, 1)
    values, known = values_of(graph, weights), boundaries(graph)
    names = list(known)
    assert names[-1] == LOGITS
    assert (known[names[0]], known[LOGITS]) == ("image", graph.nodes[-1].name)
    assert known["head"] == graph[graph.head].inputs[0]
    for first, start in enumerate(names):
        for stop in names[first:]:
            part = part_of(graph, start, stop)
            found = through(graph, part, weights, values[known[start]])
            assert np.array_equal(found, values[known[stop]])


@every_graph
def test_parts_one_behind_the_other_are_the_whole_and_no_node_is_in_two(graph):
    names = list(boundaries(graph))
    parts = [part_of(graph, start, stop) for start, stop in pairwise(names)]
    count = Counter(node.name for part in parts for node in part.nodes)
    assert set(count.values()) == {1}
    assert set(count) == {node.name for node in graph.nodes[1:]}
    assert [part.source for part in parts[1:]] == [part.result for part in parts[:-1]]


@every_graph
def test_a_part_ends_at_any_node_that_lies_behind_its_beginning(graph):
    weights = random_weights(graph.weights, 1)
    values, known = values_of(graph, weights), boundaries(graph)
    for start, source in known.items():
        for node in graph.nodes[graph.places[source] + 1 :]:
            part = part_of(graph, start, f"node:{node.name}")
            assert part.result == node.name
            found = through(graph, part, weights, values[source])
            assert np.array_equal(found, values[node.name])


@every_graph
def test_merged_parts_that_end_at_any_node_give_what_it_has_unmerged(graph):
    weights = random_weights(graph.weights, 1)
    values = values_of(graph, weights)
    for node in graph.nodes[1:]:
        rest, merges = at_rest(graph, part_of(graph, next(iter(boundaries(graph))), f"node:{node.name}"))
        found, right = through(graph, rest, merged_weights(merges, weights), IMAGES), values[node.name]
        assert np.abs(found - right).max() <= 1e-6 * np.abs(right).max()


def test_nodes_that_are_none_or_come_before_are_refused():
    with pytest.raises(ConfigError, match=r"'node:bn9': the network has no such node\. Did you mean 'bn1'"):
        part_of(residual(), "stem", "node:bn9")
    with pytest.raises(ConfigError, match="from 'layer2' to 'node:bn1': comes before it"):
        part_of(residual(), "layer2", "node:bn1")


def test_nothing_lies_between_a_boundary_and_itself():
    part = part_of(residual(), "layer2", "layer2")
    assert (part.nodes, part.source) == ((), part.result)


def early_table():
    """A scale that stands before everything, and is used behind the second boundary."""
    b = Builder()
    scale = b.table("scale", 4, 1, 1, fill=1.0)
    b.conv("conv1", 4, 3, "image", stride=2)
    b.add("relu1", "relu")
    b.conv("conv2", 4, 4, stride=2)
    second = b.add("relu2", "relu")
    b.add("scaled", "mul", second, scale)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 4)
    return b.graph("fc")


def test_a_part_has_with_it_what_is_made_of_no_picture():
    graph = early_table()
    weights = random_weights(graph.weights, 1)
    part = part_of(graph, "layer1", LOGITS)
    assert part.nodes[0].name == "scale"
    assert "scale" not in {node.name for node in part_of(graph, "stem", "layer1").nodes}
    values = values_of(graph, weights)
    assert np.array_equal(through(graph, part, weights, values[part.source]), values["fc"])


def test_other_names_and_the_wrong_way_round_are_refused():
    with pytest.raises(ConfigError, match="'layer9'"):
        part_of(residual(), "stem", "layer9")
    with pytest.raises(ConfigError, match="from 'layer2' to 'layer1': comes before it"):
        part_of(residual(), "layer2", "layer1")


def merged_weights(merges, weights):
    made = dict(weights)
    for merge in merges:
        assert not {merge.weight, merge.bias} & set(made)
        made |= dict(zip((merge.weight, merge.bias), merge.values(weights), strict=True))
    return made


@pytest.mark.parametrize("graph", [*GRAPHS.values(), early_table()], ids=[*GRAPHS, "early table"])
def test_merged_logits_equal_unmerged_ones(graph):
    weights = random_weights(graph.weights, 1)
    rest, merges = at_rest(graph, part_of(graph, next(iter(boundaries(graph))), LOGITS))
    assert (rest.source, rest.result) == ("image", graph.nodes[-1].name)
    found, wanted = through(graph, rest, merged_weights(merges, weights), IMAGES), values_of(graph, weights)
    right = wanted[rest.result]
    assert np.abs(found - right).max() < 1e-6 * np.abs(right).max()


@pytest.mark.parametrize(
    ("name", "count"), {"densenet121": 59, "googlenet": 57, "vgg16_bn": 13, "resnet18": 20, "mobilenet_v2": 52}.items()
)
def test_every_convolution_with_a_norm_of_its_own_is_merged(name, count):
    graph = graph_named(name)
    part = part_of(graph, "stem", LOGITS)
    rest, merges = at_rest(graph, part)
    assert len(merges) == count == len(part.nodes) - len(rest.nodes)
    before, after = (Counter(node.kind for node in nodes) for nodes in (part.nodes, rest.nodes))
    assert after == before - Counter(batch_norm=count)
    assert len({name for merge in merges for name in (merge.weight, merge.bias)} | set(graph.weights)) == (
        2 * count + len(graph.weights)
    )


def test_none_is_merged_across_a_boundary():
    graph = residual()
    assert boundaries(graph)["bn1"] == "conv1"  # between a convolution and its norm
    whole, before, behind = (
        at_rest(graph, part_of(graph, *ends)) for ends in (("stem", LOGITS), ("stem", "bn1"), ("bn1", LOGITS))
    )
    assert [merge.weight for merge in whole[1]][:2] == ["conv1.weight merged", "layer1.0.conv1.weight merged"]
    assert ([node.name for node in before[0].nodes], before[1]) == (["conv1"], ())
    assert behind[0].nodes[0] == graph["bn1"]
    assert behind[1] == whole[1][1:]


def two_of_each(change):
    """A convolution with its norm, twice one behind the other; `change` of the second ones."""
    b = Builder()
    for number in (1, 2):
        b.conv(f"conv{number}", 3, 3)
        b.norm(f"bn{number}", 3)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 3)
    graph = b.graph("fc")
    nodes = tuple(replace(node, weights={**node.weights, **change.get(node.name, {})}) for node in graph.nodes)
    used = {name for node in nodes for name in node.weights.values()}
    return replace(graph, nodes=nodes, weights={name: shape for name, shape in graph.weights.items() if name in used})


@pytest.mark.parametrize(
    ("change", "count"),
    [({}, 2), ({"conv2": {"weight": "conv1.weight"}}, 0), ({"bn2": {"bias": "bn1.bias"}}, 0)],
    ids=["none", "of convolutions", "of norms"],
)
def test_none_with_a_weight_that_something_else_has_too_is_merged(change, count):
    graph = two_of_each(change)
    weights = random_weights(graph.weights, 1)
    rest, merges = at_rest(graph, part_of(graph, "stem", LOGITS))
    assert len(merges) == count
    right = values_of(graph, weights)["fc"]
    found = through(graph, rest, merged_weights(merges, weights), IMAGES)
    assert np.abs(found - right).max() < 1e-6 * np.abs(right).max()


def test_none_is_merged_where_something_else_takes_what_the_convolution_gives():
    b = Builder()
    b.conv("conv", 3, 3)
    b.norm("bn", 3)
    b.add("sum", "add", "bn", "conv")
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 3)
    graph = b.graph("fc")
    part = part_of(graph, "stem", LOGITS)
    assert at_rest(graph, part) == (part, ())


def test_groups_strides_and_a_bias_stay_those_of_the_convolution():
    b = Builder()
    of = CONV | {"groups": 3, "stride": [2, 1], "padding": "same"}
    b.add("conv", "conv", slots={"weight": (6, 1, 3, 3), "bias": (6,)}, **of)
    b.norm("bn", 6)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 6)
    graph = b.graph("fc")
    weights = random_weights(graph.weights, 1)
    rest, merges = at_rest(graph, part_of(graph, "stem", LOGITS))
    assert merges[0].sources[-1] == "conv.bias"
    assert (rest.nodes[0].name, rest.nodes[0].attributes) == ("bn", of)
    right = values_of(graph, weights)["fc"]
    found = through(graph, rest, merged_weights(merges, weights), IMAGES)
    assert np.abs(found - right).max() < 1e-6 * np.abs(right).max()


@pytest.mark.parametrize(("bias", "shift"), [((), 2.0), (("b",), 2.75)])
def test_the_values_of_a_merge(bias, shift):
    """By hand: s = 3 / sqrt(1.5 + 2.5) = 1.5; 5 + (0 - 2) * 1.5 = 2, and with a bias of 0.5 more 2.75."""
    arrays = {"w": [[[[1, -2]]]], "g": [3], "s": [5], "m": [2], "v": [1.5], "b": [0.5]}
    weights = {name: np.array(value, np.float32) for name, value in arrays.items()}
    weight, made = Merge(("w", "g", "s", "m", "v", *bias), "w'", "b'", eps=2.5).values(weights)
    assert (weight.tolist(), made.tolist()) == ([[[[1.5, -3.0]]]], [shift])
    assert (weight.dtype, made.dtype) == (np.float32, np.float32)


def test_each_output_channel_has_a_factor_of_its_own():
    ones = np.ones(2, np.float32)
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), "g": np.array([1, 10], np.float32), "s": 0 * ones, "m": ones}
    weight, bias = Merge(("w", "g", "s", "m", "v"), "w'", "b'", eps=0.0).values(weights | {"v": ones})
    assert weight[:, :, 0, 0].tolist() == [[1, 1, 1], [10, 10, 10]]
    assert bias.tolist() == [-1, -10]


def test_a_packaged_network_is_cut_where_its_stages_begin():
    graph = packaged.load("squeezenet1_1")
    known = boundaries(graph)
    assert (known["stem"], known["head"]) == ("image", graph[graph.head].inputs[0])
    assert list(known)[-2:] == ["head", LOGITS]
