"""Breakages of kinds: nodes that mean something else, and steps that are right elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi, sqrt

from xfer.archs import EXTRA
from xfer.backend import Batch, NetworkSpec
from xfer.graphs.graph import Node
from xfer.testing.broken import steps
from xfer.testing.broken.mechanics import Breakage, Maker, Step, arguments, calls
from xfer.testing.broken.models import building
from xfer.testing.laws.graphs import (
    a_head_may_take_maps,
    gradients_of_kinds_are_right,
    kinds_mean_what_they_say,
    masks_multiply_what_enters_their_nodes,
)


def rewritten(change: Callable[[Node], tuple[Node, ...]]) -> Maker:
    """Put others in place of each node of a network, the last one of its name."""

    def changed(spec: NetworkSpec) -> NetworkSpec:
        nodes = tuple(new for node in spec.graph.nodes for new in change(node))
        return replace(spec, graph=replace(spec.graph, nodes=nodes))

    return building(changed)


def nodes(change: Callable[[Node], Node]) -> Maker:
    """Change what each node of a network is."""
    return rewritten(lambda node: (change(node),))


def attributes(kind: str, **values: object) -> Maker:
    """Nodes of a kind have these attributes, whatever the network says; of those that it does not name, none."""

    def change(node: Node) -> Node:
        if node.kind != kind:
            return node
        return replace(
            node, attributes={**node.attributes, **{n: v for n, v in values.items() if n in node.attributes}}
        )

    return nodes(change)


def in_place_of(kind: str, other: str) -> Maker:
    """Nodes of a kind are of another, one that has no attributes."""
    return nodes(lambda node: replace(node, kind=other, attributes={}) if node.kind == kind else node)


def gelu_by_tanh(node: Node) -> tuple[Node, ...]:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), as Hendrycks & Gimpel 2016 approximate it."""
    if node.kind != "gelu":
        return (node,)
    x, name = node.inputs[0], node.name
    return (
        Node(f"{name}.square", "mul", (x, x)),
        Node(f"{name}.part", "mul", (f"{name}.square",), {"value": 0.044715}),
        Node(f"{name}.factor", "add", (f"{name}.part",), {"value": 1.0}),
        Node(f"{name}.sum", "mul", (x, f"{name}.factor")),
        Node(f"{name}.scaled", "mul", (f"{name}.sum",), {"value": sqrt(2 / pi)}),
        Node(f"{name}.tanh", "tanh", (f"{name}.scaled",)),
        Node(f"{name}.up", "add", (f"{name}.tanh",), {"value": 1.0}),
        Node(f"{name}.half", "mul", (x,), {"value": 0.5}),
        Node(name, "mul", (f"{name}.half", f"{name}.up")),
    )


def drops_other_channels(step: Step, batch: Batch) -> Batch:
    return replace(batch, masks={node: mask[:, ::-1].copy() for node, mask in batch.masks.items()})


def masks_of_the_head_alone(step: Step, batch: Batch) -> Batch:
    return replace(batch, masks={node: mask for node, mask in batch.masks.items() if node == step.graph.head})


def linear_where_hidden(node: Node) -> Node:
    if node.kind != "relu" or not node.name.startswith(f"{EXTRA}."):
        return node
    return replace(node, kind="dropout", attributes={"p": 0.0})


def symmetric(node: Node) -> Node:
    """Half of the kernel on every side, where SAME is asked for."""
    if node.attributes.get("padding") != "same":
        return node
    return replace(node, attributes={**node.attributes, "padding": [1, 1] if "kernel" in node.attributes else [1] * 4})


BREAKAGES = (
    Breakage("average pooling counts padding", attributes("avg_pool", count_pad=True), (kinds_mean_what_they_say,)),
    Breakage("windows are not shifted", attributes("window_attention", shift=[0, 0]), (kinds_mean_what_they_say,)),
    Breakage("GELU is by tanh", rewritten(gelu_by_tanh), (kinds_mean_what_they_say,)),
    Breakage("other channels are dropped", calls(batch=drops_other_channels), (a_head_may_take_maps,)),
    Breakage(
        "nothing is dropped but before the head",
        calls(batch=masks_of_the_head_alone),
        (masks_multiply_what_enters_their_nodes,),
    ),
    Breakage(
        "norm layers of a graph never follow the batches",
        arguments(groups=steps.statistics_never_follow),
        (gradients_of_kinds_are_right,),
    ),
)
