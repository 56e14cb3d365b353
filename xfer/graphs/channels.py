"""Networks of pictures with one channel or four in place of three: the layers that take them, and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from xfer.arrays import Float32, Weights
from xfer.errors import ConfigError
from xfer.graphs.graph import Graph, Node

COLOURS, GREY, FOUR = 3, 1, 4
_EACH_BY_ITSELF = frozenset({"max_pool", "avg_pool", "adaptive_avg_pool", "pad", "relu", "relu6"})
"""Kinds that do the same to each channel, however many there are."""


def with_channels(graph: Graph, count: int) -> Graph:
    """The same network, one of colours, of pictures (N, count, H, W): its first layers have as many channels.

    Raises ConfigError for a network that does anything with single colours before a convolution or a linear layer.
    """
    if graph.channels == count:
        return graph
    taking = set(takers(graph))
    shapes = {n: (s[0], s[1] // COLOURS * count, *s[2:]) if n in taking else s for n, s in graph.weights.items()}
    image = replace(graph.nodes[0], attributes={"channels": count})
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
                f"data.channels: {node.name} ({node.kind}) takes the colours of a picture one by one. "
                "Cure: data.channels = 3, or another network"
            )


def channels_in(weights: Mapping[str, Float32], graph: Graph) -> int:
    """Of the pictures that these weights of that network, one of colours, are for; 3 where they fit neither other."""
    for count in (GREY, FOUR):
        try:
            other = with_channels(graph, count)
        except ConfigError:
            return COLOURS
        if all(name in weights and weights[name].shape == other.weights[name] for name in takers(graph)):
            return count
    return COLOURS


def fitted(weights: Mapping[str, Float32], graph: Graph) -> tuple[Weights, tuple[str, ...]]:
    """Weights of a network of colours for that network of one channel or four, and the names of those that it changed.

    As timm's `adapt_input_conv` does: the kernels of the three colours are added up for one channel, so that a grey
    picture gives what it gave as a picture of three equal colours, but for what normalising each colour by its own mean
    made of it. For four they are those of red, green, blue and red again, times 3 / 4: of channels that are alike the
    sum stays.
    """
    found, names = dict(weights), []
    for name in takers(graph) if graph.channels != COLOURS else ():
        shape, array = graph.weights[name], weights.get(name)
        each = shape[1] // graph.channels
        if array is not None and array.shape == (shape[0], COLOURS * each, *shape[2:]):
            parts = array.reshape(shape[0], COLOURS, each, *shape[2:]).astype(np.float64)
            made = parts.sum(axis=1) if graph.channels == GREY else parts[:, [0, 1, 2, 0]] * (COLOURS / FOUR)
            found[name] = made.reshape(shape).astype(np.float32)
            names.append(name)
    return found, tuple(names)


def mean_of(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A mean or a standard deviation of the colours, for so many channels: of one, and of the fourth, their mean."""
    if channels == COLOURS:
        return values
    mean = (sum(values[:COLOURS]) / COLOURS,)
    return mean if channels == GREY else (*values, *mean)
