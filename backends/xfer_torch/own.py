"""A classifier that somebody wrote in torch, as the core sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from xfer.archs import NO_WEIGHTS
from xfer.arrays import Float32, Weights
from xfer_torch.step import to_numpy


class OwnModule:
    def __init__(self, module: nn.Module) -> None:
        self.module = module.float().eval()

    def export_weights(self) -> Weights:
        return {name: to_numpy(tensor) for name, tensor in self._tensors()}

    def import_weights(self, weights: Mapping[str, Float32]) -> None:
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(torch.tensor(weights[name]))

    def predict(self, images: Float32) -> Float32:
        device = next((tensor.device for _, tensor in self._tensors()), None)
        with torch.no_grad():
            return to_numpy(self.module(torch.tensor(images, device=device)))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.module.state_dict().items():
            if isinstance(value, Tensor) and not name.endswith(NO_WEIGHTS):
                yield name, value
