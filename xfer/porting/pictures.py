"""The gradient of the pictures, which no backend gives: that of a weight that is added to them."""

from __future__ import annotations

from dataclasses import replace

from xfer.graphs.graph import Graph, Node
from xfer.nets.net import Net, build_net
from xfer.porting.task import PICTURES

KINDS = frozenset({"table", "add"})
_SUM = f"{PICTURES}.sum"


def with_table(graph: Graph, size: tuple[int, int]) -> Graph:
    """The same network, with a weight `PICTURES` (1, C, H, W) that is added to every normalised picture.

    Where the weight is 0 it gives what it gave, and the weight's gradient is that of the pictures, summed over them.
    """
    image, *nodes = graph.nodes
    table = Node(PICTURES, "table", weights={"value": PICTURES})
    total = Node(_SUM, "add", (image.name, PICTURES))
    behind = (replace(n, inputs=tuple(_SUM if name == image.name else name for name in n.inputs)) for n in nodes)
    stages = {stage: _SUM if i == 0 else begins for i, (stage, begins) in enumerate(graph.stages.items())}
    weights = {PICTURES: (1, graph.channels, *size), **graph.weights}
    return replace(graph, nodes=(image, table, total, *behind), weights=weights, size=size, stages=stages)


def with_gradient(net: Net) -> Net:
    """A second network that gives the gradient of the pictures too; the same one where its backend cannot."""
    taken = {node.name for node in net.graph.nodes} | net.shapes.keys()
    if not net.backend.kinds >= KINDS or taken & {PICTURES, _SUM}:
        return net
    spec = replace(net.spec, arch="", graph=with_table(net.graph, net.spec.image_size))
    return build_net(net.backend, net.device, spec)
