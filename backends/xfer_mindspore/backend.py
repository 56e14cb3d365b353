"""The MindSpore backend: `xfer.backend.Backend` for CPU, Ascend NPUs and, where the wheel has them, GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import ModuleType

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.device_context import ascend, gpu

from xfer.archs import Arch
from xfer.arrays import Float32, Weights
from xfer.backend import Batch, Diagnosis, InputSpec, LossSpec, ModelSpec, OptimizerSpec, ParamGroups
from xfer.errors import BackendError, WeightsError, expected
from xfer.nets.catalogue import ARCHS
from xfer_mindspore.kinds import KINDS, refuse_unknown
from xfer_mindspore.layers import Scope
from xfer_mindspore.native import native_batches
from xfer_mindspore.network import Model, Network
from xfer_mindspore.step import PredictStep, TrainStep

MODES = ("auto", "pynative", "graph")
TARGETS = {"npu": "Ascend", "cuda": "GPU", "cpu": "CPU"}
"""xfer's word for a kind of device -> MindSpore's."""


class MindSporeBackend:
    name = "mindspore"
    archs: Mapping[str, Arch] = ARCHS
    kinds = frozenset(KINDS)

    def __init__(self, mode: str = "auto") -> None:
        """`mode` is "pynative" (each operator at once), "graph" (`ms.jit`) or "auto", the faster one of the two.

        The environment's XFER_MINDSPORE_MODE takes the place of "auto". Raises BackendError for another word.
        """
        if mode == "auto":
            mode = os.environ.get("XFER_MINDSPORE_MODE", mode)
        if mode not in MODES:
            raise BackendError(expected("MindSpore mode", mode, MODES))
        self.mode = mode

    @property
    def numerics(self) -> str:
        # That of the networks written here. A network that is data has the same bits in both modes: see `_graph`.
        return "graph" if self._graph() else "pynative"

    def versions(self) -> dict[str, str]:
        return {"mindspore": ms.__version__, "numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return (*_numbered("npu", ascend), *_numbered("cuda", gpu), "cpu")

    def diagnose(self) -> tuple[Diagnosis, ...]:
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")
        fast = limit.startswith(("SSE", "AVX2")) or limit == "AVX"
        cure = "" if fast else "set ONEDNN_MAX_CPU_ISA=AVX2: with AVX-512, convolutions are about 70 times slower"
        return (Diagnosis(f"oneDNN: ONEDNN_MAX_CPU_ISA is {limit}; mode {self.numerics}", cure),)

    def build(self, spec: ModelSpec, device: str) -> Model:
        if device not in self.devices():
            raise BackendError(expected("MindSpore device", device, self.devices()))
        if spec.precision != "float32":
            raise BackendError(expected("precision on backend 'mindspore'", spec.precision, ["float32"]))
        _bind(device)
        scope = Scope()
        if spec.graph is not None:
            refuse_unknown(spec.graph)
            for name, shape in spec.graph.weights.items():  # in the graph's order
                scope.parameter(name, *shape)
        Network(scope, spec, spec.adapted(ARCHS).stage_names[0])
        return Model(spec, scope.parameters)

    def export_weights(self, model: Model) -> Weights:
        return {name: parameter.asnumpy().copy() for name, parameter in model.parameters.items()}

    def import_weights(self, model: Model, weights: Mapping[str, Float32]) -> None:
        different = sorted(weights.keys() ^ model.parameters.keys())
        if different:
            raise WeightsError(f"{len(different)} names do not fit {model.spec.arch}, first {different[0]!r}")
        for name, parameter in model.parameters.items():
            ops.assign(parameter, Tensor(weights[name]))  # in place: compiled graphs don't see set_data
        model.changed(weights)

    def make_train_step(
        self, model: Model, optimizer: OptimizerSpec, loss: LossSpec, groups: ParamGroups, start: str
    ) -> TrainStep:
        return TrainStep(model, optimizer, loss, groups, start, self._graph(model.spec))

    def make_predict_step(self, model: Model, start: str, stop: str) -> PredictStep:
        return PredictStep(model, start, stop, self._graph(model.spec))

    def native_model(self, model: Model) -> Network:
        return Network(Scope(model.parameters), model.spec, model.arch.stage_names[0], normalised=True)

    def native_batches(self, spec: InputSpec) -> Iterator[Batch]:
        return native_batches(spec)

    def _graph(self, spec: ModelSpec | None = None) -> bool:
        """Whether what is written here, or the network of that specification, is compiled."""
        # A network that is data is a loop over its nodes, which graph mode does not compile: whatever the mode and the
        # device, its operators run one by one.
        if spec is not None and spec.graph is not None:
            return False
        # On a CPU of 2 cores, ResNet-18 in batches of 16, milliseconds a step in pynative / graph mode: inference at
        # 224 px 680 / 760, training everything at 64 px 345 / 570, the head on cached features 2 / 1; and in graph mode
        # every step is compiled first, for 0.5 to 3 s. On an accelerator, where launching
        # operators one by one costs more than running them, whole graphs are the faster way.
        if self.mode == "auto":
            return ms.get_current_device().device_target != "CPU"
        return self.mode == "graph"


def _numbered(kind: str, context: ModuleType) -> tuple[str, ...]:
    count = context.device_count() if context.is_available() else 0
    return tuple(f"{kind}:{i}" for i in range(count))


def _bind(device: str) -> None:
    """Bind this process to a device: MindSpore takes one in each process, before its first computation."""
    kind, _, number = device.partition(":")
    wanted = (TARGETS[kind], int(number or 0))
    if ms.get_current_device() != wanted:
        try:
            ms.set_device(*wanted)
        except RuntimeError as error:
            bound = ":".join(str(part) for part in ms.get_current_device())
            raise BackendError(
                f"device {device}: this process already computes on MindSpore's {bound}, and one process has one "
                "device. Cure: use the other device in another process"
            ) from error
    if kind == "cpu":
        # PyNative's launching threads wait by spinning, and take the cores from the kernels they wait for. Without them
        # a training step takes a third less time on 2 idle cores, one of the head alone a quarter of it, and on busy
        # cores far less. Nothing is lost: on the CPU there is no device to run ahead of.
        ms.runtime.launch_blocking()
