"""A network in a file: its graph as JSON, in a file with a seal that fits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door
from xfer.formats.sealed import KEY, NETWORK, write_sealed
from xfer.graphs.graph import Graph, Node
from xfer.graphs.shapes import shapes_of
from xfer.nets.network_file import read_network

CONV = {"stride": [2, 2], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 1}
NORM = ("weight", "bias", "running_mean", "running_var")


def seeds() -> Mapping[str, bytes]:
    nodes = (
        Node("image", "image"),
        Node("conv", "conv", ("image",), CONV, {"weight": "conv.weight"}),
        Node("bn", "batch_norm", ("conv",), {"eps": 1e-5, "momentum": 0.1}, {slot: f"bn.{slot}" for slot in NORM}),
        Node("relu", "relu", ("bn",)),
        Node("sum", "add", ("relu", "bn")),
        Node("pool", "adaptive_avg_pool", ("sum",), {"size": [1, 1]}),
        Node("flat", "reshape", ("pool",), {"shape": ["@0", -1]}),
        Node("fc", "linear", ("flat",), {}, {"weight": "fc.weight", "bias": "fc.bias"}),
    )
    shapes = {"conv.weight": (4, 3, 3, 3), **dict.fromkeys((f"bn.{slot}" for slot in NORM), (4,))}
    graph = Graph(nodes, shapes | {"fc.weight": (2, 4), "fc.bias": (2,)}, "fc", (32, 32))
    return {"residual": json.dumps(graph.as_json()).encode()}


def read(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace").replace(KEY, "")
    file = path.with_name("n.safetensors")
    write_sealed(file, {}, {"format": NETWORK, "graph": text, "mean": "[0, 0, 0]", "std": "[1, 1, 1]"})
    network = read_network(str(file))
    network.arch("n")
    shapes_of(network.graph)


WORDS = (
    b'"@1"',
    b'"same"',
    b'"cat"',
    b'"slice"',
    b'"expand"',
    b'"matmul"',
    b'"table"',
    b'"layer_norm"',
    b"1e999",
    b"NaN",
)
DOORS = {"network": Door(seeds, read, ".json", WORDS, 1 << 13)}
