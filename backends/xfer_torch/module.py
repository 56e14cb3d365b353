"""A network as any other module of torch: torchvision's own, where the network is torchvision's."""

from __future__ import annotations

from collections.abc import Iterator

import torchvision
from torch import Tensor, nn

from xfer.archs import LOGITS
from xfer.errors import BackendError, ConfigError
from xfer.graphs.parts import boundaries, part_of
from xfer.nets import catalogue
from xfer_torch.network import Network, Program, laid_out


def native(net: Network) -> nn.Module:
    """Normalised images in, logits out; in inference mode. The tensors are the network's."""
    module = _own_of_torchvision(net) or Native(net)
    return module.eval()


def _own_of_torchvision(net: Network) -> nn.Module | None:
    graph, name = net.spec.graph, net.spec.name
    if name not in torchvision.models.list_models(torchvision.models):
        return None
    try:
        same = graph == catalogue.graph_named(name, graph.size).with_classes(graph.classes)
    except ConfigError:
        same = False
    if not same:  # other blocks, hidden layers, another padding
        return None
    heads = {"aux_logits": False, "transform_input": False} if name in ("googlenet", "inception_v3") else {}
    more = {"init_weights": False} if heads else {}
    module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=graph.classes, **heads, **more)
    # It lacks the bias of a head that torchvision makes without one.
    return None if module.load_state_dict(_state(net, module), strict=False, assign=True).unexpected_keys else module


def _state(net: Network, module: nn.Module) -> dict[str, Tensor]:
    """The network's tensors as a state dict of the module: MNASNet's loads none that does not say its version."""
    state = module.state_dict()
    for name in [*state]:
        del state[name]
    state.update(net.tensors)
    return state


class Native(nn.Module):
    """A network as any other module, with its weights under their own names: normalised images in, logits out.

    In training mode its norm layers follow the batches.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        self._spec, self._part = net.spec, part_of(net.spec.graph, next(iter(boundaries(net.spec.graph))), LOGITS)
        for name, tensor in net.tensors.items():
            try:
                self._register(name, tensor)
            except KeyError as error:  # a name that every module of torch has already, as `train`
                cure = "another name for that layer, where the network is written"
                raise BackendError(
                    f"weight {name!r}: torch has no module with that name: {error.args[0]}. Cure: {cure}"
                ) from None

    def _register(self, name: str, tensor: Tensor) -> None:
        *path, leaf = name.split(".")
        owner: nn.Module = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(leaf, tensor)
        else:
            owner.register_buffer(leaf, tensor)

    def forward(self, images: Tensor) -> Tensor:
        tensors = dict(self._tensors())  # as they are now: whoever moves a module gives it others
        follows = frozenset(tensors) if self.training else frozenset[str]()
        return Program(self._spec, self._part, tensors, follows)(laid_out(images))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()
