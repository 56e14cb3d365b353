"""Shapes, cuts and stages are derived from the graph alone."""

import re
from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import pytest
from small_graphs import GRAPHS, Builder, residual, transformer

from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.graph import Node
from xfer.graphs.parts import boundaries, part_of
from xfer.graphs.shapes import shapes_of, work_of
from xfer.graphs.stages import arch_of, stages_of
from xfer.graphs.units import cuts

STAGES = {
    "residual": ["stem", "layer1", "layer2", "head"],
    "convolutional head": ["stem", "layer1", "head"],
    "transformer": ["stem", "layer1", "layer2", "layer3", "layer4", "head"],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_stages_are_those_of_the_stride(name):
    assert [stage.name for stage in stages_of(GRAPHS[name])] == STAGES[name]


# What a person would count as one layer, by its path.
BLOCKS = {
    "vit_b_32": r"encoder\.layers\.encoder_layer_\d+",
    "swin_t": r"features\.(?:[1357]\.\d+|[0246])",
    "maxvit_t": r"stem|blocks\.\d+\.layers\.\d+",
    "convnext_tiny": r"features\.(?:[1357]\.\d+|[0246])",
    "mobilenet_v2": r"features\.\d+",
    "mobilenet_v3_small": r"features\.\d+",
    "efficientnet_b0": r"features\.(?:[1-7]\.\d+|[08])",
    "mnasnet0_5": r"layers\.(?:8|9|10|11|12|13)\.\d+",
    "densenet121": r"features\.(?:denseblock|transition)\d",
    "regnet_y_400mf": r"trunk_output\.block\d\.block\d-\d+",
    "shufflenet_v2_x0_5": r"stage\d\.\d+",
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_stage_begins_with_a_whole_block(name):
    graph = packaged.load(name)
    arch, stages = arch_of(name, graph), dict[str, set[str]]()
    for weight in graph.weights:
        if found := re.match(BLOCKS[name], weight):
            stages.setdefault(found[0], set()).add(arch.stage_of(weight))
    assert len(stages) > 4
    assert {block: within for block, within in stages.items() if len(within) > 1} == {}


def test_encoder_layers_are_shared_out_evenly_and_what_comes_before_them_is_the_stem():
    stages = dict(arch_of("vit_b_32", packaged.load("vit_b_32")).stages)
    assert set(stages["stem"]) == {"conv_proj.weight", "conv_proj.bias", "class_token", "encoder.pos_embedding"}
    begins = [stages[f"layer{number}"][0] for number in (1, 2, 3, 4)]
    assert begins == [f"encoder.layers.encoder_layer_{number}.ln_1.weight" for number in (0, 3, 6, 9)]
    assert stages["layer4"][-1] == "encoder.ln.bias"


def test_a_norm_before_a_hidden_layer_is_of_its_stage():
    stages = dict(arch_of("maxvit_t", packaged.load("maxvit_t")).stages)
    assert [name.rpartition(".")[0] for name in stages["hidden"]] == ["classifier.2"] * 2 + ["classifier.3"] * 2


def test_what_is_strided_more_than_once_is_no_block_by_its_number():
    """By the numbers alone, `net.1` would be one, as `net.0` is, which has branches."""
    b = Builder()
    left = b.conv("net.0.left", 4, 3, "image", stride=2)
    right = b.conv("net.0.right", 4, 3, "image", stride=2)
    b.add("sum", "add", left, right)
    for number in range(3):
        b.conv(f"net.1.{number}", 4, 4, stride=2)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 4)
    assert dict(arch_of("mine", b.graph("fc")).stages) == {
        "stem": ("net.0.left.weight", "net.0.right.weight"), "layer1": ("net.1.0.weight",),
        "layer2": ("net.1.1.weight",), "layer3": ("net.1.2.weight",), "head": ("fc.weight", "fc.bias"),
    }  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_every_weight_is_in_one_stage(name):
    listed = [weight for stage in stages_of(GRAPHS[name]) for weight in stage.weights]
    assert sorted(listed) == sorted(GRAPHS[name].weights)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_stage_needs_nothing_but_what_the_one_before_it_gives(name):
    given = "image"
    for stage in stages_of(GRAPHS[name]):
        inside = {node.name for node in stage.nodes}
        outside = {source for node in stage.nodes for source in node.inputs} - inside
        assert outside == {given}
        given = stage.nodes[-1].name
    assert given == GRAPHS[name].nodes[-1].name


def test_the_core_speaks_of_it_as_of_any_network():
    arch = arch_of("mine", residual())
    assert (arch.head, arch.features, arch.dropout) == ("fc", 8, 0.25)
    assert arch.stage_of("layer2.0.se.fc.weight") == "layer2"
    assert arch.stage_of("conv1.weight") == "stem"
    assert arch.stage_of("fc.bias") == "head"
    with pytest.raises(ConfigError, match="belongs to no stage"):
        arch.stage_of("layer3.0.weight")


def test_what_decay_spares_is_known_by_its_kind():
    spared = arch_of("mine", transformer(depth=1)).spared
    assert set(spared) == {"class_token", "position", "blocks.0.ln1.weight", "blocks.0.ln2.weight", "ln.weight"} | {
        "blocks.0.attention.in_bias"
    }


def test_windows_of_swin_are_counted_with_what_fills_them_up():
    """7 x 5 pixels in windows of 2 x 3 are 48 tokens, each of which looks at 6."""
    b = Builder()
    b.add("turned", "permute", axes=[0, 2, 3, 1])
    slots = {"qkv_weight": (9, 3), "qkv_bias": (9,), "proj_weight": (3, 3), "proj_bias": (3,), "table": (15, 3)}
    b.add("attend", "window_attention", slots=slots, heads=3, window=[2, 3], shift=[1, 1], scale=1.0)
    b.add("merged", "patch_merge")
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 4 * 3 * 12)
    graph = b.graph("head", size=(7, 5))
    shapes = shapes_of(graph)
    assert (shapes["attend"], shapes["merged"]) == ((1, 7, 5, 3), (1, 4, 3, 12))
    assert work_of(graph, shapes) == 48 * 3 * (3 * 3 + 3) + 2 * 48 * 6 * 3 + 2 * 144
    assert set(arch_of("mine", graph).spared) == {"attend.table"}


