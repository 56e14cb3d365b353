"""The depth of a weight is the number of blocks before it, whatever the modules are called."""

from dataclasses import replace

import pytest
from small_graphs import GRAPHS, Builder, residual

from xfer.archs import is_statistic
from xfer.graphs import packaged
from xfer.graphs.depth import depths

DEPTHS = {
    "vit_b_16": {
        "conv_proj.weight": 0,
        "class_token": 0,
        "encoder.pos_embedding": 0,
        "encoder.layers.encoder_layer_0.ln_1.weight": 1,
        "encoder.layers.encoder_layer_0.mlp.3.bias": 1,
        "encoder.layers.encoder_layer_6.self_attention.in_proj_weight": 7,
        "encoder.layers.encoder_layer_11.mlp.0.weight": 12,
        "encoder.ln.weight": 12,
        "heads.head.weight": 13,
    },
    "resnext50_32x4d": {
        "conv1.weight": 0,
        "bn1.running_mean": 0,
        "layer1.0.conv1.weight": 1,
        "layer1.0.downsample.0.weight": 1,
        "layer1.2.bn3.bias": 3,
        "layer3.0.conv1.weight": 8,
        "layer4.2.conv3.weight": 16,
        "fc.bias": 17,
    },
    "convnext_tiny": {
        "features.0.0.weight": 0,
        "features.0.1.weight": 0,
        "features.1.0.layer_scale": 1,
        "features.1.2.block.0.weight": 3,
        "features.2.0.weight": 4,
        "features.2.1.weight": 4,
        "features.3.0.block.0.weight": 5,
        "features.7.2.block.5.weight": 21,
        "classifier.0.weight": 21,
        "classifier.2.weight": 22,
    },
    "mobilenet_v2": {
        "features.0.0.weight": 0,
        "features.1.conv.0.0.weight": 1,
        "features.1.conv.2.bias": 1,
        "features.2.conv.0.0.weight": 2,
        "features.3.conv.0.0.weight": 3,
        "features.17.conv.3.weight": 17,
        "features.18.0.weight": 18,
        "features.18.1.weight": 18,
        "classifier.1.weight": 19,
    },
    "efficientnet_b0": {
        "features.0.0.weight": 0,
        "features.1.0.block.0.0.weight": 1,
        "features.1.0.block.1.fc1.weight": 1,
        "features.2.0.block.3.0.weight": 2,
        "features.2.1.block.0.0.weight": 3,
        "features.7.0.block.2.fc1.weight": 16,
        "features.8.0.weight": 17,
        "classifier.1.weight": 18,
    },
    "densenet121": {
        "features.conv0.weight": 0,
        "features.norm0.weight": 0,
        "features.denseblock1.denselayer1.conv1.weight": 1,
        "features.denseblock1.denselayer6.conv2.weight": 1,
        "features.transition1.norm.weight": 2,
        "features.transition1.conv.weight": 2,
        "features.denseblock4.denselayer16.conv2.weight": 7,
        "features.norm5.weight": 7,
        "classifier.weight": 8,
    },
    "vgg16_bn": {
        "features.0.weight": 0,
        "features.1.weight": 0,
        "features.3.weight": 1,
        "features.41.weight": 12,
        "classifier.0.weight": 13,
        "classifier.3.bias": 14,
        "classifier.6.weight": 15,
    },
}  # features.0, .3, ... of VGG are 13 convolutions


@pytest.mark.parametrize("network", DEPTHS)
def test_depths_of_published_networks(network):
    found = depths(packaged.load(network))
    assert {name: found[name] for name in DEPTHS[network]} == DEPTHS[network]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_name_has_one_and_the_head_the_largest(name):
    graph = GRAPHS[name]
    found = depths(graph)
    assert list(found) == list(graph.weights)
    head = set(graph[graph.head].weights.values())
    assert {found[weight] for weight in head} == {max(found.values())}
    assert all(found[weight] < max(found.values()) for weight in found if weight not in head)
    assert sorted(set(found.values())) == list(range(max(found.values()) + 1))


def test_a_module_without_a_number_that_begins_with_branches_is_no_block():
    b = Builder()
    left = b.conv("body.left", 4, 3, "image")
    right = b.conv("body.right", 4, 3, "image")
    b.add("sum", "add", left, right)
    b.conv("body.next", 4, 4, stride=2)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 4)
    assert depths(b.graph("fc")) == {
        "body.left.weight": 0, "body.right.weight": 0, "body.next.weight": 1, "fc.weight": 2, "fc.bias": 2,
    }  # fmt: skip


def test_hidden_layers_that_a_recipe_asks_for_are_blocks_too():
    graph = residual().with_hidden("extra", [5, 7])
    found = depths(graph)
    assert (found["layer2.0.se.fc.weight"], found["extra.0.weight"], found["extra.1.bias"]) == (2, 3, 4)
    assert found["fc.weight"] == 5


def test_what_comes_before_the_first_layer_is_of_its_block():
    b = Builder()
    b.norm("norm0", 3)
    b.conv("conv0", 4, 3, stride=2)
    b.conv("conv1", 4, 4, stride=2)
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("fc", 2, 4)
    found = depths(b.graph("fc"))
    assert {name: depth for name, depth in found.items() if not is_statistic(name)} == {
        "norm0.weight": 0, "norm0.bias": 0, "conv0.weight": 0, "conv1.weight": 1, "fc.weight": 2, "fc.bias": 2,
    }  # fmt: skip


def test_a_weight_that_two_blocks_share_lies_in_the_first():
    b = Builder()
    b.conv("conv0", 3, 3, stride=2)
    b.nodes.append(replace(b.nodes[-1], name="conv1", inputs=("conv0",)))
    b.last = "conv1"
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("fc", 2, 3)
    assert depths(b.graph("fc")) == {"conv0.weight": 0, "fc.weight": 2, "fc.bias": 2}
