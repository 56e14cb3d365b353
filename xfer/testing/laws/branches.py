"""Tiny networks that show what a kind of node means: branches side by side, and two classes that see each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np

from xfer.arrays import Float32
from xfer.graphs.graph import Graph, Node
from xfer.graphs.shapes import shapes_of

SIZE = (7, 6)  # (height, width): one odd, one even, so that strides and SAME padding come out differently
CHANNELS = 4
CLASSES_EACH = 2
HEAD = "head"
IMAGE = Node("image", "image")
PLAIN: Mapping[str, Any] = {"stride": [1, 1], "padding": [0, 0, 0, 0], "dilation": [1, 1], "groups": 1}
"""Of a convolution."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Branch:
    """What is made of `x`, maps (N, CHANNELS, *SIZE) that a convolution of its own makes of the picture.

    kind    the one that it shows
    nodes   the last one's value goes to the head, flattened. Names are the branch's own
    shapes  slot -> shape of the weights of the one node that has some
    """

    kind: str
    nodes: tuple[Node, ...]
    shapes: Shapes = field(default_factory=dict)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({"image", "conv", "flatten", "cat", "linear"}.union(node.kind for node in self.nodes))

    @property
    def what(self) -> str:
        return f"{self.kind} {dict(next(node for node in self.nodes if node.kind == self.kind).attributes)}"


def _one(kind: str, attributes: Mapping[str, Any] | None = None, **slots: tuple[int, ...]) -> Branch:
    """A node of this kind alone, with weights of these shapes."""
    return Branch(kind, (Node("y", kind, ("x",), attributes or {}, {slot: slot for slot in slots}),), slots)


