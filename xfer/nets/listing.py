"""What `xfer models` says of the networks of the catalogue."""

from __future__ import annotations

from xfer.errors import ConfigError, nearest
from xfer.graphs import packaged
from xfer.graphs.overview import Facts, facts_of_graph
from xfer.nets import catalogue
from xfer.nets.pretrained import packages


def matching(pattern: str) -> tuple[str, ...]:
    """Names of networks that hold the pattern, in any case, sorted. Raises ConfigError where none does."""
    found = tuple(sorted(name for name in catalogue.names() if pattern.lower() in name))
    if not found:
        near = nearest(pattern, catalogue.names())
        raise ConfigError(f"network = {pattern!r}: no name holds this. Cure: xfer models lists them.{near}")
    return found


def facts_of(name: str) -> Facts:
    """Of a network of the catalogue, with torchvision's tags of its weights, or the package that holds them."""
    tags = tuple(published.tag for published in packaged.published(name))
    return facts_of_graph(name, catalogue.graph_named(name), tags or packages(name))
