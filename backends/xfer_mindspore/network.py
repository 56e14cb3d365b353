"""A network from one boundary to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from xfer.archs import EXTRA, LOGITS, Arch
from xfer.backend import ModelSpec
from xfer.graphs.stages import HEAD, stages_of
from xfer.nets.catalogue import ARCHS
from xfer_mindspore import convnet, efficientnet, resnet
from xfer_mindspore.layers import Dense, Layer, Scope, Sequential
from xfer_mindspore.nodes import Nodes


@dataclass(frozen=True)
class Model:
    """A specification and the parameters by canonical name; networks over them are made as they are needed.

    `versions` counts the changes of each parameter: whatever was computed from it is out of date after the next one.
    """

    spec: ModelSpec
    parameters: dict[str, Parameter]
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def arch(self) -> Arch:
        """The network as the core sees it, with the changes that the specification asks for."""
        return self.spec.adapted(ARCHS)

    def changed(self, names: Iterable[str]) -> None:
        """To be called by whoever changed the values of these parameters."""
        self.versions.update(iter(names))  # of a mapping, Counter would add the values


class Normalise(Layer):
    """uint8 images (N, H, W, 3) -> float32 (N, 3, H, W), as (x / 255 - mean) / std."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        mean, std = np.array(spec.mean), np.array(spec.std)
        self.unit = Tensor(np.ones(3, np.float32))
        self.zero = Tensor(np.zeros(3, np.float32))
        self.mean = Tensor((255 * mean).astype(np.float32))
        self.variance = Tensor(((255 * std) ** 2).astype(np.float32))
        # The same formula as a normalisation layer's: one fast pass, where arithmetic that broadcasts takes three
        # slow ones on the CPU. The epsilon vanishes beside a variance of a few thousand.
        self.normalise = ops.BatchNorm(is_training=False, epsilon=1e-12)

    def construct(self, images: Tensor) -> Tensor:
        x = images.astype(mstype.float32).transpose(0, 3, 1, 2)
        return self.normalise(x, self.unit, self.zero, self.mean, self.variance)[0]


def _stage(scope: Scope, spec: ModelSpec, name: str) -> nn.Cell:
    if name == EXTRA:
        return _hidden(scope, spec)
    if spec.arch == "convnet":
        return convnet.stage(scope, spec.image_size, name)
    if spec.arch == "efficientnet_lite0":
        return efficientnet.stage(scope, name)
    return resnet.stage(scope, spec.arch, spec.adapted(ARCHS).layers or (), spec.padding, name)


def _hidden(scope: Scope, spec: ModelSpec) -> Sequential:
    pooled = replace(spec, extra=()).adapted(ARCHS).features
    layers = [Dense.named(scope, f"{EXTRA}.{i}", *widths) for i, widths in enumerate(pairwise((pooled, *spec.extra)))]
    return Sequential(*(cell for layer in layers for cell in (layer, nn.ReLU())))


class Network(Layer):
    """The stages from `start` up to, and without, `stop`. Where both are the same it hands its inputs on.

    normalised   images come as float32 (N, 3, H, W), normalised already, and not as uint8 (N, H, W, 3)
    """

    def __init__(
        self, scope: Scope, spec: ModelSpec, start: str, stop: str = LOGITS, *, normalised: bool = False
    ) -> None:
        super().__init__()
        boundaries = (*spec.adapted(ARCHS).stage_names, LOGITS)
        stages = boundaries[boundaries.index(start) : boundaries.index(stop)]
        body, head = (_written if spec.graph is None else _of_graph)(scope, spec, stages)
        if boundaries[0] in stages and not normalised:
            body.insert(0, Normalise(spec))
        self.body, self.head = nn.CellList(body, auto_prefix=False), head

    def construct(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        for stage in self.body:
            x = stage(x)
        if keep is not None:
            x = x * (keep if x.ndim == 2 else keep.expand_dims(2).expand_dims(3))
        return x if self.head is None else self.head(x)


Parts = tuple[list[nn.Cell], nn.Cell | None]
"""What lies before the head, and the head, if it is among the stages."""


def _written(scope: Scope, spec: ModelSpec, stages: Sequence[str]) -> Parts:
    arch = spec.adapted(ARCHS)
    body = [_stage(scope, spec, name) for name in stages if name != HEAD]
    return body, Dense.named(scope, arch.head, arch.features, spec.num_classes) if HEAD in stages else None


def _of_graph(scope: Scope, spec: ModelSpec, stages: Sequence[str]) -> Parts:
    graph = spec.graph
    assert graph is not None
    source, cells = graph.nodes[0].name, dict[str, nn.Cell]()
    for stage in stages_of(graph):
        if stage.name in stages:
            cells[stage.name] = Nodes(scope, graph, source, stage.nodes)
        source = stage.nodes[-1].name
    head = cells.pop(HEAD, None)
    return [*cells.values()], head
