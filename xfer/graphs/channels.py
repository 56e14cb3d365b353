"""Networks of pictures with one channel in place of three: the layers that take the colours, and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from xfer.arrays import Float32, Weights
from xfer.errors import ConfigError
from xfer.graphs.graph import Graph, Node

COLOURS, GREY = 3, 1
_EACH_BY_ITSELF = frozenset({"max_pool", "avg_pool", "adaptive_avg_pool", "pad", "relu", "relu6"})
"""Kinds that do the same to each channel, however many there are."""


def with_grey(graph: Graph) -> Graph:
    """The same network of grey pictures (N, 1, H, W): its first layers have a third of the weights.

    Raises ConfigError for a network that does anything with single colours before a convolution or a linear layer.
    """
    if graph.channels == GREY:
        return graph
    taking = set(takers(graph))
    shapes = {n: (s[0], s[1] // COLOURS, *s[2:]) if n in taking else s for n, s in graph.weights.items()}
    image = replace(graph.nodes[0], attributes={"channels": GREY})
    return replace(graph, nodes=(image, *graph.nodes[1:]), weights=shapes)


def takers(graph: Graph) -> tuple[str, ...]:
    """Names of the weights that multiply single channels of the picture, on their axis 1."""
    return tuple(dict.fromkeys(_takers(graph)))


def _takers(graph: Graph) -> Iterator[str]:
    readers, picture = graph.readers(), graph.nodes[0].name
    # Of a node that expands a class token, the picture says how many there are, and no more.
    waiting: list[tuple[Node, bool]] = [
        (r, False) for r in readers[picture] if r.kind != "expand" or r.inputs[0] == picture
    ]
    while waiting:
        node, flat = waiting.pop()
        if (node.kind in _EACH_BY_ITSELF and not flat) or (node.kind == "flatten" and node.attributes["start"] == 1):
            waiting += [(reader, node.kind == "flatten") for reader in readers[node.name]]
        elif (node.kind == "conv" and node.attributes["groups"] == 1) or (node.kind == "linear" and flat):
            yield node.weights["weight"]
        else:
            raise ConfigError(
                f"data.channels = 1: {node.name} ({node.kind}) takes the colours of a picture one by one. "
                "Cure: data.channels = 3, or another network"
            )


def are_grey(weights: Mapping[str, Float32], graph: Graph) -> bool:
    """Whether these are weights of that network, one of colours, for grey pictures."""
    try:
        grey = with_grey(graph)
    except ConfigError:
        return False
    return all(name in weights and weights[name].shape == grey.weights[name] for name in takers(graph))


def fitted(weights: Mapping[str, Float32], graph: Graph) -> tuple[Weights, tuple[str, ...]]:
    """Weights of a network of colours for that network of grey pictures, and the names of those that were changed.

    The kernels of the three colours are added up, as timm's `adapt_input_conv` does: a grey picture then gives what it
    gave as a picture of three equal colours, but for what normalising each colour by its own mean made of it.
    """
    found, names = dict(weights), []
    for name in takers(graph) if graph.channels == GREY else ():
        shape, array = graph.weights[name], weights.get(name)
        if array is not None and array.shape == (shape[0], COLOURS * shape[1], *shape[2:]):
            parts = array.reshape(shape[0], COLOURS, *shape[1:])
            found[name] = parts.sum(axis=1, dtype=np.float64).astype(np.float32)
            names.append(name)
    return found, tuple(names)


def mean_of(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or a standard deviation of the colours, for so many channels: of one, the mean of the three."""
    return values if channels == COLOURS or len(values) == GREY else (sum(values) / len(values),)