SWIN = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


@pytest.mark.parametrize(
    ("name", "stages", "parts"),
    [
        (
            "swin_t",
            SWIN,
            {"features.1.0": "layer1", "features.5.5": "layer3", "features.6": "layer4", "norm": "layer4"},
        ),
        ("swin_v2_s", SWIN, {"features.0.2": "stem", "features.5.17": "layer3", "features.7.0": "layer4"}),
        ("maxvit_t", [*SWIN[:5], "hidden", "head"], {"stem.1.0": "stem", "blocks.2.layers.4": "layer3"}),
    ],
)
def test_stages_of_windows_are_those_of_the_stride_too(name, stages, parts):
    graph = packaged.load(name)
    arch = arch_of(name, graph)
    assert list(arch.stage_names) == stages
    listed = [weight for stage in stages_of(graph) for weight in stage.weights]
    assert sorted(listed) == sorted(graph.weights)
    for part, stage in parts.items():
        assert {arch.stage_of(weight) for weight in graph.weights if weight.startswith(f"{part}.")} == {stage}
    endings = ("relative_position_bias_table", "logit_scale", "cpb_mlp.0.weight", "cpb_mlp.2.weight")
    assert {weight for weight in graph.weights if weight.endswith(endings)} <= set(arch.spared)
    names = list(boundaries(graph))
    assert len(names) > 20
    through = [node.name for pair in pairwise(names) for node in part_of(graph, *pair).nodes]
    assert through == [node.name for node in graph.nodes[1:]]


def test_nothing_inside_of_a_block_with_a_shortcut_is_a_cut():
    found = [node.name for node in cuts(residual())]
    assert found[:4] == ["image", "conv1", "bn1", "relu1"]
    assert not [name for name in found if name.startswith("layer1.0.") and name not in ("layer1.0.add", "layer1.0.out")]


def test_shapes():
    shapes = shapes_of(residual(), (33, 47), batch=2)
    assert shapes["relu1"] == (2, 4, 17, 24)
    assert shapes["layer2.0.se.gate"] == (2, 8, 1, 1)
    assert shapes["layer2.0.out"] == (2, 8, 5, 6)
    assert shapes["fc"] == (2, 3)
    assert shapes_of(transformer(), batch=5)["placed"] == (5, 17, 8)


