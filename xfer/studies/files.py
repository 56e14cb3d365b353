"""Whether the files that a finished run was made of, its network and its first weights, hold today what they held then.

A file that is gone, or that cannot be read, says nothing: the run has what it needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from xfer.archs import EXTRA
from xfer.arrays import Weights
from xfer.errors import ConfigError, XferError
from xfer.formats.files import digest
from xfer.formats.sealed import BEST, read_metadata
from xfer.graphs.graph import Graph
from xfer.graphs.read import graph_from_json
from xfer.nets.network_file import NetworkFile, is_file, read_network
from xfer.nets.pretrained import normalize_of, resolve_source, settled, weights_file
from xfer.nets.wrapped import unwrapped
from xfer.pixels.colour import Normalize, read_normalize
from xfer.recipe.recipe import Recipe
from xfer.results.read import read_result
from xfer.system.files import expanded


def changed_files(recipe: Recipe, run: Path) -> tuple[str, ...]:
    """What is another than it was when the run was made, a few words for each. Raises XferError as `read_result`."""
    result = read_result(run)
    try:
        metadata = read_metadata(run / BEST)
        trained = graph_from_json(json.loads(metadata["graph"]))
        normalize = read_normalize(metadata["mean"], metadata["std"])
    except (OSError, KeyError, ValueError, ConfigError):  # of before graphs were in checkpoints, or no checkpoint
        return ()
    return tuple(_changes(recipe, trained, normalize, result.get("parent")))


def _changes(recipe: Recipe, trained: Graph, normalize: Normalize, parent: dict[str, str] | None) -> Iterator[str]:
    arch, source = recipe.model.arch, settled(recipe.weights.source, recipe.model.arch)
    network, first = _network(arch), _first(source, arch)
    if network and network.graph.with_classes(trained.classes).with_hidden(EXTRA, recipe.model.extra) != trained:
        yield f"model.arch = {arch} was another network then"
    if first and parent and digest(_named(first[0], trained)) != parent["weights_digest"]:
        yield f"weights.source = {source} had other weights then"
    usual = (first and normalize_of(first[1], source)) or (network and network.normalize)
    if usual and recipe.augment.normalize is None and (usual.mean, usual.std) != (normalize.mean, normalize.std):
        yield f"{source if first else arch} had another mean and std then"


def _named(weights: Weights, graph: Graph) -> Weights:
    """As training names them."""
    return unwrapped(weights, graph.weights, tuple(graph[graph.head].weights.values()))[0]


def _network(arch: str) -> NetworkFile | None:
    with suppress(XferError, OSError):
        return _read_network(arch, _state(expanded(arch))) if is_file(arch) else None
    return None


def _first(source: str, arch: str) -> tuple[Weights, dict[str, str]] | None:
    with suppress(XferError, OSError):
        path = weights_file(source)
        return _read_source(source, arch, _state(path)) if path else None
    return None


State = tuple[int, int, int]
"""By which a file is told from what it was: what was read of one serves all runs of a study."""


def _state(path: Path) -> State:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=8)
def _read_network(arch: str, state: State) -> NetworkFile:
    return read_network(arch)


@lru_cache(maxsize=1)
def _read_source(source: str, arch: str, state: State) -> tuple[Weights, dict[str, str]] | None:
    return resolve_source(source, arch)
