"""Training may begin at any boundary: stages are divided there."""

from itertools import combinations

import pytest
from small_graphs import GRAPHS, Builder, residual

from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.parts import boundaries, part_of
from xfer.graphs.split import split_at
from xfer.graphs.stages import HEAD, arch_of, stages_of
from xfer.nets.freeze import FreezePolicy, resolve

RESNEXT = packaged.load("resnext50_32x4d")


def test_a_stage_ends_where_the_cut_within_it_begins():
    arch = split_at(arch_of("mine", residual()), residual(), ["bn1"])
    assert arch.stage_names == ("stem", "bn1", "layer1", "layer2", "head")
    assert dict(arch.stages)["stem"] == ("conv1.weight",)
    assert dict(arch.stages)["bn1"] == ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")


def test_only_what_lies_behind_the_cut_moves():
    arch, names = split_at(arch_of("x", RESNEXT), RESNEXT, ["layer3.4", "head"]), list(RESNEXT.weights)
    groups = resolve(FreezePolicy("layer3.4"), arch, names)
    assert {".".join(name.split(".")[:2]) for name in groups.trainable_names} == {
        "layer3.4", "layer3.5", "layer4.0", "layer4.1", "layer4.2", "fc.weight", "fc.bias",
    }  # fmt: skip
    assert "layer3.3.bn3.running_var" in groups.frozen
    assert "layer3.4.bn1.running_mean" in groups.updating
    assert arch.first_stage(groups.moving) == "layer3.4"


def test_stages_alone_divide_nothing():
    arch = arch_of("x", RESNEXT)
    assert split_at(arch, RESNEXT, ["layer3", "head", "stem"]) == arch


def _all_cuts(graph):
    stages = {stage.name for stage in stages_of(graph)}
    return [name for name in list(boundaries(graph))[:-1] if name not in stages]


@pytest.mark.parametrize("name", GRAPHS)
def test_whatever_is_divided_every_weight_stays_in_one_place_and_in_order(name):
    graph = GRAPHS[name]
    arch, cuts = arch_of("mine", graph), _all_cuts(graph)
    for count in range(len(cuts) + 1):
        for chosen in combinations(cuts, count):
            divided = split_at(arch, graph, chosen)
            assert divided.stage_names == tuple(n for n in boundaries(graph) if n in (*arch.stage_names, *chosen))
            assert [n for _, names in divided.stages for n in names] == [n for _, names in arch.stages for n in names]


@pytest.mark.parametrize("network", ["vit_b_32", "mobilenet_v2", "densenet121"])
def test_a_stage_of_a_divided_network_holds_what_is_computed_with_there(network):
    graph = packaged.load(network)
    arch = split_at(arch_of(network, graph), graph, _all_cuts(graph))
    for start, stop in zip(arch.stage_names, arch.stage_names[1:], strict=False):
        used = {name for node in part_of(graph, start, stop).nodes for name in node.weights.values()}
        assert {arch.stage_of(name) for name in used} <= {start}


def test_a_weight_on_both_sides_stays_with_the_earlier_one():
    b = Builder()
    table = b.table("shift", 1, 1, 1, 1)
    b.conv("conv0", 4, 3, "image", stride=2)
    b.add("add0", "add", "conv0", table)
    b.conv("conv1", 4, 4)
    b.add("add1", "add", "conv1", table)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 4)
    graph = b.graph("fc")
    arch = split_at(arch_of("mine", graph), graph, ["conv1"])
    assert dict(arch.stages) == {
        "stem": ("shift", "conv0.weight"), "conv1": ("conv1.weight",), HEAD: ("fc.weight", "fc.bias"),
    }  # fmt: skip


def test_hidden_layers_are_divided_too():
    graph = residual().with_hidden("extra", [5, 7])
    arch = split_at(arch_of("mine", graph), graph, ["extra.1"])
    assert dict(arch.stages)["extra"] == ("extra.0.weight", "extra.0.bias")
    assert dict(arch.stages)["extra.1"] == ("extra.1.weight", "extra.1.bias")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("layer3.9", "Cure: xfer models mine --cuts lists them. Did you mean 'layer3.5'?"),
        ("layer9", "expected one of stem, layer1, layer2, layer3, layer4, head, or a cut within one. Cure: "),
        ("logits", "expected one of stem, layer1, "),
        ("layer3.0", "train_from = 'layer3.0': begins where layer3 does. Cure: train_from = 'layer3'"),
        ("layer3.1.conv2", "lies within layer3.1, where nothing is cut. Cure: train_from = 'layer3.1'"),
        ("layer3.0.downsample", "lies within layer3.0, where nothing is cut. Cure: train_from = 'layer3'"),
    ],
)
def test_a_name_of_no_boundary_is_refused(name, reason):
    with pytest.raises(ConfigError) as caught:
        split_at(arch_of("mine", RESNEXT), RESNEXT, ["layer2.1", name])
    assert f"Did you mean '{name}'" not in str(caught.value)
    assert str(caught.value).startswith(f"train_from = {name!r}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