@pytest.mark.parametrize("given", [{"ceil": True, "dilation": [1, 1]}, {"ceil": False, "dilation": [2, 1]}])
def test_a_pool_that_is_padded_the_same_begins_strides_and_has_neither_ceil_nor_dilation(given):
    b = Builder()
    b.add("pool", "max_pool", kernel=[3, 2], stride=[2, 3], padding="same", dilation=[1, 1], ceil=False)
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 3 * 9 * 3)
    assert shapes_of(b.graph("head"), (17, 8))["pool"] == (1, 3, 9, 3)
    b.nodes[1] = replace(b.nodes[1], attributes={**b.nodes[1].attributes, **given})
    with pytest.raises(ConfigError, match=r'pool \(max_pool\) cannot take .*: padding "same" with'):
        shapes_of(b.graph("head"), (17, 8))


@pytest.mark.parametrize(("ceil", "sides"), [(False, (7, 3)), (True, (8, 4))])
def test_pools_round_as_they_say(ceil, sides):
    b = Builder()
    b.add("pool", "max_pool", kernel=[3, 3], stride=[2, 2], padding=[0, 0], dilation=[1, 1], ceil=ceil)
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 3 * sides[0] * sides[1])
    assert shapes_of(b.graph("head"), (16, 8))["pool"] == (1, 3, *sides)


def test_a_window_that_would_begin_behind_the_picture_is_none():
    b = Builder()
    b.add("pool", "avg_pool", kernel=[2, 2], stride=[2, 2], padding=[1, 1], ceil=True, count_pad=True)
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 3 * 4)
    assert shapes_of(b.graph("head"), (3, 3))["pool"] == (1, 3, 2, 2)


def test_work_is_counted_in_multiplications():
    b = Builder()
    b.conv("conv", 4, 3, stride=2)  # 16 x 16 x 4 values of 27 products
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 4)
    graph = b.graph("head")
    assert work_of(graph, shapes_of(graph)) == 16 * 16 * 4 * 27 + 2 * 4


def test_pictures_that_are_too_small_are_refused_with_the_node():
    b = Builder()
    b.add("pool", "max_pool", kernel=[5, 5], stride=[2, 2], padding=[0, 0], dilation=[1, 1], ceil=False)
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 3)
    with pytest.raises(ConfigError, match=r"3 x 3 pixels are too small for pool .*Cure: larger pictures"):
        shapes_of(b.graph("head"), (3, 3))


def test_shapes_that_do_not_fit_are_refused_with_the_node():
    with pytest.raises(ConfigError, match=r"placed \(add\) cannot take \(1, 37, 8\), \(1, 17, 8\)|tokens \(reshape\)"):
        shapes_of(transformer(), (48, 48))


def test_another_number_of_classes_changes_the_head_alone():
    for graph in GRAPHS.values():
        more = graph.with_classes(7)
        assert more.classes == 7
        changed = {name for name in graph.weights if graph.weights[name] != more.weights[name]}
        assert changed == set(graph[graph.head].weights.values())
        assert shapes_of(more)[more.nodes[-1].name] == (1, 7)


def test_hidden_layers_are_a_stage_of_their_own():
    graph = residual().with_hidden("extra", (5, 4))
    assert [stage.name for stage in stages_of(graph)] == ["stem", "layer1", "layer2", "extra", "head"]
    assert graph.weights["extra.0.weight"] == (5, 8)
    assert graph.weights["extra.1.weight"] == (4, 5)
    assert graph.weights["fc.weight"] == (3, 4)
    assert shapes_of(graph)["fc"] == (1, 3)
    assert graph.digest() != residual().digest()
    with pytest.raises(ConfigError, match="takes maps"):
        GRAPHS["convolutional head"].with_hidden("extra", (5,))


