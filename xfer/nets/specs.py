"""What network is asked for, and the graph of it that a backend builds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from xfer.archs import EXTRA, MOST_HIDDEN, MOST_WIDTH, Arch, Padding
from xfer.backend import Backend, NetworkSpec, Precision
from xfer.backends import refuse_unknown_kinds
from xfer.capabilities import capability
from xfer.errors import BackendError, ConfigError, nearest
from xfer.graphs.channels import COLOURS, mean_of, with_channels
from xfer.graphs.graph import Graph
from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of
from xfer.nets import catalogue
from xfer.nets.library import is_of_library, read_library_network
from xfer.nets.network_file import NetworkFile, is_file, read_network
from xfer.system.memory import refuse_memory

TENSORS = 2
"""Of the largest size that are there at once: what a node takes, and what it gives."""


@dataclass(frozen=True)
class ModelSpec:
    """A network as it is asked for.

    image_size  (height, width) in pixels
    mean, std   of the three colours; of other channels see `xfer.graphs.channels.mean_of`
    layers      blocks of layer1, layer2, ..., of a network that is made of such; fewer drop the last stages. None: as
                they are
    extra       widths of linear layers, each followed by ReLU, between the pooled features and the head: a stage
                `extra` of their own, with the weights `extra.0.weight`, `extra.0.bias`, `extra.1.weight`, ...
    precision   and `fast`: see `NetworkSpec`
    padding     of its strided layers; it changes no name
    graph       the network with all of these changes in it; None until it was looked up
    channels    of its pictures: of 1 or 4 the first layers are made so
    """

    arch: str
    num_classes: int
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: tuple[int, ...] | None = None
    extra: tuple[int, ...] = ()
    precision: Precision = "float32"
    padding: Padding = "symmetric"
    graph: Graph | None = None
    fast: bool = False
    channels: int = COLOURS

    @property
    def network(self) -> NetworkSpec:
        """What a backend builds. It is to be asked of a spec `with_graph`."""
        assert self.graph is not None, "with_graph looks it up"
        mean, std = (mean_of(values, self.graph.channels) for values in (self.mean, self.std))
        return NetworkSpec(self.graph, mean, std, self.precision, self.arch, self.fast)

    @property
    def described(self) -> Arch:
        """The network as the core speaks of it. It is to be asked of a spec `with_graph`."""
        graph = self.network.graph
        return catalogue.arch_named(self.arch, graph) if self.arch in catalogue.names() else arch_of(self.arch, graph)


def arch_named(name: str, own: Mapping[str, Graph] | None = None) -> Arch | None:
    """The network of that name, or None: among a backend's `own`, in that file, of a library, or brought by xfer."""
    if own and name in own:
        return arch_of(name, own[name])
    if (held := network_held(name)) is not None:
        return held.arch(name)
    return catalogue.arch_named(name, catalogue.graph_named(name)) if name in catalogue.names() else None


def own_networks(backend: Backend) -> Mapping[str, Graph]:
    """Those that the backend brings itself."""
    networks: Mapping[str, Graph] = capability(backend, "networks")
    return networks


def known_arch(backend: Backend, name: str) -> Arch:
    """Raises BackendError for a network that the backend does not build, WeightsError for a file that holds none."""
    own = own_networks(backend)
    if (arch := arch_named(name, own)) is None:
        known = (*own, *catalogue.names())
        listed = f"one of the {len(known)} that `xfer models` lists, timm/NAME, or a network in a .safetensors file"
        raise BackendError(f"arch = {name!r}: expected {listed}.{nearest(name, known)}")
    refuse_unknown_kinds(backend, name, _graph_named(name, own))
    return arch


def builds(backend: Backend, name: str) -> bool:
    """Whether the backend builds the network of that name."""
    try:
        known_arch(backend, name)
    except BackendError:
        return False
    return True


def _graph_named(name: str, own: Mapping[str, Graph]) -> Graph:
    if name in own:
        return own[name]
    return held.graph if (held := network_held(name)) is not None else catalogue.graph_named(name)


def network_held(name: str) -> NetworkFile | None:
    """In the file of that name, or in that of a library's network; None for a name of the catalogue."""
    if is_file(name):
        return read_network(name)
    return read_library_network(name) if is_of_library(name) else None


def with_graph(spec: ModelSpec, backend: Backend, place: str | None = None) -> ModelSpec:
    """The spec with its network as a graph.

    place   where the file of a network in a file lies, if not where the spec says

    Raises ConfigError for a network that there is not, for changes that it cannot have, and for pictures of a size
    that it does not take.
    """
    graph = spec.graph or _changed(spec, own_networks(backend), place or spec.arch)
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


def _changed(spec: ModelSpec, own: Mapping[str, Graph], place: str) -> Graph:
    """The network by its name or in the file, with the changes that are asked for."""
    if is_file(place) or is_of_library(place) or place in own:
        catalogue.refuse_changes(spec.arch, spec.layers, spec.padding)
        graph = _graph_named(place, own)
    else:
        graph = catalogue.graph_named(place, spec.image_size, spec.layers, spec.padding)
    if len(spec.extra) > MOST_HIDDEN or any(not 1 <= width <= MOST_WIDTH for width in spec.extra):
        raise ConfigError(
            f"model.extra = {list(spec.extra)}: expected widths of 1 to {MOST_WIDTH:,}, {MOST_HIDDEN} of them at most"
        )
    if spec.extra and any(name.startswith(f"{EXTRA}.") for name in graph.weights):
        raise ConfigError(f"model.extra = {list(spec.extra)}: {spec.arch} has such layers already. Cure: leave it out")
    graph = graph.with_classes(spec.num_classes).with_hidden(EXTRA, spec.extra)
    return with_channels(graph, spec.channels) if spec.channels != COLOURS else graph