def _convolutions() -> Iterator[Branch]:
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"stride": [2, 1], "padding": [1, 1, 1, 1]},
        {"padding": [0, 1, 2, 1]},
        {"dilation": [2, 3], "padding": [2, 2, 3, 3]},
        {"groups": 2},
        {"groups": CHANNELS, "stride": [2, 2]},
        {"padding": "same"},
        {"padding": "same", "stride": [2, 2]},
        {"padding": "same", "stride": [2, 3], "dilation": [1, 2], "groups": 2},
    )
    for number, change in enumerate(changes):
        attributes = {**PLAIN, **change}
        slots = {"weight": (8, CHANNELS // attributes["groups"], 3, 2)} | ({} if number % 2 else {"bias": (8,)})
        yield _one("conv", attributes, **slots)
    strided = {**PLAIN, "padding": "same", "stride": [2, 2]}
    yield _one("conv", strided, weight=(8, CHANNELS, 2, 3))  # a zero behind and none before, both ways


def _pools() -> Iterator[Branch]:
    sizes = (([2, 2], [2, 2], [0, 0]), ([3, 3], [2, 3], [1, 1]), ([2, 3], [3, 1], [1, 0]))
    for (kernel, stride, padding), ceil in product(sizes, (False, True)):
        window = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
        yield _one("max_pool", {**window, "dilation": [1, 1]})
        for count_pad in (False, True):
            yield _one("avg_pool", {**window, "count_pad": count_pad})
    yield _one("max_pool", {"kernel": [2, 3], "stride": [2, 1], "padding": [0, 1], "dilation": [3, 2], "ceil": True})
    for kernel, stride in (([3, 3], [2, 2]), ([2, 3], [2, 2]), ([3, 2], [1, 3])):
        window = {"kernel": kernel, "stride": stride, "dilation": [1, 1], "ceil": False}
        yield _one("max_pool", {**window, "padding": "same"})
    for size in ([1, 1], [3, 4], [4, 3], [9, 6]):
        yield _one("adaptive_avg_pool", {"size": size})


def _layers() -> Iterator[Branch]:
    width = SIZE[1]
    yield _one("linear", weight=(3, width), bias=(3,))
    yield _one("linear", weight=(3, width))
    four = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (CHANNELS,))
    for eps in (1e-5, 0.1):
        yield _one("batch_norm", {"eps": eps, "momentum": 0.1}, **four)
        yield _one("layer_norm", {"eps": eps}, weight=(width,), bias=(width,))
        yield _one("group_norm", {"groups": 2, "eps": eps}, weight=(CHANNELS,), bias=(CHANNELS,))
    yield _one("group_norm", {"groups": CHANNELS, "eps": 1e-5}, weight=(CHANNELS,), bias=(CHANNELS,))
    # Behind a convolution it may become one with it. Not so here: of another layer, and of one that is needed as it is.
    norm = Node("norm", "batch_norm", ("x",), {"eps": 1e-5, "momentum": 0.1}, {slot: slot for slot in four})
    yield Branch("batch_norm", (Node("relu", "relu", ("x",)), replace(norm, inputs=("relu",))), four)
    yield Branch("batch_norm", (norm, Node("y", "mul", ("norm", "x"))), four)
    tokens = Node("tokens", "reshape", ("x",), {"shape": ["@0", -1, "@3"]})
    slots = {"in_weight": (3 * width, width), "in_bias": (3 * width,), "out_weight": (width, width)}
    shapes = slots | {"out_bias": (width,)}
    for heads in (1, 3):
        attend = Node("y", "attention", ("tokens",), {"heads": heads}, {slot: slot for slot in shapes})
        yield Branch("attention", (tokens, attend), shapes)


def _windows() -> Iterator[Branch]:
    """Of `x` as maps (N, 4, 7, 6), whose channels are behind: windows that do not fit, and one that covers an axis."""
    width, hidden = SIZE[1], 5
    linear = {"qkv_weight": (3 * width, width), "qkv_bias": (3 * width,)}
    linear |= {"proj_weight": (width, width), "proj_bias": (width,)}
    cases = ((3, [2, 3], [1, 2]), (2, [3, 2], [0, 1]), (2, [2, 8], [1, 5]))
    for heads, window, shift in cases:
        ways = (2 * window[0] - 1) * (2 * window[1] - 1)
        attributes = {"heads": heads, "window": window, "shift": shift}
        yield _one("window_attention", {**attributes, "scale": 0.6}, **linear, table=(ways, heads))
        mlp = {"mlp_in_weight": (hidden, 2), "mlp_in_bias": (hidden,), "mlp_out_weight": (heads, hidden)}
        yield _one("cosine_window_attention", attributes, **linear, logit_scale=(heads, 1, 1), **mlp)
    groups = Node("groups", "reshape", ("x",), {"shape": ["@0", 2, 2, "@2", "@3"]})
    slots = linear | {"table": (3 * 5, 2)}
    of_groups = {"heads": 2, "window": [2, 3], "shift": [0, 1], "scale": 0.4}
    attend = Node("y", "window_attention", ("groups",), of_groups, {slot: slot for slot in slots})
    yield Branch("window_attention", (groups, attend), slots)
    yield _one("patch_merge")
    turned = Node("turned", "permute", ("x",), {"axes": [0, 2, 3, 1]})
    yield Branch("patch_merge", (turned, Node("y", "patch_merge", ("turned",))))


def _elements() -> Iterator[Branch]:
    plain = dict.fromkeys(("relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"))
    bent = {"leaky_relu": {"slope": 0.2}, "elu": {"alpha": 1.5}, "clamp": {"low": -0.5, "high": 0.7}}
    for kind, of in {**plain, **bent}.items():
        # Its input is needed afterwards: what overwrites it shows.
        yield Branch(kind, (Node("bent", kind, ("x",), of or {}), Node("y", "add", ("bent", "x"))))
        # Ten times the values reach where the curves are cut off; beside them, what is off around 0 would not show.
        wide = Node("wide", "mul", ("x",), {"value": 10.0})
        yield Branch(kind, (wide, Node("y", kind, ("wide",), of or {})))
    yield from (_one("softmax", {"axis": axis}) for axis in (1, 3))
    yield _one("dropout", {"p": 0.5})
    yield from (_one("stochastic_depth", {"p": 0.5, "mode": mode}) for mode in ("row", "batch"))
    pool = Node("pool", "mean", ("x",), {"axes": [2, 3], "keep": True})
    for kind in ("add", "mul"):
        yield Branch(kind, (pool, Node("y", kind, ("x", "pool"))))
        yield Branch(kind, (pool, Node("y", kind, ("pool", "x"))))
        yield _one(kind, {"value": -2.5})
    yield Branch("add", (pool, Node("sum", "add", ("x", "pool")), Node("y", "mul", ("sum", "x"))))


def _shapes() -> Iterator[Branch]:
    yield from (
        _one("mean", {"axes": axes, "keep": keep}) for axes, keep in (([2, 3], False), ([1], True), ([3], False))
    )
    yield from (_one("max", {"axes": axes, "keep": keep}) for axes, keep in (([2, 3], True), ([1], False)))
    yield from (_one("pad", {"padding": padding}) for padding in ([1, 0, 2, 3], [0, 0, 0, 1]))
    yield from (_one("slice", {"axis": axis, "start": 1, "stop": 3}) for axis in (1, 3))
    yield from (_one("permute", {"axes": axes}) for axes in ([0, 2, 3, 1], [0, 3, 1, 2]))
    yield from (_one("reshape", {"shape": shape}) for shape in (["@0", -1], ["@0", 2, 2, "@2", -1]))
    yield from (_one("flatten", {"start": start}) for start in (1, 2))
    other = Node("other", "mul", ("x",), {"value": 2.0})
    yield from (Branch("cat", (other, Node("y", "cat", ("x", "other", "x"), {"axis": axis}))) for axis in (1, 3))
    turned = Node("turned", "permute", ("x",), {"axes": [0, 1, 3, 2]})
    yield Branch("matmul", (turned, Node("y", "matmul", ("x", "turned"))))
    value = Node("value", "table", (), {}, {"value": "value"})
    yield Branch("table", (value, Node("y", "add", ("x", "value"))), {"value": (1, CHANNELS, 1, SIZE[1])})
    repeated = Node("repeated", "expand", ("value", "x"))
    joined = Node("y", "cat", ("repeated", "x"), {"axis": 2})
    yield Branch("expand", (value, repeated, joined), {"value": (1, CHANNELS, 2, SIZE[1])})


_ALL = (*_convolutions(), *_pools(), *_layers(), *_windows(), *_elements(), *_shapes())
BRANCHES: tuple[Branch, ...] = tuple(sorted(_ALL, key=lambda branch: branch.kind))
"""Every kind, one after another, with the attributes that it may have."""


@dataclass(frozen=True)
class Tree:
    """A network of branches.

    parts    each branch by itself, from the picture to what it gives the head
    columns  of the head's weight: where that comes from each branch
    classes  those that see each branch alone
    """

    branches: tuple[Branch, ...]
    graph: Graph
    parts: tuple[Graph, ...]
    columns: tuple[slice, ...]
    classes: tuple[slice, ...]

    @property
    def seen(self) -> Float32:
        """(C, F): 1 where a class may see a value, 0 where that is another branch's."""
        mask = np.zeros((self.classes[-1].stop, self.columns[-1].stop), np.float32)
        for own in zip(self.classes, self.columns, strict=True):
            mask[own] = 1
        return mask


def tree_of(branches: Sequence[Branch]) -> Tree:
    parts = [_part(branch, f"branch{number}") for number, branch in enumerate(branches)]
    columns = _in_a_row(shapes_of(part)[part.nodes[-1].name][1] for part in parts)
    classes = _in_a_row(CLASSES_EACH for _ in branches)
    last = [part.nodes[-1].name for part in parts]
    joined = [Node("features", "cat", tuple(last), {"axis": 1})] if len(last) > 1 else []
    head = Node(HEAD, "linear", ("features" if joined else last[0],), {}, _named(HEAD))
    shapes = {f"{HEAD}.weight": (classes[-1].stop, columns[-1].stop), f"{HEAD}.bias": (classes[-1].stop,)}
    body = [node for part in parts for node in part.nodes[1:]]
    weights = {name: shape for part in parts for name, shape in part.weights.items()} | shapes
    graph = Graph((IMAGE, *body, *joined, head), weights, HEAD, SIZE, fixed=True)
    return Tree(tuple(branches), graph, tuple(parts), columns, classes)


def _part(branch: Branch, prefix: str) -> Graph:
    """A branch from the picture to a vector, under names of its own."""
    stem = f"{prefix}.x"
    shapes: dict[str, tuple[int, ...]] = {f"{stem}.weight": (CHANNELS, 3, 1, 1), f"{stem}.bias": (CHANNELS,)}
    nodes = [IMAGE, Node(stem, "conv", (IMAGE.name,), PLAIN, _named(stem))]
    for node in branch.nodes:
        name, inputs = f"{prefix}.{node.name}", tuple(f"{prefix}.{given}" for given in node.inputs)
        slots = {slot: f"{name}.{slot}" for slot in node.weights}
        nodes.append(Node(name, node.kind, inputs, node.attributes, slots))
        shapes |= {slots[slot]: branch.shapes[slot] for slot in slots}
    nodes.append(Node(f"{prefix}.flat", "flatten", (nodes[-1].name,), {"start": 1}))
    return Graph(tuple(nodes), shapes, HEAD, SIZE, fixed=True)


def _named(layer: str) -> dict[str, str]:
    return {slot: f"{layer}.{slot}" for slot in ("weight", "bias")}


def _in_a_row(widths: Iterable[int]) -> tuple[slice, ...]:
    ends = list(accumulate(widths, initial=0))
    return tuple(slice(*pair) for pair in pairwise(ends))
