"""The networks that come with xfer, by name: those that are built here, and torchvision's others, which are packaged.

Names of weights are torchvision's, for EfficientNet-Lite those of `efficientnet_lite_pytorch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xfer.archs import Arch, Padding
from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.graph import Graph
from xfer.graphs.stages import arch_of
from xfer.nets import builders
from xfer.nets.efficientnet_lite import VARIANTS
from xfer.nets.residual import LAYOUTS

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of the pictures that the published weights of EfficientNet-Lite were trained with."""
SMALL = ("convnet", "resnet18")
"""Of which a backend is tested: one without norm layers, and one with."""
SIZE = (224, 224)
"""(height, width) of pictures, where none are at hand, for a network of any size."""


def names() -> tuple[str, ...]:
    return (*builders.NAMES, *packaged.names())


def graph_named(
    name: str,
    size: tuple[int, int] | None = None,
    layers: Sequence[int] | None = None,
    padding: Padding = "symmetric",
) -> Graph:
    """The network of that name for the 1000 classes of ImageNet.

    size     (height, width) of its pictures in pixels; None: those it is meant for
    layers   blocks of each stage, of a network that is made of such; fewer stages drop the last ones
    padding  of its strided layers, see `Padding`

    Raises ConfigError for a name that is not there, and for changes that the network cannot have.
    """
    if name in builders.NAMES:
        return builders.build_graph(name, size or SIZE, layers, padding)
    refuse_changes(name, layers, padding)
    return packaged.load(name)


def refuse_changes(name: str, layers: Sequence[int] | None, padding: Padding) -> None:
    """Raises ConfigError for changes that only networks of plain residual blocks have."""
    changes = {"layers": layers and list(layers), "padding": None if padding == "symmetric" else padding}
    for key, value in changes.items():
        if value:
            raise ConfigError(f"model.{key} = {value!r}: {name} is no ResNet. Cure: leave it out, or a ResNet")


def arch_named(name: str, graph: Graph) -> Arch:
    """How the core speaks of that network of the catalogue, or of the graph that was made of it."""
    arch = replace(arch_of(name, graph), layers=LAYOUTS[name].blocks if name in LAYOUTS else None)
    return replace(arch, mean=LITE_MEAN, std=LITE_STD) if name in VARIANTS else arch
