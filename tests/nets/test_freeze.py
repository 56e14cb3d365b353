import pytest
from archs import ARCHS

from xfer.archs import is_statistic
from xfer.errors import ConfigError
from xfer.nets.freeze import FreezePolicy, resolve

ARCH = ARCHS["resnet18"]
NORM = ("weight", "bias", "running_mean", "running_var")
NAMES = [
    "conv1.weight",
    *(f"bn1.{leaf}" for leaf in NORM),
    "layer1.0.conv1.weight",
    *(f"layer1.0.bn1.{leaf}" for leaf in NORM),
    "layer2.0.conv1.weight",
    "layer2.0.downsample.0.weight",
    *(f"layer2.0.downsample.1.{leaf}" for leaf in NORM),
    "layer3.0.conv1.weight",
    "layer4.1.conv2.weight",
    *(f"layer4.1.bn2.{leaf}" for leaf in NORM),
    "fc.weight",
    "fc.bias",
]


def split(**policy):
    return resolve(FreezePolicy(**policy), ARCH, NAMES)


@pytest.mark.parametrize("train_from", ARCH.stage_names)
@pytest.mark.parametrize("norm_stats", ["follow", "update", "freeze"])
def test_every_name_is_in_exactly_one_place(train_from, norm_stats):
    groups = split(train_from=train_from, norm_stats=norm_stats, head_lr_mult=10, weight_decay=0.1)
    places = [*groups.trainable_names, *groups.frozen, *groups.updating]
    assert sorted(places) == sorted(NAMES)


def test_head_only_moves_the_head():
    groups = split(train_from="head")
    assert groups.trainable_names == ("fc.weight", "fc.bias")
    assert not groups.updating


def test_statistics_follow_their_stage():
    groups = split(train_from="layer4")
    assert groups.updating == {"layer4.1.bn2.running_mean", "layer4.1.bn2.running_var"}
    assert {"bn1.running_mean", "layer2.0.downsample.1.running_var"} <= groups.frozen


def test_statistics_may_drift_under_frozen_weights():
    groups = split(train_from="head", norm_stats="update")
    assert groups.updating == {n for n in NAMES if is_statistic(n)}
    assert {"conv1.weight", "bn1.weight"} <= groups.frozen


def test_statistics_may_stay_under_trained_weights():
    groups = split(train_from="stem", norm_stats="freeze")
    assert groups.frozen == {n for n in NAMES if is_statistic(n)}


def test_the_head_has_a_rate_of_its_own():
    groups = split(train_from="layer4", head_lr_mult=10.0)
    assert {g.lr_mult: set(g.names) for g in groups.trainable}[10.0] == {"fc.weight", "fc.bias"}


def test_decay_may_leave_out_norm_layers_and_biases():
    groups = split(train_from="stem", weight_decay=0.1, decay_norm_and_bias=False)
    decayed = {n for g in groups.trainable if g.weight_decay for n in g.names}
    assert decayed == {n for n in NAMES if n.endswith("conv1.weight") or n in
                       ("layer2.0.downsample.0.weight", "layer4.1.conv2.weight", "fc.weight")}  # fmt: skip
    everything = split(train_from="stem", weight_decay=0.1)
    assert {g.weight_decay for g in everything.trainable} == {0.1}


DEPTHS = {"conv1": 0, "bn1": 0, "layer1.0": 1, "layer2.0": 2, "layer3.0": 3, "layer4.1": 4, "fc": 5}
OF_NAMES = {name: next(d for prefix, d in DEPTHS.items() if name.startswith(f"{prefix}.")) for name in NAMES}


def test_rates_fall_from_block_to_block_towards_the_picture():
    groups = split(train_from="stem", head_lr_mult=10.0, layer_decay=0.5, depths=OF_NAMES)
    rates = {name: group.lr_mult for group in groups.trainable for name in group.names}
    assert len(groups.trainable) == 6
    assert rates["conv1.weight"] == rates["bn1.bias"] == 1 / 32
    assert rates["layer2.0.downsample.1.weight"] == 1 / 8
    assert rates["layer4.1.conv2.weight"] == 1 / 2
    assert rates["fc.weight"] == 10.0


def test_a_group_has_one_depth_and_one_decay():
    policy = {"train_from": "layer3", "weight_decay": 0.1, "decay_norm_and_bias": False, "depths": OF_NAMES}
    groups = split(layer_decay=0.5, **policy)
    assert [(group.names, group.lr_mult, group.weight_decay) for group in groups.trainable] == [
        (("layer3.0.conv1.weight",), 1 / 4, 0.1),
        (("layer4.1.conv2.weight",), 1 / 2, 0.1),
        (("layer4.1.bn2.weight", "layer4.1.bn2.bias"), 1 / 2, 0.0),
        (("fc.weight",), 1.0, 0.1),
        (("fc.bias",), 1.0, 0.0),
    ]


def test_without_a_decay_from_block_to_block_groups_are_as_without_depths():
    policy = {"train_from": "stem", "head_lr_mult": 3.0, "weight_decay": 0.1, "decay_norm_and_bias": False}
    assert split(layer_decay=1.0, depths=OF_NAMES, **policy) == split(**policy)
    assert split(layer_decay=1.0, depths=OF_NAMES, train_from="stem").trainable == split(train_from="stem").trainable


@pytest.mark.parametrize("stage", ARCH.stage_names)
def test_the_boundary_is_where_training_starts(stage):
    assert ARCH.first_stage(split(train_from=stage).moving) == stage


def test_drifting_statistics_move_the_boundary_to_the_front():
    assert ARCH.first_stage(split(train_from="head", norm_stats="update").moving) == "stem"


def test_an_unknown_stage_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'layer4'"):
        split(train_from="layer5")


def test_a_name_of_another_network_is_refused():
    with pytest.raises(ConfigError, match="belongs to no stage of resnet18"):
        resolve(FreezePolicy("head"), ARCH, [*NAMES, "blocks.0.weight"])
