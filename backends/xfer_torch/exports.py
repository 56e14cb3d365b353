"""A network in torch's own files: TorchScript, and what torch.export makes. Both are for the CPU, and for any batch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xfer.arrays import Float32
from xfer.capabilities import Export
from xfer_torch.module import native
from xfer_torch.network import Network
from xfer_torch.step import to_numpy

PICTURES = 2
"""In the example that a program is recorded with: of a single one, torch.export takes the batch for a constant."""


def torchscript(model: Network, path: Path, size: tuple[int, int]) -> Callable[[Float32], Float32]:
    with _quiet(), torch.no_grad():
        jit: Any = torch.jit
        jit.save(jit.trace(_on_cpu(model), _example(model, size), check_trace=False), str(path))
        return _function_of(jit.load(str(path), map_location="cpu"))


def torch_export(model: Network, path: Path, size: tuple[int, int]) -> Callable[[Float32], Float32]:
    with _quiet(), torch.no_grad():
        batch = torch.export.Dim("batch")
        whole = torch.export.export(_on_cpu(model), (_example(model, size),), dynamic_shapes=({0: batch},))
        torch.export.save(whole, path)
        return _function_of(torch.export.load(path).module())


def _on_cpu(model: Network) -> nn.Module:
    return copy.deepcopy(native(model)).to("cpu").eval()


def _example(model: Network, size: tuple[int, int]) -> Tensor:
    return torch.zeros(PICTURES, model.spec.graph.channels, *size)


def _function_of(module: Callable[[Tensor], Tensor]) -> Callable[[Float32], Float32]:
    def predict(images: Float32) -> Float32:
        with torch.no_grad():
            return to_numpy(module(torch.from_numpy(images)))

    return predict


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns of TorchScript's age and of its own insides, five times a file. What counts is checked afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


EXPORTS: Mapping[str, Export] = {"torchscript": torchscript, "torch-export": torch_export}
