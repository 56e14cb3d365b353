"""The seam, for torch."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, get_args

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from xfer.arrays import Float32, Weights
from xfer.backend import (
    Diagnosis,
    InputSpec,
    Labelled,
    LossName,
    NetworkSpec,
    OptimizerSpec,
    ParamGroups,
    Precision,
    PredictStep,
    UpdateRule,
)
from xfer.capabilities import Export, LibraryModule, Traced
from xfer_torch.kinds import KINDS
from xfer_torch.module import native
from xfer_torch.network import Network, Resting, build
from xfer_torch.own import OwnModule
from xfer_torch.settings import precisions
from xfer_torch.step import TrainStep, to_numpy
from xfer_torch.transfer import fetched


class TorchBackend:
    name = "torch"
    kinds = KINDS
    update_rules = get_args(UpdateRule)

    @property
    def exports(self) -> Mapping[str, Export]:
        from xfer_torch.exports import EXPORTS  # torch.export takes a while to import

        return EXPORTS

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return (*_named("cuda", torch.cuda), *_named("npu", _npu()), "cpu")

    def precisions(self, device: str) -> tuple[Precision, ...]:
        return precisions(device)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
        text = f"oneDNN: ONEDNN_MAX_CPU_ISA is {limit or 'not set'}; {torch.get_num_threads()} threads"
        return (Diagnosis(text, "unset ONEDNN_MAX_CPU_ISA: it can halve torch's speed" if limit else ""),)

    def tune_process(self, device: str) -> None:
        if device == "cpu":
            _keep_freed_memory()

    def build(self, spec: NetworkSpec, device: str) -> Network:
        return build(spec, device)

    def export_weights(self, model: Network) -> Weights:
        return {name: to_numpy(tensor) for name, tensor in model.tensors.items()}

    def import_weights(self, model: Network, weights: Mapping[str, Float32]) -> None:
        with torch.no_grad():
            for name, tensor in model.tensors.items():
                tensor.copy_(torch.tensor(weights[name]))
        model.changed(weights)

    def blend(self, target: Network, source: Network, names: Sequence[str], share: float) -> None:
        mine, theirs = ([model.tensors[name] for name in names] for model in (target, source))
        with torch.no_grad():
            torch._foreach_lerp_(mine, theirs, share)
        target.changed(names)

    def make_train_step(
        self, model: Network, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        return TrainStep(model, optimizer, loss, groups, start, cut)

    def make_predict_step(self, model: Network, start: str, stop: str) -> PredictStep:
        resting = Resting(model, start, stop)

        def predict(inputs: NDArray[Any]) -> Float32:
            (output,) = fetched([resting(model.put(torch.from_numpy(inputs)))])()
            return to_numpy(output)

        return predict

    def native_model(self, model: Network) -> nn.Module:
        return native(model)

    def own_module(self, value: Any) -> OwnModule | None:
        return OwnModule(value) if isinstance(value, nn.Module) else None

    def trace(self, module: nn.Module, size: tuple[int, int]) -> Traced:
        from xfer_torch.trace import traced  # torch.fx takes a while to import

        return traced(module, size)

    def library_module(self, name: str, pretrained: bool) -> LibraryModule:
        from xfer_torch.timm_models import library_module

        return library_module(name, pretrained)

    def native_batches(self, spec: InputSpec) -> Iterator[Labelled]:
        from xfer_torch.native import native_batches  # torchvision.transforms.v2 takes a while to import

        return native_batches(spec)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of activations, which it otherwise gives back and takes anew at each layer.

    Every page taken anew is cleared by the kernel at its first touch: a tenth of the time of a training step. An
    environment that sets malloc's own variables has decided for itself.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD")):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, -1)


def _npu() -> Any:
    """torch.npu, which importing Huawei's torch_npu adds to torch; None where it is not installed."""
    try:
        import_module("torch_npu")
    except ImportError:
        return None
    return getattr(torch, "npu", None)


def _named(kind: str, api: Any) -> tuple[str, ...]:
    if api is None or not api.is_available():
        return ()
    return tuple(f"{kind}:{i}" for i in range(api.device_count()))
