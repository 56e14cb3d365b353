"""The networks that xfer writes by itself, as graphs: names, shapes, stages, and what they cannot be."""

from itertools import groupby
from math import prod

import pytest

from xfer.archs import is_statistic
from xfer.errors import ConfigError
from xfer.graphs.read import graph_from_json
from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of, stages_of
from xfer.nets.builders import NAMES, build_graph

SIZE = (64, 48)
# Numbers that training moves: as torchvision's documentation has them, and as counted in the published files of Lite.
PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "efficientnet_lite0": 4_652_008, "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
}  # fmt: skip
DEPTHS = {
    "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}  # fmt: skip
# Digests of the graphs that torchvision's own modules are traced to.
TORCHVISION = {
    "resnet18": "7fc2b77ad072f2ef",
    "resnet50": "9a727ece81e4f677",
}
CONVNET = {
    "conv1.weight": (4, 3, 5, 5), "conv1.bias": (4,), "conv2.weight": (8, 4, 5, 5), "conv2.bias": (8,),
    "fc1.weight": (512, 8 * 13 * 9), "fc1.bias": (512,), "fc.weight": (1000, 512), "fc.bias": (1000,),
}  # fmt: skip
LITE_STAGES = {
    "stem": ["_conv_stem", "_bn0"],
    "layer1": ["_blocks.0", "_blocks.1", "_blocks.2"],
    "layer2": ["_blocks.3", "_blocks.4"],
    "layer3": [f"_blocks.{i}" for i in range(5, 11)],
    "layer4": [*(f"_blocks.{i}" for i in range(11, 16)), "_conv_head", "_bn1"],
    "head": ["_fc"],
}


def of_norm(name, channels):
    return {f"{name}.{slot}": (channels,) for slot in ("weight", "bias", "running_mean", "running_var")}


def blocks(names):
    """The blocks that the weights are of, and the layers that are in none, in order."""
    parts = [name.split(".") for name in names]
    return [key for key, _ in groupby(".".join(part[: 2 if part[1].isdigit() else 1]) for part in parts)]


def stages(graph):
    """Stage -> blocks, and layers that are in none."""
    return {stage.name: blocks(stage.weights) for stage in stages_of(graph)}


def refusal(*arguments, **options):
    with pytest.raises(ConfigError) as caught:
        build_graph(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_names():
    assert (*PARAMETERS, "convnet") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_that_could_be_read_and_gives_logits(name):
    graph = build_graph(name, SIZE)
    assert graph_from_json(graph.as_json()) == graph
    assert list(graph_from_json(graph.as_json()).weights) == list(graph.weights)
    assert shapes_of(graph, SIZE)[graph.nodes[-1].name] == (1, 1000)
    assert graph.fixed == (name == "convnet")


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_numbers_as_are_published(name):
    graph = build_graph(name, SIZE)
    assert sum(prod(shape) for name, shape in graph.weights.items() if not is_statistic(name)) == PARAMETERS[name]


def test_weights_of_a_resnet_and_their_order():
    block = {
        "layer2.0.conv1.weight": (128, 256, 1, 1), **of_norm("layer2.0.bn1", 128),
        "layer2.0.conv2.weight": (128, 128, 3, 3), **of_norm("layer2.0.bn2", 128),
        "layer2.0.conv3.weight": (512, 128, 1, 1), **of_norm("layer2.0.bn3", 512),
        "layer2.0.downsample.0.weight": (512, 256, 1, 1), **of_norm("layer2.0.downsample.1", 512),
    }  # fmt: skip
    graph = build_graph("resnet50", SIZE)
    assert [item for item in graph.weights.items() if item[0].startswith("layer2.0.")] == list(block.items())
    assert list(graph.weights.items())[:5] == [("conv1.weight", (64, 3, 7, 7)), *of_norm("bn1", 64).items()]
    assert list(graph.weights.items())[-2:] == [("fc.weight", (1000, 2048)), ("fc.bias", (1000,))]


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_resnet_is_to_the_last_node_what_torchvisions_own_is_traced_to(name):
    assert build_graph(name, SIZE).digest()[:16] == TORCHVISION[name]


def test_blocks_of_a_resnet():
    graph = build_graph("resnet18", SIZE, [1, 3])
    assert blocks(graph.weights) == ["conv1", "bn1", "layer1.0", "layer2.0", "layer2.1", "layer2.2", "fc"]
    assert graph.weights["fc.weight"] == (1000, 128)
    assert build_graph("resnet18", SIZE, [2, 2, 2, 2]) == build_graph("resnet18", SIZE)
    assert build_graph("resnet50", SIZE, (1,)).weights["fc.weight"] == (1000, 256)


PADS = {
    # conv1, maxpool, a 3 x 3 convolution
    "symmetric": ([3] * 4, [1, 1], [1] * 4),
    "same_pool": ([3] * 4, "same", [1] * 4),
    "same": ("same", "same", "same"),
}


@pytest.mark.parametrize("padding", PADS)
@pytest.mark.parametrize(("name", "conv"), [("resnet18", "conv1"), ("resnet50", "conv2")])
def test_padding_of_a_resnet(name, conv, padding):
    graph = build_graph(name, SIZE, padding=padding)
    given = [graph[node].attributes["padding"] for node in ("conv1", "maxpool", f"layer2.0.{conv}")]
    assert tuple(given) == PADS[padding]
    assert graph["layer2.0.downsample.0"].attributes["padding"] == [0] * 4  # of 1 x 1, SAME pads nothing
    assert graph.weights == build_graph(name, SIZE).weights
    assert shapes_of(graph, (33, 47))["maxpool"] == (1, 64, 9, 12)


def test_weights_of_efficientnet_lite_and_their_order():
    weights = list(build_graph("efficientnet_lite0", SIZE).weights.items())
    assert weights[:5] == [("_conv_stem.weight", (32, 3, 3, 3)), *of_norm("_bn0", 32).items()]
    block = {
        "_blocks.1._expand_conv.weight": (96, 16, 1, 1), **of_norm("_blocks.1._bn0", 96),
        "_blocks.1._depthwise_conv.weight": (96, 1, 3, 3), **of_norm("_blocks.1._bn1", 96),
        "_blocks.1._project_conv.weight": (24, 96, 1, 1), **of_norm("_blocks.1._bn2", 24),
    }  # fmt: skip
    assert [item for item in weights if item[0].startswith("_blocks.1.")] == list(block.items())
    last = {"_conv_head.weight": (1280, 320, 1, 1), **of_norm("_bn1", 1280)}
    assert weights[-7:] == [*last.items(), ("_fc.weight", (1000, 1280)), ("_fc.bias", (1000,))]


# (blocks, width) of each row of the table, counted in the published files; the first and the last are not deeper.
ROWS = {
    "efficientnet_lite0": [(1, 16), (2, 24), (2, 40), (3, 80), (3, 112), (4, 192), (1, 320)],
    "efficientnet_lite1": [(1, 16), (3, 24), (3, 40), (4, 80), (4, 112), (5, 192), (1, 320)],
    "efficientnet_lite2": [(1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352)],
}


@pytest.mark.parametrize("name", ROWS)
def test_depths_and_widths_of_efficientnet_lite(name):
    graph = build_graph(name, SIZE)
    widths = [shape[0] for weight, shape in graph.weights.items() if weight.endswith("_project_conv.weight")]
    assert [(len(list(same)), width) for width, same in groupby(widths)] == ROWS[name]


@pytest.mark.parametrize(("name", "side", "dropout"), [("0", 224, 0.2), ("1", 240, 0.2), ("2", 260, 0.3)])
def test_efficientnet_lite_as_published(name, side, dropout):
    graph = build_graph(f"efficientnet_lite{name}", SIZE)
    assert (graph.size, graph["_dropout"].attributes) == ((side, side), {"p": dropout})
    assert {node.attributes["eps"] for node in graph.nodes if node.kind == "batch_norm"} == {1e-3}
    wide = [node for node in graph.nodes if node.kind == "conv" and graph.weights[node.weights["weight"]][2] > 1]
    assert {node.attributes["padding"] for node in wide} == {"same"}


def test_the_convnet_is_made_for_the_size():
    graph = build_graph("convnet", SIZE)
    assert list(graph.weights.items()) == list(CONVNET.items())
    assert (graph.size, graph.fixed, graph["dropout"].attributes) == (SIZE, True, {"p": 0.5})
    assert build_graph("convnet", (16, 17)).weights["fc1.weight"] == (512, 8)


@pytest.mark.parametrize("size", [(15, 64), (64, 15)])
def test_a_convnet_of_nothing_is_refused(size):
    assert refusal("convnet", size) == (
        f"image_size = {size}: convnet needs at least 16 pixels each way. Cure: larger images"
    )


def stages_of_blocks(layers, extra=()):
    """Stage -> blocks, and layers that are in none, of a ResNet."""
    body = {f"layer{i}": [f"layer{i}.{block}" for block in range(count)] for i, count in enumerate(layers, start=1)}
    hidden = {"extra": [f"extra.{i}" for i in range(len(extra))]} if extra else {}
    return {"stem": ["conv1", "bn1"], **body, **hidden, "head": ["fc"]}


@pytest.mark.parametrize("extra", [(), (7, 5)])
@pytest.mark.parametrize("name", DEPTHS)
def test_stages_of_a_resnet(name, extra):
    made = stages(build_graph(name, SIZE).with_hidden("extra", extra))
    assert list(made.items()) == list(stages_of_blocks(DEPTHS[name], extra).items())


@pytest.mark.parametrize("padding", PADS)
@pytest.mark.parametrize("layers", [(1,), (2, 1), (1, 1, 1), (1, 2, 1, 3)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_stages_of_other_blocks(name, layers, padding):
    made = stages(build_graph(name, SIZE, layers, padding).with_hidden("extra", (7,)))
    assert list(made.items()) == list(stages_of_blocks(layers, (7,)).items())


def test_stages_of_efficientnet_lite():
    assert list(stages(build_graph("efficientnet_lite0", SIZE)).items()) == list(LITE_STAGES.items())
    hidden = stages(build_graph("efficientnet_lite0", SIZE).with_hidden("extra", (7,)))
    *body, head = LITE_STAGES.items()
    assert list(hidden.items()) == [*body, ("extra", ["extra.0"]), head]
    deeper = stages(build_graph("efficientnet_lite1", SIZE))
    assert list(deeper) == list(LITE_STAGES)
    assert [deeper[f"layer{i}"][0] for i in (1, 2, 3, 4)] == [f"_blocks.{i}" for i in (0, 4, 7, 15)]


@pytest.mark.parametrize("size", [(16, 16), (17, 640), (33, 20), (224, 224)])
def test_stages_of_the_convnet_are_its_layers_for_pictures_of_any_size(size):
    made = stages(build_graph("convnet", size).with_hidden("extra", (7,)))
    layers = {"stem": ["conv1"], "layer1": ["conv2"], "layer2": ["fc1"], "extra": ["extra.0"], "head": ["fc"]}
    assert list(made.items()) == list(layers.items())


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("resnet34", ("fc", 512, 0.0)),
        ("resnet50", ("fc", 2048, 0.0)),
        ("efficientnet_lite0", ("_fc", 1280, 0.2)),
        ("efficientnet_lite2", ("_fc", 1280, 0.3)),
        ("convnet", ("fc", 512, 0.5)),
    ],
)
def test_what_the_core_knows_of_its_head(name, facts):
    arch = arch_of(name, build_graph(name, SIZE))
    assert (arch.head, arch.features, arch.dropout) == facts


def test_what_no_network_is():
    assert refusal("resnet19", SIZE).startswith("arch = 'resnet19': expected one of resnet18, ")
    for layers in ([], [0], [1, 257], [1] * 5):
        assert refusal("resnet18", SIZE, layers) == (
            f"model.layers = {layers}: expected 1 to 4 numbers of blocks, each 1 to 256"
        )
    assert refusal("resnet18", SIZE, padding="valid") == (
        "model.padding = 'valid': expected one of symmetric, same_pool, same."
    )
    for name in ("convnet", "efficientnet_lite2"):
        cure = f"{name} is no ResNet. Cure: leave it out, or a ResNet"
        assert refusal(name, SIZE, (1, 2)) == f"model.layers = [1, 2]: {cure}"
        assert refusal(name, SIZE, padding="same") == f"model.padding = 'same': {cure}"
