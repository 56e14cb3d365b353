"""The networks that both adapters build, as the core sees them.

Names are canonical: torchvision's for the ResNets, those of `efficientnet_lite_pytorch` for EfficientNet-Lite0.
"""

from __future__ import annotations

from xfer.archs import Arch


def _resnet(name: str, features: int, *layers: int) -> Arch:
    """Blocks: He et al. 2016, "Deep Residual Learning", table 1."""
    body = tuple((f"layer{i}", (f"layer{i}.",)) for i in range(1, len(layers) + 1))
    return Arch(name, (("stem", ("conv1.", "bn1.")), *body, ("head", ("fc.",))), "fc", features, layers=layers)


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
    flattened=8,
)


ARCHS: dict[str, Arch] = {
    a.name: a
    for a in (
        _resnet("resnet18", 512, 2, 2, 2, 2),
        _resnet("resnet34", 512, 3, 4, 6, 3),
        _resnet("resnet50", 2048, 3, 4, 6, 3),
        _resnet("resnet101", 2048, 3, 4, 23, 3),
        _resnet("resnet152", 2048, 3, 8, 36, 3),
        _EFFICIENTNET_LITE0,
        _CONVNET,
    )
}
