"""What a backend is asked to build: the network as a graph, where it is one of the catalogue's or in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from xfer.archs import EXTRA, Arch, adapted
from xfer.backend import Backend, ModelSpec
from xfer.backends import refuse_unknown_kinds
from xfer.capabilities import capability
from xfer.errors import BackendError, ConfigError, expected, nearest
from xfer.graphs import packaged
from xfer.graphs.graph import Graph
from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of
from xfer.nets.catalogue import ARCHS
from xfer.nets.network_file import is_file, read_network
from xfer.system.memory import refuse_memory

TENSORS = 2
"""Of the largest size that are there at once: what a node takes, and what it gives."""


def arch_named(name: str) -> Arch | None:
    """The network of that name, of those that xfer brings, or in that file; None for one of a backend's own."""
    if name in ARCHS:
        return ARCHS[name]
    if is_file(name):
        return read_network(name).arch(name)
    return arch_of(name, packaged.load(name)) if name in packaged.names() else None


def known_arch(backend: Backend, name: str) -> Arch:
    """Raises BackendError for a network that the backend does not build, WeightsError for a file that holds none."""
    if name in backend.archs:
        return backend.archs[name]
    kinds: frozenset[str] = capability(backend, "kinds")
    if is_file(name):
        network = read_network(name)
        refuse_unknown_kinds(backend, name, network.graph)
        return network.arch(name)
    if not kinds or name not in packaged.names():
        raise BackendError(_unknown(backend, name) if kinds else expected("arch", name, backend.archs))
    graph = packaged.load(name)
    refuse_unknown_kinds(backend, name, graph)
    return arch_of(name, graph)


def _unknown(backend: Backend, name: str) -> str:
    own = ", ".join(backend.archs)
    more = f"another of torchvision's ({len(packaged.names())}: xfer models lists them)"
    near = nearest(name, [*backend.archs, *packaged.names()])
    return f"arch = {name!r}: expected one of {own}, {more}, or a network in a .safetensors file.{near}"


def with_graph(spec: ModelSpec, archs: Mapping[str, Arch], place: str | None = None) -> ModelSpec:
    """The spec with its network as a graph, unless the backend writes it itself, as one of `archs`.

    place   where the file of a network in a file lies, if not where the spec says

    Raises ConfigError for changes that the network cannot have, and for pictures of a size that it does not take.
    """
    if spec.graph is None and spec.arch in archs:
        return spec
    graph = spec.graph or _changed(spec, place or spec.arch)
    height, width = spec.image_size
    if graph.fixed and spec.image_size != graph.size:
        own = " x ".join(map(str, graph.size))
        raise ConfigError(
            f"pictures of {height} x {width} pixels: {spec.arch} takes none but those of {own}. "
            f"Cure: --size {graph.size[0]}"
        )
    shapes = shapes_of(graph, spec.image_size)
    if (given := shapes[graph.nodes[-1].name]) != (1, graph.classes):
        raise ConfigError(f"{spec.arch} gives {given} of one picture: expected logits, (1, {graph.classes})")
    largest = max(map(math.prod, shapes.values()))
    refuse_memory(f"a picture of {height} x {width} pixels in {spec.arch}", 4 * TENSORS * largest, "smaller pictures")
    return replace(spec, graph=graph)


def _changed(spec: ModelSpec, place: str) -> Graph:
    """The network of the catalogue or in the file, with the classes and the hidden layers that are asked for."""
    graph = read_network(place).graph if is_file(place) else packaged.load(place)
    adapted(arch_of(spec.arch, graph), spec.layers, spec.extra, spec.padding)
    if spec.extra and any(name.startswith(f"{EXTRA}.") for name in graph.weights):
        raise ConfigError(f"model.extra = {list(spec.extra)}: {spec.arch} has such layers already. Cure: leave it out")
    return graph.with_classes(spec.num_classes).with_hidden(EXTRA, spec.extra)
