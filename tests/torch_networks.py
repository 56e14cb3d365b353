"""Small networks as data on torch, their nodes one by one, and what a chain of single nodes makes of pictures."""

import numpy as np
import torch

from xfer.backend import NetworkSpec
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import Part
from xfer.testing.kit import random_weights
from xfer_torch import TorchBackend
from xfer_torch.network import Program

BACKEND = TorchBackend()
SIZE, CLASSES = 32, 3
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def conv(name, x, outputs, inputs, kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1), groups=1, bias=False, **more):
    attributes = {"stride": [*stride], "padding": padding, "dilation": [1, 1], "groups": groups} | more
    attributes["padding"] = padding if isinstance(padding, str) else [*padding]
    weights = {"weight": (outputs, inputs // groups, *kernel)} | ({"bias": (outputs,)} if bias else {})
    return layer(name, "conv", x, attributes, weights)


def batch_norm(name, x, channels, eps=1e-5, momentum=0.1):
    slots = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return layer(name, "batch_norm", x, {"eps": eps, "momentum": momentum}, slots)


def linear(name, x, outputs, inputs):
    return layer(name, "linear", x, {}, {"weight": (outputs, inputs), "bias": (outputs,)})


def layer(name, kind, x, attributes, shapes):
    """A node, and the shapes of its weights, which are called after it."""
    names = {slot: f"{name}.{slot}" for slot in shapes}
    inputs = (x,) if isinstance(x, str) else tuple(x)
    return Node(name, kind, inputs, attributes, names), {names[slot]: shape for slot, shape in shapes.items()}


def graph_of(*rows, head="fc", size=(SIZE, SIZE)):
    """`rows`: nodes, with the shapes of their weights where they have some."""
    nodes, weights = [Node("image", "image")], {}
    for row in rows:
        node, shapes = row if isinstance(row, tuple) else (row, {})
        nodes.append(node)
        weights |= shapes
    return Graph(tuple(nodes), weights, head, size)


def residual():
    """Convolutions with norms, a sum, squeeze and excitation, a concatenation, a vector, a linear head."""
    pool = {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1], "ceil": False}
    return graph_of(
        conv("stem.0", "image", 8, 3, stride=(2, 2), padding="same"),
        batch_norm("stem.1", "stem.0", 8),
        Node("stem.2", "relu", ("stem.1",)),
        Node("pool", "max_pool", ("stem.2",), pool),
        conv("block.conv1", "pool", 8, 8, bias=True),
        batch_norm("block.bn1", "block.conv1", 8, eps=1e-3),
        Node("block.act", "silu", ("block.bn1",)),
        conv("block.conv2", "block.act", 8, 8, groups=4),
        batch_norm("block.bn2", "block.conv2", 8),
        Node("block.drop", "stochastic_depth", ("block.bn2",), {"p": 0.5, "mode": "row"}),
        Node("block.sum", "add", ("block.drop", "pool")),
        Node("block.relu", "relu", ("block.sum",)),
        Node("se.mean", "mean", ("block.relu",), {"axes": [2, 3], "keep": True}),
        conv("se.fc1", "se.mean", 4, 8, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("se.relu", "relu", ("se.fc1",)),
        conv("se.fc2", "se.relu", 8, 4, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("se.gate", "sigmoid", ("se.fc2",)),
        Node("se.mul", "mul", ("block.relu", "se.gate")),
        (Node("scale", "table", (), {}, {"value": "layer_scale"}), {"layer_scale": (8, 1, 1)}),
        Node("scaled", "mul", ("se.mul", "scale")),
        conv("down", "scaled", 8, 8, stride=(2, 2), padding=(0, 1, 0, 1)),
        batch_norm("norm", "down", 8),
        Node("act", "hardswish", ("norm",)),
        Node("both", "cat", ("act", "norm"), {"axis": 1}),
        Node("pooled", "adaptive_avg_pool", ("both",), {"size": [1, 1]}),
        Node("flat", "flatten", ("pooled",), {"start": 1}),
        Node("dropout", "dropout", ("flat",), {"p": 0.5}),
        linear("fc", "dropout", CLASSES, 16),
    )


def squeeze():
    """A head that takes maps, and nodes behind it."""
    return graph_of(
        conv("conv1", "image", 8, 3, stride=(2, 2), bias=True),
        Node("relu1", "relu", ("conv1",)),
        conv("conv2", "relu1", 6, 8, stride=(2, 2), bias=True),
        Node("relu2", "relu", ("conv2",)),
        Node("drop", "dropout", ("relu2",), {"p": 0.5}),
        conv("classifier.1", "drop", CLASSES, 6, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("relu3", "relu", ("classifier.1",)),
        Node("pooled", "adaptive_avg_pool", ("relu3",), {"size": [1, 1]}),
        Node("flat", "flatten", ("pooled",), {"start": 1}),
        head="classifier.1",
    )


def tokens():
    """A transformer of one block: patches, a class token repeated for each picture, positions, attention."""
    width = 8
    slots = {"in_weight": "in_proj_weight", "in_bias": "in_proj_bias"}
    slots |= {"out_weight": "out_proj.weight", "out_bias": "out_proj.bias"}
    sizes = ((3 * width, width), (3 * width,), (width, width), (width,))
    names = {slot: f"block.attention.{name}" for slot, name in slots.items()}
    attention = Node("block.attention", "attention", ("block.norm",), {"heads": 2}, names)
    norm = {"weight": (width,), "bias": (width,)}
    return graph_of(
        conv("patches", "image", width, 3, (8, 8), (8, 8), (0, 0, 0, 0), bias=True),
        Node("cut", "reshape", ("patches",), {"shape": ["@0", width, -1]}),
        Node("turned", "permute", ("cut",), {"axes": [0, 2, 1]}),
        (Node("token", "table", (), {}, {"value": "class_token"}), {"class_token": (1, 1, width)}),
        Node("each", "expand", ("token", "turned")),
        Node("sequence", "cat", ("each", "turned"), {"axis": 1}),
        (Node("position", "table", (), {}, {"value": "encoder.position"}), {"encoder.position": (1, 17, width)}),
        Node("placed", "add", ("sequence", "position")),
        layer("block.norm", "layer_norm", "placed", {"eps": 1e-6}, norm),
        (attention, dict(zip(names.values(), sizes, strict=True))),
        Node("block.sum", "add", ("block.attention", "placed")),
        Node("first", "slice", ("block.sum",), {"axis": 1, "start": 0, "stop": 1}),
        Node("flat", "reshape", ("first",), {"shape": ["@0", width]}),
        linear("fc", "flat", CLASSES, width),
    )


GRAPHS = {"residual": residual, "squeeze": squeeze, "tokens": tokens}


def spec_of(graph, precision="float32"):
    return NetworkSpec(graph, MEAN, STD, precision, "mine")


def network(graph, precision="float32"):
    net = BACKEND.build(spec_of(graph, precision), "cpu")
    BACKEND.import_weights(net, random_weights(graph.weights, seed=1))
    return net


def pictures(count=4):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def normalised(images):
    x = (images / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32))


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def result_of(kind, attributes, *inputs, weights=None):
    """What a node of this kind gives in a network of its own. `weights`: slot -> tensor."""
    taken = tuple(f"in{number}" for number in range(len(inputs)))
    names = {slot: f"layer.{slot}" for slot in weights or {}}
    tensors = {names[slot]: tensor for slot, tensor in (weights or {}).items()} | dict(zip(taken, inputs, strict=True))
    nodes = [Node(name, "table", (), {}, {"value": name}) for name in taken]
    nodes.append(Node("layer", kind, taken, attributes, names))
    graph = Graph((Node("image", "image"), *nodes, Node("end", "relu", ("layer",))), {}, "end")
    with torch.no_grad():
        return Program(spec_of(graph), Part("image", tuple(nodes), "layer"), tensors)(torch.zeros(1, 3, 4, 4))


def by_hand(graph, x, weights, masks=None):
    """Logits of normalised pictures, node by node, with weights by name. `masks` multiply what nodes take first."""
    values = {"image": x}
    for node in graph.nodes[1:]:
        slots = {slot: torch.from_numpy(weights[name]) for slot, name in node.weights.items()}
        inputs = [values[name] for name in node.inputs]
        if node.name in (masks or {}):
            inputs[0] = inputs[0] * torch.from_numpy(masks[node.name])
        values[node.name] = result_of(node.kind, node.attributes, *inputs, weights=slots)
    return values[graph.nodes[-1].name].numpy()
