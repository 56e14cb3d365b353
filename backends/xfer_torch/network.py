"""Parts of a network as functions over its tensors: as they are trained, and at rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from xfer.archs import is_statistic
from xfer.backend import NetworkSpec, Precision
from xfer.errors import BackendError, expected
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import Merge, Part, at_rest, part_of
from xfer_torch.kinds import FUNCTIONS, IDLE, OVERWRITABLE, OVERWRITING
from xfer_torch.merging import merged
from xfer_torch.settings import before_cublas, on_gpu, precisions
from xfer_torch.transfer import Send, sender

Tensors = Mapping[str, Tensor]
ROUGH: Mapping[Precision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Network:
    """A specification and the tensors by canonical name, which stay the same ones: their values change.

    `versions` counts the changes of each: whatever was computed from it is out of date after the next one.
    """

    spec: NetworkSpec
    tensors: dict[str, Tensor]
    device: torch.device
    scale: Tensor  # (1, C, 1, 1): a normalised image is image * scale + shift
    shift: Tensor
    versions: Counter[str] = field(default_factory=Counter)

    def changed(self, names: Iterable[str]) -> None:
        """To be called by whoever changed the values of these tensors."""
        self.versions.update(iter(names))  # of a mapping, Counter would add the values

    def entering(self, inputs: Tensor, part: Part) -> Tensor:
        """What comes to a boundary as the part behind it takes it: pictures normalised, maps channels_last."""
        if part.source != self.spec.graph.nodes[0].name:
            return laid_out(inputs)
        # An NHWC array seen as NCHW is already laid out channels_last, which oneDNN and cuDNN like best.
        return torch.addcmul(self.shift, inputs.permute(0, 3, 1, 2).float(), self.scale)

    def computing(self, training: bool = False) -> AbstractContextManager[None]:
        """While it does; `training`: forwards and backwards. On a GPU, see `xfer_torch.settings.on_gpu`."""
        return on_gpu(self.spec, training) if self.device.type == "cuda" else nullcontext()

    @cached_property
    def put(self) -> Send:
        """Brings what the host has to the device."""
        return sender(self.device)


def build(spec: NetworkSpec, device: str) -> Network:
    """A network on `device`, with weights of no value."""
    target = torch.device(device)
    if spec.precision not in precisions(device):
        raise BackendError(expected(f"precision on {device} of backend 'torch'", spec.precision, precisions(device)))
    if target.type == "cuda":
        before_cublas()
    tensors = {}
    for name, shape in spec.graph.weights.items():
        # In the strides that torch calls channels_last, of 1x1 kernels too: others take a gradient's copy at each step.
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        tensor = torch.zeros(shape, device=target).to(memory_format=layout)
        tensors[name] = tensor if is_statistic(name) else nn.Parameter(tensor)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    scale, shift = (t.to(target, torch.float32) for t in (1 / (255 * std), -mean / std))
    return Network(spec, tensors, target, scale, shift)


def laid_out(x: Tensor) -> Tensor:
    """As what crosses a boundary lies in memory, kept or computed just now: kernels go by that, and so do last bits."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


@dataclass(frozen=True)
class Step:
    """A node, ready to be computed. `spent`: names of results that none of the later steps takes."""

    name: str
    run: Callable[..., Tensor]
    inputs: tuple[str, ...]
    spent: tuple[str, ...]


class Program:
    """A part, ready to be run on tensors.

    follows   names of running means: their layers normalise with the batch, and move the running statistics
    masked    whether what may be dropped can be given masks
    """

    def __init__(
        self,
        spec: NetworkSpec,
        part: Part,
        tensors: Tensors,
        follows: frozenset[str] = frozenset(),
        masked: bool = False,
    ) -> None:
        self.part, self.rough = part, ROUGH.get(spec.precision)
        steps, self.result = _steps(part, tensors, follows, masked)
        before = _before_head(spec.graph)
        count = sum(step.name in before for step in steps)
        self.body, self.head = steps[:count], steps[count:]

    def __call__(self, x: Tensor, masks: Tensors | None = None) -> Tensor:
        """From the value of the part's source to that of its result, float32 at both whatever the precision between."""
        values, masks = {self.part.source: x}, masks or {}
        if self.body:
            # The head stays in float32: it costs nothing, and bfloat16 would leave 8 bits of the logits.
            with torch.autocast(x.device.type, self.rough or torch.bfloat16, enabled=self.rough is not None):
                _run(self.body, values, masks)
        if self.rough and self.head:
            values = {name: value.float() for name, value in values.items()}
        _run(self.head, values, masks)
        return values[self.result].float()


