"""How torchvision's networks draw their first weights: as data, a row for each family.

Read from `torchvision/models/*.py`. What a row says nothing about, normalisation, attention and tables, is the same in
all families: `init_weights` has the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xfer.archs import EXTRA
from xfer.arrays import Float32
from xfer.graphs.graph import Graph, Node
from xfer.nets import catalogue


@dataclass(frozen=True)
class Draw:
    """A distribution around 0 of the variance `variance / fan`.

    fan   of a layer's weight (O, I, h, w) or (O, I), groups or not: "in" I h w, "out" O h w, "mean" of both; None: 1

    A uniform distribution of variance v lies within sqrt(3 v). torch's `trunc_normal_` is "normal": it cuts at -2 and
    2, in the units of the weight, which are 20 standard deviations or more away in all rows: no number gets there.
    """

    distribution: Literal["normal", "uniform"]
    variance: float
    fan: Literal["in", "out", "mean"] | None = None

    def values(self, shape: tuple[int, ...], weight: tuple[int, ...], rng: np.random.Generator) -> Float32:
        """First values of that shape in a layer whose weight has the shape `weight`."""
        if self.variance == 0:
            return np.zeros(shape, np.float32)
        variance = self.variance / _fan(self.fan, weight)
        if self.distribution == "normal":
            return (rng.standard_normal(shape) * math.sqrt(variance)).astype(np.float32)
        bound = math.sqrt(3 * variance)
        return rng.uniform(-bound, bound, shape).astype(np.float32)


def _fan(name: str | None, weight: tuple[int, ...]) -> float:
    field = math.prod(weight[2:])
    fans = {"in": weight[1] * field, "out": weight[0] * field, "mean": (weight[0] + weight[1]) * field / 2, None: 1}
    return fans[name]


def _normal(std: float) -> Draw:
    return Draw("normal", std**2)


ZEROS = Draw("normal", 0)
TORCH = Draw("uniform", 1 / 3, "in")
"""Within 1 / sqrt(fan_in): weights and biases of torch's layers (LeCun et al. 1998, "Efficient BackProp")."""
HE_OUT = Draw("normal", 2, "out")
"""He et al. 2015, "Delving Deep into Rectifiers", for ReLU; of depthwise layers too, where eq. 14 has fewer outputs."""


@dataclass(frozen=True)
class FirstRules:
    """Of a family: weights and biases of convolutions and linear layers. `head`: its own two, where it has some."""

    conv: Draw
    conv_bias: Draw
    linear: Draw
    linear_bias: Draw
    head: tuple[Draw, Draw] | None = None

    def draw(self, node: Node, slot: str, head: str) -> Draw:
        """Of a slot of a convolution or a linear layer, in a network with that head."""
        weight, bias = (self.conv, self.conv_bias) if node.kind == "conv" else (self.linear, self.linear_bias)
        if node.name == head and self.head:
            weight, bias = self.head
        return weight if slot == "weight" else bias


FAMILIES: Mapping[str, FirstRules | None] = {
    "alexnet": FirstRules(TORCH, TORCH, TORCH, TORCH),
    "convnet": None,
    "convnext": FirstRules(_normal(0.02), ZEROS, _normal(0.02), ZEROS),
    "densenet": FirstRules(Draw("normal", 2, "in"), TORCH, TORCH, ZEROS),
    "efficientnet": FirstRules(HE_OUT, ZEROS, Draw("uniform", 1 / 3, "out"), ZEROS),
    "efficientnet_lite": None,
    "googlenet": FirstRules(_normal(0.01), TORCH, _normal(0.01), TORCH),
    "inception": FirstRules(_normal(0.1), TORCH, _normal(0.1), TORCH),
    "maxvit": FirstRules(_normal(0.02), ZEROS, _normal(0.02), ZEROS),
    "mnasnet": FirstRules(HE_OUT, ZEROS, Draw("uniform", 1, "out"), ZEROS),
    "mobilenet": FirstRules(HE_OUT, ZEROS, _normal(0.01), ZEROS),
    "regnet": FirstRules(HE_OUT, TORCH, _normal(0.01), ZEROS),
    "resnet": None,
    "resnext": None,
    "shufflenet": FirstRules(TORCH, TORCH, TORCH, TORCH),
    "squeezenet": FirstRules(Draw("uniform", 2, "in"), ZEROS, TORCH, TORCH, head=(_normal(0.01), ZEROS)),
    "swin": FirstRules(TORCH, TORCH, _normal(0.02), ZEROS),
    "vgg": FirstRules(HE_OUT, ZEROS, _normal(0.01), ZEROS),
    # Of the picture's patches: trunc_normal_; of the MLPs: Glorot and Bengio 2010, eq. 16.
    "vit": FirstRules(Draw("normal", 1, "in"), ZEROS, Draw("uniform", 1, "mean"), _normal(1e-6), head=(ZEROS, ZEROS)),
    "wide_resnet": None,
}
"""Beginning of a network's name, the longest that fits -> its rules. None: those of `init_weights`, which are
torchvision's for all ResNets; EfficientNet-Lite and ConvNet are not torchvision's."""


def family(arch: str) -> str | None:
    """The row for that network of the catalogue; None for any other, whatever its name begins with."""
    rows = [name for name in FAMILIES if arch.startswith(name)] if arch in catalogue.names() else []
    return max(rows, key=len, default=None)


def rules_of(arch: str) -> FirstRules | None:
    """The rules of that network of the catalogue, where they are not those of `init_weights`."""
    row = family(arch)
    return None if row is None else FAMILIES[row]


def draws(rules: FirstRules, graph: Graph) -> dict[str, tuple[Draw, tuple[int, ...]]]:
    """Name of a weight -> how it is drawn, and the shape of its layer's weight.

    Of convolutions and linear layers, without those that the network was given on top: the family has no such layers.
    """
    return {
        name: (rules.draw(node, slot, graph.head), graph.weights[node.weights["weight"]])
        for node in graph.nodes
        if node.kind in ("conv", "linear") and not node.name.startswith(f"{EXTRA}.")
        for slot, name in node.weights.items()
    }
