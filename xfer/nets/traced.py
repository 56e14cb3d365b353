"""What a framework's module was traced to, with its weights, as a network of xfer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32, Weights
from xfer.capabilities import OwnModule
from xfer.formats.files import canonical_names
from xfer.graphs.graph import Graph

Triple = tuple[float, float, float]


def own_logits(module: OwnModule, pixels: NDArray[np.uint8], mean: Triple, std: Triple) -> Float32:
    """(N, C) that a module of the framework's gives for pictures (N, H, W, 3), normalised in [0, 1]."""
    shift, scale = (np.array(values, np.float32) for values in (mean, std))
    scaled = (pixels.astype(np.float32) / np.float32(255) - shift) / scale
    return module.predict(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def with_canonical_names(graph: Graph, own: Mapping[str, Float32]) -> tuple[Graph, Weights]:
    """The graph under canonical names, with a bias for its head, of zeros where it has none, and its weights.

    own   weights by the module's own names. Raises WeightsError where two of them get the same
    """
    names = canonical_names(graph.weights)
    weights = {names[name]: own[name] for name in graph.weights}
    nodes = [replace(n, weights={slot: names[name] for slot, name in n.weights.items()}) for n in graph.nodes]
    graph = replace(graph, nodes=tuple(nodes), weights={names[n]: shape for n, shape in graph.weights.items()})
    biased = graph.with_head_bias()
    zeros = {name: np.zeros(shape, np.float32) for name, shape in biased.weights.items() if name not in weights}
    return biased, {**weights, **zeros}