def _run(steps: Sequence[Step], values: dict[str, Tensor], masks: Tensors) -> None:
    for step in steps:
        taken = [values[name] for name in step.inputs]
        if step.name in masks:
            taken[0] = taken[0] * masks[step.name].to(taken[0].dtype)
        values[step.name] = step.run(*taken)
        for name in step.spent:
            del values[name]


def _before_head(graph: Graph) -> frozenset[str]:
    last = graph.places[graph[graph.head].inputs[0]]
    return frozenset(node.name for node in graph.nodes[: last + 1])


def _steps(part: Part, tensors: Tensors, follows: frozenset[str], masked: bool) -> tuple[list[Step], str]:
    """One for each node that does something, and the name of the last one's result."""
    working, stop = _without_idle(part, masked)
    reads = Counter([name for node in working for name in node.inputs] + [stop])
    free = {node.name for node in working if node.kind in OVERWRITABLE and reads[node.name] == 1} - {stop}
    last = {name: index for index, node in enumerate(working) for name in (node.name, *node.inputs)} | {stop: -1}
    steps = []
    for index, node in enumerate(working):
        spent = tuple(name for name in dict.fromkeys((node.name, *node.inputs)) if last[name] == index)
        weights = {slot: tensors[name] for slot, name in node.weights.items()}
        more = {"training": True} if node.weights.get("running_mean") in follows else {}
        run, inputs = partial(FUNCTIONS[node.kind], **weights, **node.attributes, **more), node.inputs
        if node.kind in OVERWRITING and free.intersection(inputs):
            run = partial(run, inplace=True)
            inputs = tuple(sorted(inputs, key=lambda name: name not in free))  # a sum is the same either way round
        steps.append(Step(node.name, run, inputs, spent))
    return steps, stop


def _without_idle(part: Part, masked: bool) -> tuple[list[Node], str]:
    """The nodes that do something, and the name of the last one's result."""
    working: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in part.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if node.kind in IDLE and not (masked and node.attributes["p"]):
            renamed[node.name] = inputs[0]
        else:
            working[node.name] = replace(node, inputs=inputs)
    return list(working.values()), renamed.get(part.result, part.result)


class Resting:
    """Inference from one boundary to another, with normalisations merged. It follows the weights from call to call."""

    def __init__(self, net: Network, start: str, stop: str) -> None:
        part, self.merges = at_rest(net.spec.graph, part_of(net.spec.graph, start, stop))
        self.net, self.made = net, dict[str, Tensor]()
        for merge in self.merges:
            weight = net.tensors[merge.sources[0]]
            self.made[merge.weight] = torch.zeros_like(weight, requires_grad=False)
            self.made[merge.bias] = torch.zeros(len(weight), device=net.device)
        self.program = Program(net.spec, part, {**net.tensors, **self.made})
        self.versions: dict[str, tuple[int, ...]] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        with torch.no_grad(), self.net.computing():
            for merge in self.merges:
                self._follow(merge)
            return self.program(self.net.entering(inputs, self.program.part))

    def _follow(self, merge: Merge) -> None:
        versions = tuple(self.net.versions[name] for name in merge.sources)
        if self.versions.get(merge.weight) == versions:
            return
        values = merged(merge, self.net.tensors) if self.net.device.type == "cuda" else self._on_host(merge)
        for name, value in zip((merge.weight, merge.bias), values, strict=True):
            self.made[name].copy_(value)
        self.versions[merge.weight] = versions

    def _on_host(self, merge: Merge) -> tuple[Tensor, Tensor]:
        weight, bias = merge.values({name: self.net.tensors[name].detach().cpu().numpy() for name in merge.sources})
        return torch.from_numpy(weight), torch.from_numpy(bias)
