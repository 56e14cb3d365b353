"""A network as an ONNX model, from its graph and weights: no framework takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from xfer import __version__
from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.errors import ConfigError
from xfer.export.kinds import KINDS
from xfer.export.preprocess import FLOAT, preprocess
from xfer.export.writer import Given, Shape, Writer
from xfer.graphs.graph import Graph
from xfer.graphs.parts import at_rest, boundaries, part_of
from xfer.graphs.shapes import shapes_of
from xfer.pixels.augment import Transform

if TYPE_CHECKING:
    import onnx

Input = Literal["normalised", "pixels", "pictures"]
"""What enters: float32 (batch, 3, H, W), normalised by the program that has the pictures; their uint8 pixels
(batch, H, W, 3), red first, as the transforms make them; or pictures (batch, height, width, 3) of any size."""

IMAGES, PROBABILITIES = "images", "probabilities"
LEAST_OPSET, OPSET, MOST_OPSET = 13, 17, 23
"""Of operators that are written, by default, and that have been tried."""
MOST_BYTES = 2**31 - 2**20
"""Of weights: a file of protobuf's ends at 2 GiB, and the rest of it takes some room."""


@dataclass(frozen=True)
class Network:
    """What is to be said in ONNX.

    size       (height, width) of its pictures in pixels
    mean, std  of the normalisation, of values in [0, 1]
    transforms that make a picture into one of that size
    """

    graph: Graph
    weights: Mapping[str, Float32]
    size: tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]
    transforms: Sequence[Transform] = ()


def onnx_model(network: Network, enters: Input, opset: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """A model with the outputs `logits` and `probabilities`, (batch, C) each, of `images`.

    The batch may be of any size. Batch normalisations are merged into the convolutions before them, and what happens in
    training alone has gone. Raises ConfigError for an opset without an operator that is needed, and for weights that
    fit into no file.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, (height, width) = network.graph, network.size
    if (size := 4 * sum(map(prod, graph.weights.values()))) > MOST_BYTES:
        raise ConfigError(
            f"{size:,} bytes of weights: an ONNX file holds {MOST_BYTES:,} at most. "
            "Cure: --format torch-export or safetensors"
        )
    writer = Writer(opset)
    for name in (IMAGES, LOGITS, PROBABILITIES):
        writer.unused(name)
    entered = _entered(writer, network, enters)
    logits = write_nodes(writer, graph, network.weights, network.size, entered)
    nodes = [_renamed(node, logits, LOGITS) for node in writer.nodes]
    if logits in (entered, *writer.constants):
        nodes.append(helper.make_node("Identity", [logits], [LOGITS]))
    nodes.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], axis=1))
    taken: dict[Input, tuple[int, list[int | str]]] = {
        "normalised": (TensorProto.FLOAT, ["batch", graph.channels, height, width]),
        "pixels": (TensorProto.UINT8, ["batch", height, width, graph.channels]),
        "pictures": (TensorProto.UINT8, ["batch", "height", "width", 3]),
    }
    images = helper.make_tensor_value_info(IMAGES, *taken[enters])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", graph.classes])
        for name in (LOGITS, PROBABILITIES)
    ]
    constants = [
        numpy_helper.from_array(np.asarray(values, order="C"), name) for name, values in writer.constants.items()
    ]
    sets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        helper.make_graph(nodes, metadata.get("arch", "network"), [images], outputs, constants),
        opset_imports=sets,
        ir_version=helper.find_min_ir_version_for(sets),  # a newer one is refused by runtimes that could run the rest
        producer_name="xfer",
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(metadata))
    return model


def write_nodes(
    writer: Writer, graph: Graph, weights: Mapping[str, Float32], size: tuple[int, int], entered: str
) -> str:
    """All nodes of a network at rest, of normalised pictures `entered`; the name of the logits."""
    part, merges = at_rest(graph, part_of(graph, next(iter(boundaries(graph))), LOGITS))
    known = dict(weights)
    for merge in merges:
        known[merge.weight], known[merge.bias] = merge.values(weights)
    shapes, values = _shapes(graph, size), {part.source: entered}
    for node in part.nodes:
        writer.scope = node.name
        inputs, taken = tuple(values[name] for name in node.inputs), tuple(shapes[name] for name in node.inputs)
        slots = {slot: known[name] for slot, name in node.weights.items()}
        values[node.name] = KINDS[node.kind](writer, Given(node, inputs, taken, shapes[node.name], slots))
    return values[part.result]


def _shapes(graph: Graph, size: tuple[int, int]) -> dict[str, Shape]:
    """Of what every node gives, None for the axis that is longer for three pictures than for two."""
    two, three = (shapes_of(graph, size, batch) for batch in (2, 3))
    return {
        name: tuple(a if a == b else None for a, b in zip(shape, three[name], strict=True))
        for name, shape in two.items()
    }


def _entered(writer: Writer, network: Network, enters: Input) -> str:
    """float32 (batch, 3, H, W), normalised as (x / 255 - mean) / std."""
    if enters == "normalised":
        return IMAGES
    writer.scope = "normalise"
    if enters == "pictures":
        numbers = preprocess(writer, IMAGES, network.transforms)
    else:
        numbers = writer.op("Cast", writer.op("Transpose", IMAGES, perm=[0, 3, 1, 2]), to=FLOAT)
    means, deviations = (255 * np.reshape(values, (-1, 1, 1)) for values in (network.mean, network.std))
    return writer.op("Div", writer.op("Sub", numbers, writer.constant(means)), writer.constant(deviations))


def _renamed(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    return node
