"""Which network of the catalogue a file's weights look like, for the hint of an error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from xfer.nets import catalogue

Shapes = Mapping[str, tuple[int, ...]]

ALIKE = 0.9
"""Of the tensors in the network without its head, and of those in the file: so many are the same, at least."""


def guess_arch(shapes: Shapes) -> str | None:
    """The network whose weights these are, by name and shape, but for a few and the head; None if of none.

    Where several share them, the one with most; of equals, the first of the catalogue.
    """
    best, most = None, 0
    for name, (body, head) in _catalogue().items():
        same = sum(shapes.get(weight) == shape for weight, shape in body.items())
        others = sum(weight not in head for weight in shapes)
        if same > most and same >= ALIKE * max(len(body), others):
            best, most = name, same
    return best


@lru_cache(maxsize=1)
def _catalogue() -> Mapping[str, tuple[Shapes, frozenset[str]]]:
    """Name -> shapes of the body, and names of the head's weights. It takes a second, once."""
    found = {}
    for name in catalogue.names():
        graph = catalogue.graph_named(name)
        head = frozenset(graph[graph.head].weights.values())
        found[name] = {weight: shape for weight, shape in graph.weights.items() if weight not in head}, head
    return found
