"""Compare the logits of torchvision's networks with those of their graphs: python -m tools.same_logits [NAME ...]

Weights and running statistics are random, pictures small where the network takes such. Fails above 1e-6 of the largest
logit. All of them take some ten minutes and 8 GB.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from tools.catalogue import WRITTEN_HERE, build
from xfer.archs import LOGITS, NO_WEIGHTS
from xfer.backend import NetworkSpec
from xfer.graphs import packaged
from xfer.graphs.graph import Graph
from xfer.graphs.parts import boundaries, part_of
from xfer.nets.catalogue import graph_named
from xfer_torch.network import Program

MOST = 1e-6
_SMALLEST = {"inception_v3": 107}


def randomize(module: nn.Module) -> None:
    """Move what begins as 0 or 1 away from it, so that nothing is hidden by it."""
    for name, tensor in module.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.min() == tensor.max():
            tensor.uniform_(0.2, 1) if tensor.max() == 1 else tensor.normal_(0, 0.1)


def difference(module: nn.Module, graph: Graph, pictures: Tensor) -> float:
    """The largest of the logits' differences, relative to the largest logit."""
    weights = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(NO_WEIGHTS)}
    if {*weights} != {*graph.weights}:
        raise ValueError("the graph has other weights than the module")
    whole = part_of(graph, next(iter(boundaries(graph))), LOGITS)
    program = Program(NetworkSpec(graph, (0.0,) * 3, (1.0,) * 3), whole, weights)
    with torch.inference_mode():
        x, expected = program(pictures), module(pictures)
    return float((x - expected).abs().max() / expected.abs().max())


def pictures_for(name: str, graph: Graph) -> Tensor:
    height, width = graph.size if graph.fixed else (_SMALLEST.get(name, 64), 96)
    return torch.randn(2, 3, height, width)


def main(names: tuple[str, ...]) -> int:
    torch.manual_seed(0)
    failed = []
    for name in names:
        module, graph = build(name), graph_named(name)
        randomize(module)
        found = difference(module.eval(), graph, pictures_for(name, graph))
        if not found <= MOST:
            failed.append(name)
        print(f"{name:20s} {found:.1e}", flush=True)
    print(f"{len(names) - len(failed)} of {len(names)} within {MOST}", *failed)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main(tuple(sys.argv[1:]) or (*packaged.names(), *WRITTEN_HERE)))
