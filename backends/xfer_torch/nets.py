"""The networks, each cut into the stages of `xfer.archs`.

The ResNets are torchvision's own modules, so their names and their arithmetic are torchvision's by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from xfer.backend import Batch, ModelSpec
from xfer.errors import BackendError
from xfer_torch.efficientnet import EfficientNetLite0, Stage


@dataclass(frozen=True)
class Network:
    """A module with the cuts through it. Always in inference mode, but within a training step."""

    module: nn.Module
    body: tuple[tuple[str, Stage], ...]  # every stage but the head, in order
    head: nn.Linear
    mean: Tensor  # (1, 3, 1, 1), of images in [0, 255]
    std: Tensor
    device: torch.device

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and running statistics by canonical name."""
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            if not name.endswith("num_batches_tracked"):
                yield name, tensor

    def forward(self, inputs: Tensor, start: str, stop: str, keep: Tensor | None = None) -> Tensor:
        """From the boundary `start` to the boundary `stop`."""
        names = [name for name, _ in self.body]
        x = self._normalised(inputs) if start == names[0] else inputs
        if start in names:
            for name, stage in self.body[names.index(start) :]:
                if name == stop:
                    return x
                x = stage(x)
        if stop == "head":
            return x
        return self.head(x if keep is None else x * keep)

    def put(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        keep = None if batch.keep is None else self.put_array(torch.from_numpy(batch.keep))
        return self.put_array(torch.from_numpy(batch.inputs)), self.put_array(torch.from_numpy(batch.labels)), keep

    def put_array(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _normalised(self, images: Tensor) -> Tensor:
        # An NHWC array seen as NCHW is already laid out channels_last, which oneDNN and cuDNN like best.
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std


def build(spec: ModelSpec, device: str) -> Network:
    """Build `spec.arch` on `device`, in inference mode."""
    target = torch.device(device)
    if target.type == "cuda":
        # TensorFloat-32 keeps 10 bits of a float32: enough to train with, but no longer the same run as on a CPU.
        torch.backends.cudnn.allow_tf32 = False
    make = {"efficientnet_lite0": _efficientnet_lite0, "convnet": _convnet}.get(spec.arch, _resnet)
    module, body, head = make(spec)
    module.to(target).to(memory_format=torch.channels_last).eval()
    mean, std = (torch.tensor(v, dtype=torch.float32, device=target).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    return Network(module, body, head, mean, std, target)


Built = tuple[nn.Module, tuple[tuple[str, Stage], ...], nn.Linear]


def _resnet(spec: ModelSpec) -> Built:
    net = torchvision.models.get_model(spec.arch, weights=None, num_classes=spec.num_classes)
    body = (
        ("stem", nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)),
        ("layer1", net.layer1),
        ("layer2", net.layer2),
        ("layer3", net.layer3),
        ("layer4", nn.Sequential(net.layer4, net.avgpool, nn.Flatten())),
    )
    return net, body, net.fc


class ConvNet(nn.Module):
    """Two 5x5 convolutions of 4 and 8 maps, each with ReLU and 2x2 max-pooling, and 512 hidden units."""

    def __init__(self, classes: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = (((side - 4) // 2 - 4) // 2 for side in image_size)
        if min(height, width) < 1:
            raise BackendError(
                f"image_size = {image_size}: convnet needs at least 16 pixels each way. Cure: larger images"
            )
        self.conv1 = nn.Conv2d(3, 4, 5)
        self.conv2 = nn.Conv2d(4, 8, 5)
        self.fc1 = nn.Linear(8 * height * width, 512)
        self.fc = nn.Linear(512, classes)

    @staticmethod
    def shrink(x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(x), 2)


def _convnet(spec: ModelSpec) -> Built:
    net = ConvNet(spec.num_classes, spec.image_size)
    body: tuple[tuple[str, Stage], ...] = (
        ("stem", lambda x: net.shrink(net.conv1(x))),
        ("layer1", lambda x: net.shrink(net.conv2(x))),
        ("layer2", lambda x: functional.relu(net.fc1(x.flatten(1)))),
    )
    return net, body, net.fc


def _efficientnet_lite0(spec: ModelSpec) -> Built:
    net = EfficientNetLite0(spec.num_classes)
    return net, net.stages(), net._fc
