"""Where a network looks: LayerCAM at a boundary, from the gradient of a class's logit there.

No backend gives that gradient. It is that of a weight which is added to what crosses the boundary, and which is 0.

Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", equations 5 and 6: the sum
over channels of relu(gradient) times activation, and of that what is above 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer import metrics
from xfer.arrays import Float32, Int64, Pixels
from xfer.backend import Batch, OptimizerSpec, ParamGroup, ParamGroups, TrainStep
from xfer.errors import BackendError, ConfigError, expected
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import boundaries
from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import HEAD
from xfer.multilabel import sigmoid
from xfer.nets.net import Net, build_net

_NODE, _SUM = "explained", "explained.sum"
ADDED = f"{_NODE}.value"  # so that a module begins there, and with it a boundary
KINDS = frozenset({"table", "add"})
_SLOT = f"momentum:{ADDED}"


@dataclass(frozen=True)
class Explanation:
    """What speaks for a class in each picture.

    boundary       where it was looked at
    pictures       (N, H, W, 3) uint8, as the network sees them
    classes        (N,) those that are explained
    probabilities  (N, C)
    maps           (N, h, w) float32 in [0, 1], of the size at the boundary: 1 where most speaks for the class, and 0
                   everywhere where nothing does
    """

    boundary: str
    pictures: Pixels
    classes: Int64
    probabilities: Float32
    maps: Float32


@dataclass(frozen=True)
class Tokens:
    """A picture as rows of numbers: `before` of no place in it, as a class token is, then its patches, row by row."""

    before: int
    height: int
    width: int

    def on_grid(self, rows: Float32) -> Float32:
        """The patches alone (h, w, C), of rows (before + h * w, C)."""
        return rows[self.before :].reshape(self.height, self.width, -1)


def tokens_of(graph: Graph, size: tuple[int, int]) -> Tokens | None:
    """Where the graph makes tokens of a map (C, h, w): (C, h * w), turned round, with others joined before them.

    None where it does not.
    """
    shapes = shapes_of(graph, size)
    for turned in graph.nodes:
        if turned.kind != "permute" or turned.attributes["axes"] != [0, 2, 1]:
            continue
        flattened = graph[turned.inputs[0]]
        taken = shapes[flattened.inputs[0]] if flattened.kind in ("reshape", "flatten") else ()
        if len(taken) == 4 and shapes[flattened.name][1:] == (taken[1], taken[2] * taken[3]):
            joined = (n for n in graph.nodes if n.kind == "cat" and n.inputs[-1] == turned.name)
            count = next((shapes[cat.name][1] for cat in joined if cat.attributes["axis"] == 1), taken[2] * taken[3])
            return Tokens(count - taken[2] * taken[3], taken[2], taken[3])
    return None


def places(graph: Graph, size: tuple[int, int]) -> dict[str, int]:
    """Name of each boundary that maps of more than one pixel cross -> their axis of channels; the batch's is 0.

    For pictures of (height, width) `size`. Not the entry of the head. Tokens are maps too, as far as attention comes
    behind them: a head that reads the class token alone has no gradient by the others at a later place.
    """
    shapes, found, tokens = shapes_of(graph, size), dict[str, int](), tokens_of(graph, size)
    attended = max((graph.places[node.name] for node in graph.nodes if node.kind == "attention"), default=-1)
    for name, node in boundaries(graph).items():
        shape = shapes[node]
        if len(shape) == 3 and tokens and shape[1] == tokens.before + tokens.height * tokens.width:
            found |= {name: 2} if graph.places[node] < attended else {}
        if len(shape) != 4 or node == graph.nodes[0].name or name == HEAD:
            continue
        axis = _channels(shape[1:], size[0] / size[1])
        if math.prod(shape) > shape[axis]:
            found[name] = axis
    return found


def _channels(shape: tuple[int, ...], ratio: float) -> int:
    """The axis of channels of (C, h, w), or of (h, w, C) as windows of attention have it. Maps are like pictures."""
    first, second, third = shape
    last = abs(math.log(first / second / ratio)) < abs(math.log(second / third / ratio))
    return 3 if last else 1


def choose_place(net: Net, asked: str | None) -> str:
    """The boundary that is asked for, or else the last that maps cross, but none before a normalisation.

    Raises ConfigError for one that no maps cross.
    """
    known = places(net.graph, net.spec.image_size)
    if not known:
        raise ConfigError(f"{net.arch.name}: no maps cross any of its boundaries, which explaining needs")
    if asked is not None and asked not in known:
        raise ConfigError(expected("at", asked, known))
    if asked is not None:
        return asked
    raw, nodes = {conv.name for conv, _ in net.graph.pairs()}, boundaries(net.graph)
    return [name for name in known if nodes[name] not in raw or len(known) == 1][-1]


def explain(
    net: Net, pictures: Pixels, classes: Sequence[int | None], at: str | None = None, several: bool = False
) -> Explanation:
    """Maps for pictures (N, H, W, 3) uint8 as the network takes them, each for its class, or for the most probable one.

    `several`: of a network for any number of labels, whose probabilities are each for itself.

    Raises ConfigError for a boundary `at` that no maps cross, and BackendError where the backend lacks a kind of node.
    """
    place = choose_place(net, at)
    gradient = _Gradient(net, place)
    activations = net.predict_step(stop=place)(pictures)
    logits = net.predict_step(place)(activations)
    metrics.refuse_not_finite(logits, lambda i: f"picture {i}", "another checkpoint")
    asked = [row.argmax() if c is None else c for c, row in zip(classes, logits, strict=True)]
    axis = places(net.graph, net.spec.image_size)[place] - 1
    tokens = tokens_of(net.graph, net.spec.image_size) if activations.ndim == 3 else None
    maps = []
    for activation, row, c in zip(activations, logits, asked, strict=True):
        slope = gradient(activation[None], row, int(c))
        if tokens:
            slope, activation = tokens.on_grid(slope), tokens.on_grid(activation)
        maps.append(_layercam(slope, activation, 2 if tokens else axis))
    shares = sigmoid(logits) if several else metrics.probabilities(logits)
    return Explanation(place, pictures, np.array(asked, np.int64), shares, np.stack(maps))


def _layercam(gradient: Float32, activation: Float32, axis: int) -> Float32:
    """(h, w) in [0, 1], of gradient and activation with channels on this axis: (C, h, w) or (h, w, C)."""
    total = np.maximum((np.maximum(gradient, 0) * activation).sum(axis=axis, dtype=np.float64), 0)
    share: Float32 = (total / (total.max() or 1)).astype(np.float32)
    return share


class _Gradient:
    """Of one logit by what crosses a boundary, of one picture."""

    def __init__(self, net: Net, place: str) -> None:
        if lacking := sorted(KINDS - net.backend.kinds):
            raise BackendError(f"backend '{net.backend.name}' has no {', '.join(lacking)}, which explaining needs")
        graph, start = with_table(net.graph, net.spec.image_size, place)
        other = build_net(net.backend, net.device, replace(net.spec, arch="", graph=graph))
        other.load({**net.export(), ADDED: np.zeros(graph.weights[ADDED], np.float32)})
        self.step: TrainStep = net.backend.make_train_step(
            other.model, OptimizerSpec(momentum=0.5), "sigmoid", _groups(graph), start, start
        )
        self.fresh: Mapping[str, NDArray[Any]] = self.step.export_state()

    def __call__(self, activation: Float32, logits: Float32, class_: int) -> Float32:
        """As the activation of a picture, (C, h, w) or (h, w, C), of activations (1, ...) and logits (classes,).

        The gradient of the loss is that of the sigmoid's logits, s(z) - t, times theirs: with t = s(z) it is 0 for all
        but the class. Momentum holds it after a first step, and at a rate of 0 nothing moves.
        """
        targets = 1 / (1 + np.exp(-logits.astype(np.float64)))
        targets[class_] -= 1
        self.step.import_state(self.fresh)
        self.step([Batch(activation, targets.astype(np.float32)[None], np.ones(1, np.float32))], [0.0])()
        gradient: Float32 = self.step.export_state()[_SLOT][0]
        return gradient


def _groups(graph: Graph) -> ParamGroups:
    return ParamGroups((ParamGroup((ADDED,), 1.0, 0.0),), frozenset(graph.weights) - {ADDED}, frozenset())


def with_table(graph: Graph, size: tuple[int, int], place: str) -> tuple[Graph, str]:
    """The network for pictures of that size, a weight added to what crosses the boundary; and where that enters.

    Raises ConfigError for a network that has a node or a weight of that name.
    """
    if {ADDED, _NODE, _SUM} & {*graph.weights, *graph.places}:
        raise ConfigError(f"the network has a weight or a node called {_NODE!r}, which explaining needs")
    before = boundaries(graph)[place]
    number = graph.places[before] + 1
    table = Node(_NODE, "table", weights={"value": ADDED})
    total = Node(_SUM, "add", (before, _NODE))
    behind = (
        replace(node, inputs=tuple(_SUM if name == before else name for name in node.inputs))
        for node in graph.nodes[number:]
    )
    stages = {stage: _SUM if stage == place else begins for stage, begins in graph.stages.items()}
    weights = {**graph.weights, ADDED: (1, *shapes_of(graph, size)[before][1:])}
    nodes = (*graph.nodes[:number], table, total, *behind)
    changed = replace(graph, nodes=nodes, weights=weights, size=size, stages=stages)
    return changed, next(name for name, node in boundaries(changed).items() if node == before)
