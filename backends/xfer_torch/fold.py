"""Inference with every normalisation merged into the convolution before it.

At rest, `norm(conv(x))` is `conv'(x)` with `w' = w * s` and `b' = bias + (b - mean) * s`, where
`s = weight / sqrt(variance + eps)` for each output channel, and `b` is 0 where the convolution has no bias: one pass
over the activations in place of two.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from xfer_torch.graph import Pair, graph_pairs
from xfer_torch.nets import Network, assemble

# The convolution that stands before each normalisation, by their names within a block. A normalisation that is not
# here, or has no such convolution, is left as it is.
CONVOLUTIONS = {
    "bn1": ("conv1", "_depthwise_conv", "_conv_head"),
    "bn2": ("conv2",),
    "bn3": ("conv3",),
    "1": ("0",),  # of a ResNet's shortcut
    "_bn0": ("_conv_stem", "_expand_conv"),
    "_bn1": ("_depthwise_conv", "_conv_head"),
    "_bn2": ("_project_conv",),
}


class Folded:
    """A network in inference mode. It follows the weights of `net`: they are merged anew whenever they changed."""

    def __init__(self, net: Network) -> None:
        graph = net.spec.graph
        self.net, self.pairs = net, pairs(net.module) if graph is None else tuple(graph_pairs(graph))
        self.sources = [tensor for pair in self.pairs for tensor in _sources(net.module, pair)]
        self.versions: tuple[int, ...] | None = None
        self.twin = _twin(net, self.pairs)

    def forward(self, inputs: Tensor, start: str, stop: str) -> Tensor:
        """As `Network.forward`, without gradients; float32 whatever the precision."""
        # Both optimizers' updates and copies count up a tensor's version. Batch statistics are the exception, and
        # they come with `num_batches_tracked`, which does count.
        versions = tuple(tensor._version for tensor in self.sources)
        with torch.no_grad():
            if versions != self.versions:
                for pair in self.pairs:
                    _merge(self.net.module, self.twin.module, pair)
                self.versions = versions
            return self.twin.forward(inputs, start, stop).float()


def pairs(module: nn.Module) -> tuple[Pair, ...]:
    """Names of each convolution with the normalisation that follows it."""
    pairs = []
    for parent_name, parent in module.named_modules():
        children, prefix = dict(parent.named_children()), f"{parent_name}." if parent_name else ""
        for norm, before in CONVOLUTIONS.items():
            conv = next((name for name in before if isinstance(children.get(name), nn.Conv2d)), None)
            if conv is not None and isinstance(children.get(norm), nn.BatchNorm2d):
                pairs.append((prefix + conv, prefix + norm))
    return tuple(pairs)


def _twin(net: Network, pairs: tuple[Pair, ...]) -> Network:
    """The same network without its normalisations. It shares every tensor of `net` but those to be merged."""
    with torch.device("meta"):  # its own first weights would be made for nothing
        module, body, head = assemble(net.spec)
    twin = replace(net, module=module, body=body, head=head)
    own = net.module.state_dict(keep_vars=True)
    for name in twin.module.state_dict():
        _set(twin.module, name, own[name])
    norms = {twin.module.get_submodule(norm) for _, norm in pairs}
    # A stage may hold a module that the network's own tree holds too, under another parent.
    for root in (twin.module, *(stage for _, stage in twin.body if isinstance(stage, nn.Module))):
        for parent in list(root.modules()):
            for name, child in parent.named_children():
                if child in norms:
                    setattr(parent, name, nn.Identity())
    return twin


def _merge(module: nn.Module, twin: nn.Module, pair: Pair) -> None:
    weight, scale, shift, mean, variance, _, *bias = (tensor.double() for tensor in _sources(module, pair))
    norm = module.get_submodule(pair[1])
    assert isinstance(norm, nn.BatchNorm2d)
    factor = scale / torch.sqrt(variance + norm.eps)
    merged = (weight * factor.view(-1, 1, 1, 1)).float().contiguous(memory_format=torch.channels_last)
    _set(twin, f"{pair[0]}.weight", merged)
    _set(twin, f"{pair[0]}.bias", (shift + (sum(bias) - mean) * factor).float())


def _sources(module: nn.Module, pair: Pair) -> tuple[Tensor, ...]:
    """What a merged convolution is made of, and the counter that tells of new statistics."""
    conv, norm = (module.get_submodule(name).state_dict(keep_vars=True) for name in pair)
    slots = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return (conv["weight"], *(norm[slot] for slot in slots), *([conv["bias"]] if "bias" in conv else []))


def _set(module: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if leaf in owner._parameters and not isinstance(tensor, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=False)
    setattr(owner, leaf, tensor)
