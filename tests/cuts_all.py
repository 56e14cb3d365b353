"""Frozen is frozen, and kept features change nothing, at every cut of a network: `make cuts-all`.

    python -m tests.cuts_all [BACKEND ...] [--arch NAME ...] [--cut NAME ...]

For each boundary of each network, everything behind it is trained for a step, once from pictures and once from what
crosses the boundary, with dropout and stochastic depth where the network has them behind it. What lies before must keep
every bit, and the two must end with the same bits everywhere. It takes hours, so it is not part of the suite; a small
network of each kind is (`tests/test_cuts_all.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import click
import numpy as np

from xfer.archs import LOGITS, is_statistic
from xfer.backend import OptimizerSpec, ParamGroup, ParamGroups
from xfer.backends import load_backend, pick_device
from xfer.graphs.graph import Graph
from xfer.graphs.parts import boundaries, part_of
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec, with_graph
from xfer.testing.case import Case
from xfer.testing.kit import random_batch, random_weights, same
from xfer.training.masks import masks_of

FAMILIES = (
    "alexnet", "vgg11_bn", "squeezenet1_1", "densenet121", "googlenet", "inception_v3", "resnet18", "resnext50_32x4d",
    "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_y_400mf", "convnext_tiny", "vit_b_32", "swin_t", "maxvit_t", "efficientnet_lite0",
    "convnet",
)  # fmt: skip
SIZES = {"alexnet": 96, "inception_v3": 96, "vgg11_bn": 64, "vit_b_32": 224, "maxvit_t": 224}
SIZE, COUNT, RATE = 64, 3, 0.01
DROPOUT = 0.25  # of what enters the head
# MindSpore frees a step's memory when the process ends: the cuts of vgg11_bn in one came to 18 GB. And of a gradient
# that is computed twice, compiling is most: 80 s for one of efficientnet_b0.
ALONE = {"mindspore": {"XFER_MINDSPORE_MODE": "pynative"}}
"""Backends of which each cut has a process to itself, and what its environment holds."""


@dataclass(frozen=True)
class Verdict:
    """`drifted` of what was frozen, and `apart` of what the two ways came to: names of tensors."""

    cut: str
    drifted: tuple[str, ...]
    apart: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return not self.drifted and not self.apart


def groups_behind(graph: Graph, cut: str) -> ParamGroups:
    """Everything that is not used before the boundary is trained, and its statistics follow."""
    before = {
        name for node in part_of(graph, next(iter(boundaries(graph))), cut).nodes for name in node.weights.values()
    }
    moving = [name for name in graph.weights if name not in before]
    trained = tuple(name for name in moving if not is_statistic(name))
    return ParamGroups((ParamGroup(trained, 1.0, 0.1),), frozenset(before), frozenset(moving) - frozenset(trained))


def cuts_of(graph: Graph) -> list[str]:
    return [cut for cut in boundaries(graph) if cut != LOGITS]


def verdicts(backend_name: str, arch: str, size: int, cuts: Sequence[str] = ()) -> Iterator[Verdict]:
    """Of these cuts, or of all."""
    backend = load_backend(backend_name)
    net = build_net(backend, pick_device(backend, "auto"), _spec(arch, size))
    weights, pictures = random_weights(net.graph.weights, 0), random_batch(COUNT, 3, (size, size))
    first, *_ = boundaries(net.graph)
    for cut in cuts or cuts_of(net.graph):
        groups, ends = groups_behind(net.graph, cut), []
        masks = masks_of(net.graph, (size, size), cut, DROPOUT).draw(0, 0, np.arange(COUNT))
        for start in (first, cut):
            net.load(weights)
            inputs = pictures.inputs if start == first else net.predict_step(first, cut)(pictures.inputs)
            step = backend.make_train_step(net.model, OptimizerSpec(), "softmax", groups, start, cut)
            step([replace(Case(inputs, pictures.labels).batch(net.graph), masks=masks)], (RATE,))()
            ends.append(net.export())
        whole, kept = ends
        drifted = tuple(name for name in groups.frozen if not same(whole[name], weights[name]))
        yield Verdict(cut, drifted, tuple(name for name in whole if not same(whole[name], kept[name])))


def each_alone(backend_name: str, arch: str, size: int, cuts: Sequence[str]) -> Iterator[Verdict]:
    graph = with_graph(_spec(arch, size), load_backend(backend_name)).network.graph
    for cut in cuts or cuts_of(graph):
        with ProcessPoolExecutor(1, get_context("spawn"), _set_environment, (ALONE[backend_name],)) as process:
            yield process.submit(_verdict, backend_name, arch, size, cut).result()


def _set_environment(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def _spec(arch: str, size: int) -> ModelSpec:
    return ModelSpec(arch, 3, (size, size), (0.5,) * 3, (0.25,) * 3)


def _verdict(backend_name: str, arch: str, size: int, cut: str) -> Verdict:
    (verdict,) = verdicts(backend_name, arch, size, [cut])
    return verdict


@click.command()
@click.argument("backends", nargs=-1)
@click.option("--arch", "archs", multiple=True)
@click.option("--cut", "cuts", multiple=True)
def main(backends: Sequence[str], archs: Sequence[str], cuts: Sequence[str]) -> None:
    failed = 0
    for backend in backends or ("torch", "mindspore"):
        for arch in archs or FAMILIES:
            ways = each_alone if backend in ALONE else verdicts
            found = list(ways(backend, arch, SIZES.get(arch, SIZE), cuts))
            bad = [verdict for verdict in found if not verdict.passes]
            failed += bool(bad)
            said = "; ".join(f"{v.cut}: {len(v.drifted)} drifted, {len(v.apart)} apart" for v in bad[:3])
            print(f"{backend:10} {arch:22} {len(found):3} cuts  {'same bits' if not bad else said}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
