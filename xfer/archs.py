"""What the core must know of a network: its stages, its head, and which names belong to which.

An adapter builds the network; this table only lets the core speak about its weights by name. Names are
canonical: torchvision's for the ResNets, those of `efficientnet_lite_pytorch` for EfficientNet-Lite0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xfer.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LOGITS = "logits"
"""The boundary behind the last stage."""


@dataclass(frozen=True)
class Arch:
    """One network, as the core sees it.

    `stages` maps a stage's name to the prefixes of the weights in it, in the order of the computation. A boundary
    is named after the stage it enters: the first stage takes uint8 images, `head` takes pooled features `(N, F)`.
    """

    name: str
    stages: tuple[tuple[str, tuple[str, ...]], ...]
    head: str  # module name of the last linear layer
    features: int  # F, the width of the head's input
    dropout: float = 0.0  # probability of dropping one of the head's inputs
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(stage for stage, _ in self.stages)

    @property
    def head_names(self) -> tuple[str, str]:
        """Names of the head's weight `(classes, F)` and bias `(classes,)`."""
        return f"{self.head}.weight", f"{self.head}.bias"

    def stage_of(self, name: str) -> str:
        """The stage a weight belongs to. Raises ConfigError for a name of another network."""
        for stage, prefixes in self.stages:
            if name.startswith(prefixes):
                return stage
        raise ConfigError(f"weight {name!r} belongs to no stage of {self.name}")


def norm_layers(names: Iterable[str]) -> tuple[str, ...]:
    """Module names of the normalisation layers that keep running statistics, in order of appearance."""
    suffix = ".running_mean"
    return tuple(n.removesuffix(suffix) for n in names if n.endswith(suffix))


def is_statistic(name: str) -> bool:
    """Whether a name is a running statistic: state that no optimizer touches."""
    return name.endswith((".running_mean", ".running_var"))


def _resnet(name: str, features: int) -> Arch:
    layers = tuple((f"layer{i}", (f"layer{i}.",)) for i in (1, 2, 3, 4))
    return Arch(name, (("stem", ("conv1.", "bn1.")), *layers, ("head", ("fc.",))), "fc", features)


def _blocks(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"_blocks.{i}." for i in range(first, last + 1))


_EFFICIENTNET_LITE0 = Arch(
    "efficientnet_lite0",
    (
        ("stem", ("_conv_stem.", "_bn0.")),
        ("layer1", _blocks(0, 2)),  # to 1/4 of the image's side
        ("layer2", _blocks(3, 4)),  # to 1/8
        ("layer3", _blocks(5, 10)),  # to 1/16
        ("layer4", (*_blocks(11, 15), "_conv_head.", "_bn1.")),  # to 1/32
        ("head", ("_fc.",)),
    ),
    "_fc",
    features=1280,
    dropout=0.2,
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
)

_CONVNET = Arch(
    "convnet",
    (("stem", ("conv1.",)), ("layer1", ("conv2.",)), ("layer2", ("fc1.",)), ("head", ("fc.",))),
    "fc",
    features=512,
    dropout=0.5,
)

ARCHS: dict[str, Arch] = {
    a.name: a
    for a in (
        _resnet("resnet18", 512),
        _resnet("resnet34", 512),
        _resnet("resnet50", 2048),
        _resnet("resnet101", 2048),
        _resnet("resnet152", 2048),
        _EFFICIENTNET_LITE0,
        _CONVNET,
    )
}
