"""Laws of kinds: what each kind of node gives, and its gradient, against `xfer.testing.kinds`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xfer.archs import is_statistic
from xfer.arrays import Float32, Float64
from xfer.backend import Backend, Batch
from xfer.graphs.graph import Graph, Node
from xfer.graphs.kinds import KINDS
from xfer.graphs.parts import NODE
from xfer.losses import LossSpec
from xfer.nets.specs import ModelSpec, known_arch
from xfer.testing.case import Case
from xfer.testing.kinds import evaluate
from xfer.testing.kit import CLOSE, SGD, Bench, Law, assert_close, make_groups, prepare, random_batch, random_labels
from xfer.testing.laws.branches import BRANCHES, IMAGE, PLAIN, SIZE, Branch, Tree, tree_of
from xfer.testing.reference import logit_gradient

N = 4
RATE = 1000.0  # of one step of plain SGD: what it takes away is far above the last digit of a weight
SLOPES = 2  # of each weight
SLOPES_CLOSE = 1e-4  # a slope is a sum in which much cancels
H = 1e-6  # so small that hardly a value crosses a bend of its curve on the way


def _known(backend: Backend) -> tuple[Branch, ...]:
    """The branches of kinds that the backend lists."""
    if missing := {"cat", "linear"} - backend.kinds:
        pytest.skip(f"{backend.name} lacks {', '.join(sorted(missing))}, which join what the laws compare")
    return tuple(branch for branch in BRANCHES if branch.kinds <= backend.kinds)


def _skip_where_some_are_missing(backend: Backend) -> None:
    if missing := sorted(set(KINDS) - backend.kinds):
        pytest.skip(f"{backend.name} lacks the kinds {', '.join(missing)}; what needs none of them is right")


def _prepared(backend: Backend, device: str, arch_name: str, graph: Graph) -> Bench:
    arch = known_arch(backend, arch_name)
    spec = ModelSpec("graph", graph.classes, graph.size, arch.mean, arch.std, graph=graph)
    bench = prepare(backend, device, arch_name, spec=spec)
    assert bench.shapes == graph.weights, f"weights of a graph: {bench.shapes}, expected {graph.weights}"
    return bench


def _grown(backend: Backend, device: str, arch_name: str, tree: Tree) -> Bench:
    """A network of branches, with weights such that each class sees its branch alone."""
    bench = _prepared(backend, device, arch_name, tree.graph)
    weight, _ = bench.arch.head_names
    bench.weights[weight] *= tree.seen
    bench.reset()
    return bench


def _normalised(batch: Case | Batch, spec: ModelSpec) -> Float64:
    """Pictures (N, 3, H, W) as a network sees them."""
    return np.asarray(((batch.inputs / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2))


def _dropping(n: int, features: int) -> Float32:
    return np.random.default_rng(0).integers(0, 2, (n, features)).astype(np.float32) * 2


def kinds_mean_what_they_say(backend: Backend, device: str, arch_name: str) -> None:
    """A network for each kind, with a branch for each set of attributes."""
    batch = random_batch(N, image_size=SIZE)
    for _, branches in groupby(_known(backend), key=lambda branch: branch.kind):
        tree = tree_of(tuple(branches))
        bench = _grown(backend, device, arch_name, tree)
        logits = bench.predict(batch.inputs)
        wanted = evaluate(tree.graph, bench.weights, _normalised(batch, bench.spec))[tree.graph.head]
        for branch, own in zip(tree.branches, tree.classes, strict=True):
            assert_close(logits[:, own], wanted[:, own], CLOSE, f"logits behind {branch.what}")
    _skip_where_some_are_missing(backend)


def a_head_may_take_maps(backend: Backend, device: str, arch_name: str) -> None:
    """And have more behind it; what it is not to see is whole channels."""
    shapes = {"body.weight": (6, 3, 2, 2), "body.bias": (6,), "head.weight": (3, 6, 1, 1), "head.bias": (3,)}
    body, head = ({slot: f"{name}.{slot}" for slot in ("weight", "bias")} for name in ("body", "head"))
    nodes = (
        IMAGE,
        Node("body", "conv", ("image",), PLAIN, body),
        Node("dropout", "dropout", ("body",), {"p": 0.5}),
        Node("head", "conv", ("dropout",), PLAIN, head),
        Node("relu", "relu", ("head",)),
        Node("pool", "adaptive_avg_pool", ("relu",), {"size": [1, 1]}),
        Node("logits", "flatten", ("pool",), {"start": 1}),
    )
    if not backend.kinds >= {node.kind for node in nodes}:
        pytest.skip(f"{backend.name} lacks a kind that this network has")
    graph = Graph(nodes, shapes, "head", SIZE)
    bench = _prepared(backend, device, arch_name, graph)
    batch = random_batch(N, image_size=SIZE)
    values = evaluate(graph, bench.weights, _normalised(batch, bench.spec))
    assert_close(bench.predict(batch.inputs, stop="head"), values["dropout"], CLOSE, "maps that enter the head")
    assert_close(bench.predict(batch.inputs), values["logits"], CLOSE, "logits of a head that takes maps")
    for node in nodes[1:]:
        assert_close(bench.predict(batch.inputs, stop=f"{NODE}{node.name}"), values[node.name], CLOSE, node.name)
    keep = _dropping(N, bench.arch.features)
    masks = {"head": keep[:, :, None, None]}
    wanted = evaluate(graph, bench.weights, _normalised(batch, bench.spec), masks=masks)["logits"]
    _, logits = bench.still(bench.groups("head"), Case(batch.inputs, batch.labels, keep))
    assert_close(logits, wanted, CLOSE, "logits where channels were dropped before the head")


def masks_multiply_what_enters_their_nodes(backend: Backend, device: str, arch_name: str) -> None:
    """Of dropout and of stochastic depth inside a network, in the logits of a step and in its gradient."""
    graph = _dropping_inside()
    if not backend.kinds >= {node.kind for node in graph.nodes}:
        pytest.skip(f"{backend.name} lacks a kind that this network has")
    bench, rng = _prepared(backend, device, arch_name, graph), np.random.default_rng(0)
    masks = {node: np.zeros((N, *shape), np.float32) for node, shape in _MASKED.items()}
    for mask in masks.values():
        mask[...] = 2 * rng.permutation(np.arange(mask.size) % 2).reshape(mask.shape)
    batch = replace(random_batch(N, image_size=SIZE).batch(graph), masks=masks)
    step = bench.train_step(SGD, bench.groups(*bench.arch.stage_names))
    loss, logits = step([batch], (RATE,))()
    after = bench.export()
    wanted, right = _loss(bench, batch, bench.weights)
    assert_close(logits, right, CLOSE, "logits of a step where nodes inside the network have masks")
    assert_close(loss, wanted, CLOSE, "loss of a step where nodes inside the network have masks")
    slopes, expected = list[float](), list[float]()
    for name, weight in bench.weights.items():
        along = rng.choice((-H, H), weight.shape)
        above, below = (_loss(bench, batch, {**bench.weights, name: weight + way})[0] for way in (along, -along))
        slopes.append(float(((weight - after[name].astype(np.float64)) / RATE * along).sum() / H))
        expected.append((above - below) / (2 * H))
    assert_close(slopes, expected, SLOPES_CLOSE, "slopes of the loss where nodes inside the network have masks")
    bench.reset()
    _, unmasked = step([replace(batch, masks={})], (0.0,))()
    assert_close(unmasked, bench.predict(batch.inputs), CLOSE, "logits of a step where no node has a mask")


def _loss(bench: Bench, batch: Batch, weights: Mapping[str, NDArray[Any]]) -> tuple[float, Float64]:
    """What a step makes smaller, and the logits (N, C), with the masks of the batch."""
    z = evaluate(bench.graph, weights, _normalised(batch, bench.spec), masks=batch.masks)[bench.graph.head]
    log = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-(batch.targets * log).sum(axis=1) @ batch.factors), z


_MASKED = {"depth": (1, 1, 1), "inner": (5,), "head": (6,)}
"""Node -> shape of a mask of one sample, in the network of `_dropping_inside`."""


def _dropping_inside() -> Graph:
    """A block beside what it is added to, a hidden layer, and something dropped in each and before the head."""
    shapes: dict[str, tuple[int, ...]] = {"first.weight": (5, 3, 2, 2), "first.bias": (5,)}
    shapes |= {"block.weight": (5, 5, 1, 1), "block.bias": (5,)}
    shapes |= {"hidden.weight": (6, 5), "hidden.bias": (6,), "head.weight": (3, 6), "head.bias": (3,)}
    first, block, hidden, head = (
        {slot: f"{name}.{slot}" for slot in ("weight", "bias")} for name in ("first", "block", "hidden", "head")
    )
    nodes = (
        IMAGE,
        Node("first", "conv", ("image",), PLAIN, first),
        Node("block", "conv", ("first",), PLAIN, block),
        Node("depth", "stochastic_depth", ("block",), {"p": 0.5, "mode": "row"}),
        Node("sum", "add", ("depth", "first")),
        Node("pool", "adaptive_avg_pool", ("sum",), {"size": [1, 1]}),
        Node("flat", "flatten", ("pool",), {"start": 1}),
        Node("inner", "dropout", ("flat",), {"p": 0.5}),
        Node("hidden", "linear", ("inner",), {}, hidden),
        Node("tanh", "tanh", ("hidden",)),
        Node("head", "linear", ("tanh",), {}, head),
    )
    return Graph(nodes, shapes, "head", SIZE)


def gradients_of_kinds_are_right(backend: Backend, device: str, arch_name: str) -> None:
    """What one step of plain SGD takes away, of all branches at once; of norm layers that follow the batches, too."""
    known = _known(backend)
    _assert_gradient(backend, device, arch_name, known, training=False)
    if norms := tuple(branch for branch in known if branch.kind == "batch_norm"):
        _assert_gradient(backend, device, arch_name, norms, training=True)
    _skip_where_some_are_missing(backend)


def _assert_gradient(
    backend: Backend, device: str, arch_name: str, branches: tuple[Branch, ...], training: bool
) -> None:
    """Of a network of branches, its norm layers in training or at rest."""
    tree = tree_of(branches)
    bench = _grown(backend, device, arch_name, tree)
    pictures, rng = random_batch(N, image_size=SIZE).inputs, np.random.default_rng(0)
    keep = _dropping(N, bench.arch.features)
    batch = Case(pictures, random_labels(N, tree.graph.classes, rng), keep)
    statistics = frozenset(filter(is_statistic, bench.weights))
    trained = tuple(name for name in bench.weights if name not in statistics)
    groups = make_groups(bench.weights, [(trained, 0.0)], statistics if training else ())
    bench.step(groups)(batch, (RATE,))()
    after = bench.export()
    gradient = {name: (bench.weights[name] - after[name].astype(np.float64)) / RATE for name in trained}
    _assert_slopes(tree, bench, batch, gradient, training)


def _assert_slopes(tree: Tree, bench: Bench, batch: Case, gradient: Mapping[str, Float64], training: bool) -> None:
    """The head's gradient is a formula; that of what lies before it is shown by slopes along random directions."""
    images, keep = _normalised(batch, bench.spec), np.asarray(batch.keep)
    norms = [node.name for node in tree.graph.nodes if node.kind == "batch_norm"] if training else []
    values = evaluate(tree.graph, bench.weights, images, norms, {tree.graph.head: keep})
    weight, bias = bench.arch.head_names
    entering = values[tree.graph[tree.graph.head].inputs[0]] * keep
    of_logits = logit_gradient(values[tree.graph.head], batch.labels, LossSpec())
    assert_close(gradient[weight], of_logits.T @ entering, CLOSE, "gradient of the head's weight")
    assert_close(gradient[bias], of_logits.sum(axis=0), CLOSE, "gradient of the head's bias")
    of_features = of_logits @ bench.weights[weight] * keep
    rng = np.random.default_rng(0)
    for branch, part, own in zip(tree.branches, tree.parts, tree.columns, strict=True):
        last = part.nodes[-1].name
        slopes, wanted = list[float](), list[float]()
        for name in (name for name in part.weights if name in gradient):
            for along in rng.choice((-H, H), (SLOPES, *part.weights[name])):
                above, below = (
                    evaluate(part, {**bench.weights, name: bench.weights[name] + way}, images, norms)[last]
                    for way in (along, -along)
                )
                slopes.append(float((gradient[name] * along).sum() / H))
                wanted.append(float((of_features[:, own] * (above - below)).sum() / (2 * H)))
        # Together, for some may be zero: that of a bias before a normalisation, say.
        assert_close(slopes, wanted, SLOPES_CLOSE, f"slopes of the loss in the weights of {branch.what}")


LAWS: tuple[Law, ...] = (
    kinds_mean_what_they_say,
    a_head_may_take_maps,
    masks_multiply_what_enters_their_nodes,
    gradients_of_kinds_are_right,
)
