"""The MindSpore backend: `xfer.backend.Backend` for CPU, Ascend NPUs and, where the wheel has them, GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import get_args

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.device_context import ascend, gpu

from xfer.archs import LOGITS
from xfer.arrays import Float32, Weights
from xfer.backend import Diagnosis, InputSpec, Labelled, LossName, NetworkSpec, OptimizerSpec, ParamGroups, UpdateRule
from xfer.errors import BackendError, WeightsError, expected
from xfer.graphs.graph import Graph
from xfer.graphs.parts import boundaries, part_of
from xfer_mindspore.exports import EXPORTS
from xfer_mindspore.kinds import KINDS, NEVER_COMPILED, refuse_unknown
from xfer_mindspore.native import native_batches
from xfer_mindspore.network import Model, model_of, network_of
from xfer_mindspore.step import PredictStep, TrainStep

MODES = ("auto", "pynative", "graph")
TARGETS = {"npu": "Ascend", "cuda": "GPU", "cpu": "CPU"}
"""xfer's word for a kind of device -> MindSpore's."""
LONG = 10_000_000
"""The work of a step on the CPU, see `TrainStep`, from which its gradient is compiled.

16 pictures of 64 px in a network of 70 nodes are 14 million. On 2 cores a graph takes a step of 18 layers from 1.4 s
of the processors' time to 0.85 s, and one of MobileNetV2 from 1.0 s to 0.7 s; compiled it is for 3 s and 10 s, for each
size of batches. Small steps are over sooner. Of inference it is no use: of pictures of 224 px a graph takes half as
long again as PyNative.
"""

SMALL = 2**14
"""Numbers of a weight up to which launching operators takes longer than what they do."""


class MindSporeBackend:
    name = "mindspore"
    kinds = frozenset(KINDS)
    exports = EXPORTS
    update_rules = get_args(UpdateRule)

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
        # Of inference alone, which kept features are made by.
        return "graph" if self._least() == 0 else "pynative"

    def versions(self) -> dict[str, str]:
        return {"mindspore": ms.__version__, "numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return (*_numbered("npu", ascend), *_numbered("cuda", gpu), "cpu")

    def diagnose(self) -> tuple[Diagnosis, ...]:
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")
        fast = limit.startswith(("SSE", "AVX2")) or limit == "AVX"
        cure = "" if fast else "set ONEDNN_MAX_CPU_ISA=AVX2: with AVX-512, convolutions are about 70 times slower"
        return (Diagnosis(f"oneDNN: ONEDNN_MAX_CPU_ISA is {limit}; mode {self.numerics}", cure),)

    def build(self, spec: NetworkSpec, device: str) -> Model:
        if device not in self.devices():
            raise BackendError(expected("MindSpore device", device, self.devices()))
        if spec.precision != "float32":
            raise BackendError(expected("precision on backend 'mindspore'", spec.precision, ["float32"]))
        refuse_unknown(spec.graph)
        _bind(device, spec.fast)
        return model_of(spec)

    def export_weights(self, model: Model) -> Weights:
        return {name: parameter.asnumpy().copy() for name, parameter in model.parameters.items()}

    def import_weights(self, model: Model, weights: Mapping[str, Float32]) -> None:
        different = sorted(weights.keys() ^ model.parameters.keys())
        if different:
            raise WeightsError(f"{len(different)} names do not fit {model.spec.name}, first {different[0]!r}")
        for name, parameter in model.parameters.items():
            ops.assign(parameter, Tensor(weights[name]))  # in place: compiled graphs don't see set_data
        model.changed(weights)

    def blend(self, target: Model, source: Model, names: Sequence[str], share: float) -> None:
        part = min(share, 1 - share)
        for name in names:
            mine, theirs = target.parameters[name], source.parameters[name]
            near, far = (mine, theirs) if share <= 0.5 else (theirs, mine)
            # One operator in place of three, whose kernel is five times slower on the CPU: for many small weights.
            blended = ops.lerp(near, far, part) if mine.size < SMALL else near + (far - near) * part
            ops.assign(mine, blended)
        target.changed(names)

    def make_train_step(
        self, model: Model, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        return TrainStep(model, optimizer, loss, groups, start, cut, least=self._least(model.graph))

    def make_predict_step(self, model: Model, start: str, stop: str) -> PredictStep:
        return PredictStep(model, start, stop, self._least(model.graph) == 0)

    def native_model(self, model: Model) -> nn.Cell:
        graph = model.graph
        whole = part_of(graph, next(iter(boundaries(graph))), LOGITS)
        return network_of(model, whole, model.parameters, normalised=True)

    def native_batches(self, spec: InputSpec) -> Iterator[Labelled]:
        return native_batches(spec)

    def _least(self, graph: Graph | None = None) -> float:
        """Of work of a step that is compiled, see `TrainStep`, at most: a graph may have nodes that cannot be."""
        if self.mode == "pynative" or (graph and any(node.kind in NEVER_COMPILED for node in graph.nodes)):
            return math.inf
        # On an accelerator, where launching operators one by one costs more than running them, all is compiled.
        on_cpu = ms.get_current_device().device_target == "CPU"
        return LONG if self.mode == "auto" and on_cpu else 0


def _numbered(kind: str, context: ModuleType) -> tuple[str, ...]:
    count = context.device_count() if context.is_available() else 0
    return tuple(f"{kind}:{i}" for i in range(count))


def _bind(device: str, fast: bool) -> None:
    """Bind this process to a device: MindSpore takes one in each process, before its first computation.

    Not `fast`, kernels are those that give the same bits each time: also for the whole process, and for good.
    """
    kind, _, number = device.partition(":")
    if kind != "cpu" and not fast:
        with suppress(RuntimeError):  # it can be set once: by a network before this one, or by the program itself
            ms.set_deterministic(True)
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
