"""What a recipe asks of a network that is data: rates by depth, and training from any boundary."""

import pytest
from small_graphs import residual

from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.kinds import KINDS
from xfer.graphs.stages import arch_of
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec
from xfer.recipe.load import make_recipe
from xfer.recipe.meaning import from_random, groups, network, plan, starts
from xfer.testing.numpy_backend import NumpyBackend

GRAPH = residual()
ARCH = arch_of("mine", GRAPH)


def rates(changes):
    """Name of each weight that moves -> what its rate is multiplied with, in the last phase."""
    recipe = make_recipe({}, {"model.arch": "mine", **changes})
    found = groups(recipe, plan(recipe)[-1], ARCH, GRAPH)
    return {name: group.lr_mult for group in found.trainable for name in group.names}


def test_layer_decay_goes_by_the_blocks_of_the_network():
    found = rates({"optimizer.layer_decay": 0.5, "optimizer.head_lr_mult": 3.0, "train.train_from": "layer1"})
    assert found["layer1.0.down.0.weight"] == 0.25
    assert found["layer2.0.se.fc.weight"] == 0.5
    assert found["fc.weight"] == 3.0
    assert "conv1.weight" not in found


def test_layer_decay_of_one_asks_for_nothing():
    changes = {"train.train_from": "stem", "optimizer.head_lr_mult": 3.0}
    assert rates(changes | {"optimizer.layer_decay": 1.0}) == rates(changes)
    assert set(rates(changes).values()) == {1.0, 3.0}


@pytest.mark.parametrize("value", [0.0, -0.5, 1.5, float("nan")])
def test_layer_decay_is_above_zero_and_at_most_one(value):
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay = ") as caught:
        make_recipe({}, {"optimizer.layer_decay": value})
    assert "\n" not in str(caught.value)


def test_random_weights_learn_as_fast_everywhere():
    recipe = make_recipe({}, {"optimizer.layer_decay": 0.5})
    assert from_random(recipe, "stem").optimizer.layer_decay == 1


class AllKinds(NumpyBackend):
    kinds = frozenset(KINDS)


PHASES = [{"epochs": 1}, {"epochs": 1, "train_from": "features.16.conv"}, {"epochs": 2, "train_from": "layer4"}]


def test_a_phase_may_train_from_a_cut_within_a_stage():
    recipe = make_recipe({}, {"model.arch": "mobilenet_v2", "phases": PHASES})
    arch, graph = network(recipe, AllKinds()), packaged.load("mobilenet_v2")
    assert arch.stage_names == ("stem", "layer1", "layer2", "layer3", "layer4", "features.16.conv", "head")
    head, cut, layer4 = (groups(recipe, phase, arch, graph) for phase in plan(recipe))
    assert [arch.first_stage(g.moving) for g in (head, cut, layer4)] == ["head", "features.16.conv", "layer4"]
    assert cut.trainable_names[0] == "features.16.conv.0.0.weight"
    assert "features.15.conv.3.running_var" in cut.frozen
    assert layer4.trainable_names[0] == "features.14.conv.0.0.weight"


def test_the_network_that_is_built_is_divided_as_the_recipe_says():
    recipe = make_recipe({}, {"model.arch": "mobilenet_v2", "model.extra": [8, 8], "train.train_from": "extra.1"})
    asked = network(recipe, AllKinds())
    spec = ModelSpec("mobilenet_v2", 3, (64, 64), asked.mean, asked.std, extra=(8, 8))
    built = build_net(AllKinds(), "cpu", spec, starts(recipe))
    assert built.boundaries[-4:] == ("extra", "extra.1", "head", "logits")
    assert built.arch.stage_names == asked.stage_names
    assert build_net(AllKinds(), "cpu", spec).boundaries[-3:] == ("extra", "head", "logits")


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("features.5", "begins where features.5.conv does. Cure: train_from = 'features.5.conv'"),
        ("features.16.block", "Cure: xfer models mobilenet_v2 --cuts lists them. Did you mean 'features.16.conv'?"),
    ],
)
def test_a_name_of_no_boundary_is_refused_before_anything_is_read(start, reason):
    recipe = make_recipe({}, {"model.arch": "mobilenet_v2", "train.train_from": start})
    with pytest.raises(ConfigError) as caught:
        network(recipe, AllKinds())
    assert reason in str(caught.value)


def test_a_network_of_a_backend_may_be_cut_too():
    recipe = make_recipe({}, {"model.arch": "tiny", "train.train_from": "norm1"})
    assert network(recipe, NumpyBackend()).stage_names == ("stem", "layer1", "norm1", "head")
    with pytest.raises(ConfigError, match=r"^train_from = 'layer1.0': expected one of stem, layer1, head, or a cut"):
        network(make_recipe({}, {"model.arch": "tiny", "train.train_from": "layer1.0"}), NumpyBackend())
