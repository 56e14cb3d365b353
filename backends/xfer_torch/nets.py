"""The networks, each cut into the stages of `xfer.archs`.

The ResNets are torchvision's own modules, so their names and their arithmetic are torchvision's by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from xfer.archs import EXTRA, LOGITS, adapted
from xfer.backend import Batch, ModelSpec
from xfer.errors import BackendError
from xfer.nets.catalogue import ARCHS
from xfer_torch.efficientnet import EfficientNetLite0, Stage
from xfer_torch.graph import build_graph
from xfer_torch.layers import SameConv, SameMaxPool


@dataclass(frozen=True)
class Network:
    """A module with the cuts through it. Always in inference mode, but within a training step."""

    spec: ModelSpec
    module: nn.Module
    body: tuple[tuple[str, Stage], ...]  # every stage but the head, in order
    head: Stage
    scale: Tensor  # (1, 3, 1, 1): a normalised image is image * scale + shift
    shift: Tensor
    device: torch.device

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and running statistics by canonical name."""
        tensors = self.module.state_dict(keep_vars=True)
        graph = self.spec.graph
        for name in tensors if graph is None else graph.weights:
            if not name.endswith("num_batches_tracked"):
                yield name, tensors[name]

    def forward(self, inputs: Tensor, start: str, stop: str, keep: Tensor | None = None) -> Tensor:
        """From the boundary `start` to the boundary `stop`, float32 at both whatever the precision between."""
        first, _ = self.body[0]
        x = self._normalised(inputs) if start == first else _channels_last(inputs)
        return self.run(x, start, stop, keep)

    def run(self, x: Tensor, start: str, stop: str, keep: Tensor | None = None) -> Tensor:
        """As `forward`, but images are normalised already, (N, 3, H, W), and maps laid out channels_last."""
        names = [name for name, _ in self.body]
        # The head stays in float32: it costs nothing, and bfloat16 would leave 8 bits of the logits.
        if start in names:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.precision == "bfloat16"):
                for name, stage in self.body[names.index(start) :]:
                    if name == stop:
                        return x.float()
                    x = stage(x)
            x = x.float()
        if stop == "head":
            return x
        return self.head(x if keep is None else x * (keep[:, :, None, None] if x.ndim == 4 else keep))

    def put(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        keep = None if batch.keep is None else self.put_array(torch.from_numpy(batch.keep))
        return self.put_array(torch.from_numpy(batch.inputs)), self.put_array(torch.from_numpy(batch.labels)), keep

    def put_array(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()  # from pageable memory, a copy waits for the device
        return tensor.to(self.device, non_blocking=True)

    def _normalised(self, images: Tensor) -> Tensor:
        # An NHWC array seen as NCHW is already laid out channels_last, which oneDNN and cuDNN like best.
        return torch.addcmul(self.shift, images.permute(0, 3, 1, 2).float(), self.scale)


class Native(nn.Module):
    """A network as any other module, with its weights under their own names: normalised images in, logits out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        for name, child in network.module.named_children():
            self.add_module(name, child)
        for name, parameter in network.module.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self._xfer = network  # no module: what is trained, moved and saved are the children
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        first, _ = self._xfer.body[0]
        return self._xfer.run(_channels_last(images), first, LOGITS)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def build(spec: ModelSpec, device: str) -> Network:
    """Build `spec.arch` on `device`, in inference mode."""
    target = torch.device(device)
    if target.type == "cuda":
        # TensorFloat-32 keeps 10 bits of a float32: enough to train with, but no longer the same run as on a CPU.
        # Off for the whole process, and for good: a context around each step would miss what is done with `Native`,
        # and torch refuses to say what to go back to where a program has set its newer switches, one per operator.
        torch.backends.cudnn.allow_tf32 = False
    module, body, head = assemble(spec)
    module.to(target).to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    scale, shift = (t.to(target, torch.float32) for t in (1 / (255 * std), -mean / std))
    return Network(spec, module, body, head, scale, shift, target)


Body = tuple[tuple[str, Stage], ...]
Built = tuple[nn.Module, Body, nn.Linear]


def assemble(spec: ModelSpec) -> tuple[nn.Module, Body, Stage]:
    """The module, its stages and its head, in inference mode, on torch's default device."""
    if spec.graph is not None:
        module, (*stages, (_, last)) = build_graph(spec.graph)
        return module.eval(), tuple(stages), last
    make = {"efficientnet_lite0": _efficientnet_lite0, "convnet": _convnet}.get(spec.arch, _resnet)
    module, body, head = _with_extra(make(spec), spec) if spec.extra else make(spec)
    return module.eval(), body, head


def _resnet(spec: ModelSpec) -> Built:
    arch = adapted(ARCHS[spec.arch], spec.layers)
    blocks = arch.layers or ()
    block = BasicBlock if spec.arch in ("resnet18", "resnet34") else Bottleneck
    net = ResNet(block, [*blocks, *(1,) * (4 - len(blocks))], spec.num_classes)
    for dropped in range(len(blocks) + 1, 5):
        delattr(net, f"layer{dropped}")
    if net.fc.in_features != arch.features:
        net.fc = nn.Linear(arch.features, spec.num_classes)
    if spec.padding != "symmetric":
        net.maxpool = SameMaxPool()
    if spec.padding == "same":
        _pad_convolutions_same(net)
    names = [f"layer{i + 1}" for i in range(len(blocks))]
    *layers, last = (getattr(net, name) for name in names)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    stages = (stem, *layers, nn.Sequential(last, net.avgpool, nn.Flatten()))
    return net, tuple(zip(("stem", *names), stages, strict=True)), net.fc


def _pad_convolutions_same(net: nn.Module) -> None:
    for parent in list(net.modules()):
        for name, conv in parent.named_children():
            if isinstance(conv, nn.Conv2d):
                same = SameConv(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0])
                setattr(parent, name, same)


def _with_extra(built: Built, spec: ModelSpec) -> Built:
    """The network with hidden layers before its head, which is made anew: of another width, and again the last."""
    net, body, head = built
    hidden = Hidden([nn.Linear(*widths) for widths in pairwise((head.in_features, *spec.extra))])
    delattr(net, name := ARCHS[spec.arch].head)
    head = nn.Linear(spec.extra[-1], spec.num_classes)
    net.add_module(EXTRA, hidden)
    net.add_module(name, head)
    return net, (*body, (EXTRA, hidden)), head


class Hidden(nn.ModuleList):
    """Linear layers, each followed by ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = functional.relu(layer(x))
        return x


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

    # Stages are methods and no lambdas: whoever copies the network gets stages of the copy.
    def stage1(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(self.conv1(x)), 2)

    def stage2(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(self.conv2(x)), 2)

    def stage3(self, x: Tensor) -> Tensor:
        return functional.relu(self.fc1(x.flatten(1)))


def _convnet(spec: ModelSpec) -> Built:
    net = ConvNet(spec.num_classes, spec.image_size)
    return net, (("stem", net.stage1), ("layer1", net.stage2), ("layer2", net.stage3)), net.fc


def _efficientnet_lite0(spec: ModelSpec) -> Built:
    net = EfficientNetLite0(spec.num_classes)
    return net, net.stages(), net._fc
