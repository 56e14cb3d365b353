"""A network as data: nodes in the order of the computation, each of one of the kinds of `xfer.graphs.kinds`.

A backend gives each kind its meaning; all else, from stages to shapes, is derived from the graph, without a framework.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from xfer.errors import ConfigError

FORMAT = 1
MOST_NODES = 20_000
"""The largest network of torchvision has 2,000."""


@dataclass(frozen=True)
class Node:
    """One operation.

    name        unique in its graph. Where it has weights, most often that of the layer: `layer1.0.conv1`
    kind        what it does
    inputs      names of earlier nodes, in the order that the kind gives them
    attributes  numbers, texts, and lists of them, as the kind says
    weights     slot of the kind -> canonical name of the weight in it
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A classifier of pictures (N, 3, H, W), or of 1 or 4 channels, float32, normalised, into logits (N, C).

    nodes    the first, of kind `image`, is the picture; the last gives the logits
    weights  name -> shape of every weight and running statistic, in the order of the computation
    head     the node whose weights make features into logits, one row for each class
    size     (height, width) in pixels that it is meant for
    fixed    whether it takes no other size
    stages   stage -> the node that it begins with, in the order of the computation, without the head. Empty: they are
             derived (`xfer.graphs.stages`)
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, tuple[int, ...]]
    head: str
    size: tuple[int, int] = (224, 224)
    fixed: bool = False
    stages: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def places(self) -> dict[str, int]:
        """Name of a node -> its place among all."""
        return {node.name: place for place, node in enumerate(self.nodes)}

    @property
    def channels(self) -> int:
        """Of a picture: 3 colours, or 1, or 4."""
        return int(self.nodes[0].attributes.get("channels", 3))

    @property
    def classes(self) -> int:
        return self.weights[self[self.head].weights["weight"]][0]

    def with_classes(self, count: int) -> Graph:
        """The same network with a head of so many rows."""
        of_head = set(self[self.head].weights.values())
        shapes = {name: (count, *shape[1:]) if name in of_head else shape for name, shape in self.weights.items()}
        return replace(self, weights=shapes)

    def with_head_bias(self) -> Graph:
        """The same network, its head with a bias, called after its weight: the network itself where it has one."""
        head = self[self.head]
        weight = head.weights["weight"]
        bias = f"{weight.rpartition('.')[0]}.bias"
        if "bias" in head.weights or bias in self.weights:
            return self
        biased = replace(head, weights={**head.weights, "bias": bias})
        nodes = tuple(biased if node is head else node for node in self.nodes)
        return replace(self, nodes=nodes, weights={**self.weights, bias: self.weights[weight][:1]})

    def with_hidden(self, prefix: str, widths: Sequence[int]) -> Graph:
        """The same network with linear layers `prefix.0`, `prefix.1`, ... and a ReLU behind each, before its head.

        Dropout right before the head stays there. Raises ConfigError for a head that takes maps.
        """
        head, features = self[self.head], self.weights[self[self.head].weights["weight"]][1:]
        if not widths:
            return self
        if len(features) > 1:
            raise ConfigError(f"model.extra = {list(widths)}: the head of this network takes maps. Cure: leave it out")
        last = self[head.inputs[0]]  # what goes on taking what enters the head now
        last = last if last.kind == "dropout" else head
        before, inputs, nodes, shapes = last.inputs[0], features[0], [], dict[str, tuple[int, ...]]()
        for number, width in enumerate(widths):
            name = f"{prefix}.{number}"
            slots = {slot: f"{name}.{slot}" for slot in ("weight", "bias")}
            nodes += [Node(name, "linear", (before,), {}, slots), Node(f"{name}.relu", "relu", (name,))]
            shapes |= {slots["weight"]: (width, inputs), slots["bias"]: (width,)}
            before, inputs = f"{name}.relu", width
        place = self.places[last.name]
        of_head = set(head.weights.values())
        all_nodes = (*self.nodes[:place], *nodes, replace(last, inputs=(before,)), *self.nodes[place + 1 :])
        for name, shape in self.weights.items():
            if name in of_head and len(shape) == 2:
                shapes[name] = (shape[0], inputs)
            elif name in of_head:
                shapes[name] = shape
        body = {name: shape for name, shape in self.weights.items() if name not in of_head}
        stages = {**self.stages, prefix: f"{prefix}.0"} if self.stages else {}
        return replace(self, nodes=all_nodes, weights={**body, **shapes}, stages=stages)

    def readers(self) -> dict[str, list[Node]]:
        """Name of a node -> the nodes that take what it gives."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Each convolution with the batch normalisation that alone takes what it gives: at rest they are one."""
        readers = self.readers()
        for node in self.nodes:
            if node.kind == "conv" and [reader.kind for reader in readers[node.name]] == ["batch_norm"]:
                yield node, readers[node.name][0]

    def as_json(self) -> dict[str, Any]:
        nodes = [[n.name, n.kind, list(n.inputs), dict(n.attributes), dict(n.weights)] for n in self.nodes]
        shapes = {name: list(shape) for name, shape in self.weights.items()}
        return {
            "format": FORMAT, "head": self.head, "size": list(self.size), "fixed": self.fixed,
            "nodes": nodes, "weights": shapes, **({"stages": dict(self.stages)} if self.stages else {}),
        }  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of its canonical JSON, in hexadecimal digits."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
