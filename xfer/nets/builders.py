"""The networks that xfer writes by itself, as graphs.

They are not packaged as torchvision's others are: they change with the blocks, the padding or the size of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from xfer.archs import Padding, refuse_blocks
from xfer.errors import ConfigError, expected
from xfer.graphs.graph import Graph
from xfer.nets.convnet import convnet
from xfer.nets.efficientnet_lite import VARIANTS, efficientnet_lite
from xfer.nets.residual import LAYOUTS, resnet

CONVNET = "convnet"
NAMES = (*LAYOUTS, *VARIANTS, CONVNET)
CLASSES = 1000
"""Of ImageNet; `Graph.with_classes` makes them others."""


def build_graph(
    name: str, size: tuple[int, int], layers: Sequence[int] | None = None, padding: Padding = "symmetric"
) -> Graph:
    """One of NAMES, for CLASSES classes.

    size     (height, width) of pictures. Only the weights of `convnet` depend on it, which takes no others; the rest
             takes pictures of any size, and its graph says that of its published weights
    layers   of a ResNet: blocks of layer1, layer2, ...; fewer than 4 drop the last stages. None: as they are
    padding  of a ResNet

    Raises ConfigError for another name, for blocks or padding of a network that is no ResNet, for numbers of blocks out
    of range, and for pictures that are too small for `convnet`.
    """
    if name not in NAMES:
        raise ConfigError(expected("arch", name, NAMES))
    if padding not in get_args(Padding):
        raise ConfigError(expected("model.padding", padding, get_args(Padding)))
    if name in LAYOUTS:
        blocks = LAYOUTS[name].blocks
        if layers is not None:
            refuse_blocks(layers, len(blocks))
        return resnet(name, CLASSES, blocks if layers is None else layers, padding)
    for field, value, absent in (("layers", layers, None), ("padding", padding, "symmetric")):
        if value != absent:
            shown = value if isinstance(value, str) else list(value or ())
            raise ConfigError(f"model.{field} = {shown!r}: {name} is no ResNet. Cure: leave it out, or a ResNet")
    return efficientnet_lite(name, CLASSES) if name in VARIANTS else convnet(CLASSES, size)