def test_a_layer_that_two_stages_share_keeps_them_together():
    b = Builder()
    b.conv("stem", 4, 3, stride=2)
    b.conv("a", 4, 4, stride=2)
    b.conv("b", 4, 4, stride=2)
    shared = b.nodes[-1]
    b.nodes[-1] = replace(shared, weights={"weight": "stem2.weight"})
    b.nodes.insert(
        2, replace(shared, name="early", inputs=("stem",), attributes={**shared.attributes, "stride": [1, 1]})
    )
    b.nodes[2] = replace(b.nodes[2], weights={"weight": "stem2.weight"})
    b.nodes[3] = replace(b.nodes[3], inputs=("early",))
    b.weights["stem2.weight"] = b.weights.pop("b.weight")
    b.add("pool", "adaptive_avg_pool", "b", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("head", 2, 4)
    assert [stage.name for stage in stages_of(b.graph("head"))] == ["stem", "head"]


def test_a_head_that_does_not_get_everything_is_refused():
    b = Builder()
    b.conv("stem", 4, 3, stride=2)
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    flat = b.add("flat", "flatten", start=1)
    head = b.linear("head", 2, 4)
    other = b.linear("other", 2, 4, flat)
    b.add("sum", "add", head, other)
    with pytest.raises(ConfigError, match=r"the head head does not get all|behind the head"):
        stages_of(b.graph("head"))


def test_a_body_without_weights_is_the_stem():
    b = Builder()
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 3)
    assert [stage.name for stage in stages_of(b.graph("fc"))] == ["stem", "head"]


NORMS = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (1,))
ATTENTION = {"in_weight": (24, 8), "in_bias": (24,), "out_weight": (8, 8), "out_bias": (8,)}


@pytest.mark.parametrize(
    ("kind", "slots", "attributes", "reason"),
    [
        ("batch_norm", NORMS, {"eps": 1e-5, "momentum": 0.1}, "3 values, expected 1"),
        ("layer_norm", {"weight": (7,), "bias": (7,)}, {"eps": 1e-5}, "8 values, expected 7"),
        ("attention", ATTENTION, {"heads": 2}, "expected tokens"),
        ("softmax", {}, {"axis": 4}, "there is no axis 4"),
        ("mean", {}, {"axes": [1, 5], "keep": True}, "there is no axis 5"),
        ("flatten", {}, {"start": 4}, "there is no axis 4"),
        ("cat", {}, {"axis": 6}, "there is no axis 6"),
        ("slice", {}, {"axis": 6, "start": 0, "stop": 1}, "there is no axis 6"),
        ("permute", {}, {"axes": [0, 2, 1]}, "expected 3 axes"),
        (
            "avg_pool",
            {},
            {"kernel": [2, 2], "stride": [1, 1], "padding": [2, 0], "ceil": False, "count_pad": True},
            "more padding",
        ),
    ],
)
def test_what_a_framework_would_stumble_over_has_no_shape(kind, slots, attributes, reason):
    b = Builder()
    b.add("node", kind, slots=slots, **attributes)
    with pytest.raises(ConfigError, match=rf"^node \({kind}\) cannot take .*: {reason}"):
        shapes_of(b.graph("node", (8, 8)))


def test_only_one_entry_is_repeated():
    b = Builder()
    b.add("repeated", "expand", b.table("tables", 2, 3), "image")
    with pytest.raises(ConfigError, match="expected one entry on axis 0"):
        shapes_of(b.graph("repeated"))


def test_the_order_of_slots_has_no_meaning():
    graph = residual()
    turned = [replace(node, weights=dict(reversed(node.weights.items()))) for node in graph.nodes]
    assert shapes_of(replace(graph, nodes=tuple(turned))) == shapes_of(graph)


def test_values_without_bound_are_refused():
    b = Builder()
    for number in range(40):
        b.add(f"twice{number}", "cat", b.last, b.last, axis=2)
    with pytest.raises(ConfigError, match="would give more than 2,147,483,647 values for a picture"):
        shapes_of(b.graph("twice39"))


def test_what_is_made_without_the_picture_over_and_over_is_refused_at_once():
    b = Builder()
    before = b.table("table", 1)
    for number in range(2000):
        before = b.add(f"constant{number}", "relu", before)
    made, b.last = before, "image"
    for number in range(2000):
        b.add(f"sum{number}", "add", b.last, made)
    b.add("mean", "mean", axes=[2, 3], keep=False)
    b.linear("head", 2, 3)
    begun = perf_counter()
    with pytest.raises(ConfigError, match="too much is made without the picture"):
        stages_of(b.graph("head"))
    assert perf_counter() - begun < 5


def test_a_head_that_shares_its_weights_is_refused():
    b = Builder()
    b.add("mean", "mean", axes=[2, 3], keep=False)
    b.linear("head", 3, 3)
    b.nodes.insert(-1, Node("before", "linear", ("mean",), {}, b.nodes[-1].weights))
    b.nodes[-1] = replace(b.nodes[-1], inputs=("before",))
    with pytest.raises(ConfigError, match="shares its weights"):
        arch_of("n", b.graph("head"))
