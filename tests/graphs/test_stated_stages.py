"""A graph may name its stages itself."""

from dataclasses import replace

import pytest
from small_graphs import Builder, residual

from xfer.errors import ConfigError
from xfer.graphs.read import graph_from_json
from xfer.graphs.stages import stages_of

STATED = {"stem": "conv1", "layer1": "layer1.0.conv1", "layer2": "layer2.0.conv1"}


def stated(**changes):
    return replace(residual(), stages=STATED | changes)


def test_a_graph_may_say_where_its_stages_begin():
    graph = replace(residual(), stages={"eyes": "conv1", "rest": "bn1"}).with_classes(7)
    assert [(stage.name, stage.nodes[0].name) for stage in stages_of(graph)] == [
        ("eyes", "conv1"),
        ("rest", "bn1"),
        ("head", "fc"),
    ]
    assert [stage.name for stage in stages_of(graph.with_hidden("extra", (5,)))] == ["eyes", "rest", "extra", "head"]
    assert stages_of(stated()) == stages_of(residual())
    assert stated().digest() != residual().digest()
    assert graph_from_json(stated().as_json()) == stated()


def test_stages_of_its_own_need_no_square():
    """Maps of 16 x 8 and 8 x 4: of these alone no stride could be told."""
    graph = replace(stated(), size=(32, 16))
    assert [stage.name for stage in stages_of(graph)] == ["stem", "layer1", "layer2", "head"]


def test_a_stage_that_begins_behind_what_drops_takes_that_along():
    b = Builder()
    b.conv("conv", 4, 3, stride=4)
    b.add("drop", "dropout", p=0.5)
    b.add("relu", "relu")
    b.conv("next", 4, 4)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 4)
    for begin in ("drop", "relu", "next"):
        stages = stages_of(replace(b.graph("fc"), stages={"first": "conv", "second": begin}))
        assert [[node.name for node in stage.nodes] for stage in stages] == [
            ["conv"], ["drop", "relu", "next", "pool"], ["fc"],
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ({"layer1": "layer1.0.bn1"}, "layer1: layer1.0.bn1 is no node behind a cut"),
        ({"layer2": "fc"}, "layer2: fc is no node behind a cut"),
        ({"layer2": "conv1"}, "begin with conv1, layer1.0.conv1, conv1. Cure: conv1 first"),
        ({"stem": "bn1"}, "begin with bn1, .*Cure: conv1 first"),
        ({"stem": "layer1.0.conv1", "layer1": "conv1"}, "Cure: conv1 first"),
        ({"head": "flat"}, "head: a name for what lies behind all stages. Cure: another name"),
        ({"logits": "flat"}, "logits: a name for what lies behind all stages. Cure: another name"),
    ],
)
def test_stages_that_cannot_be_cut_are_refused(stages, reason):
    with pytest.raises(ConfigError, match=reason):
        stages_of(stated(**stages))


def test_stages_of_its_own_share_no_weight():
    b = Builder()
    b.conv("a", 3, 3)
    b.conv("b", 3, 3)
    b.nodes[-1] = replace(b.nodes[-1], weights={"weight": "a.weight"})
    del b.weights["b.weight"]
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("head", 2, 3)
    with pytest.raises(ConfigError, match="stage layer1 shares a weight with an earlier one"):
        stages_of(replace(b.graph("head"), stages={"stem": "a", "layer1": "b"}))
