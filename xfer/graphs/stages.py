"""Stages of a network that is a graph: found where every path from the picture to the logits passes, named by stride.

`stem` is up to half of the picture's side, `layer1` at a quarter of it, `layer2` at an eighth, and so on. Where the
side never shrinks, as in a ViT, the blocks are shared out evenly to `layer1` to `layer4`. Linear layers behind the
pooling are `hidden`, those that a recipe asked for `extra`, and the last layer is `head`. Of the ResNets this gives
their own stages. A graph may say itself where its stages begin, where tradition or its size has them elsewhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from xfer.archs import EXTRA, Arch
from xfer.errors import ConfigError
from xfer.graphs.graph import MOST_NODES, Graph, Node
from xfer.graphs.shapes import Shape, shapes_of

HIDDEN, HEAD, STEM = "hidden", "head", "stem"
PARTS = 4  # of a network whose stride is the same throughout


@dataclass(frozen=True)
class Stage:
    """A part of the network that takes one tensor, and gives that of its last node."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights in it, in the order of the computation."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.weights.values()))


@dataclass(frozen=True)
class Unit:
    """From one cut to the next. `level`: the logarithm to base 2 of the stride there; None behind the pooling.

    `name` is that of its stage.
    """

    nodes: tuple[Node, ...]
    level: int | None
    name: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        return tuple(name for node in self.nodes for name in node.weights.values())


def arch_of(name: str, graph: Graph) -> Arch:
    """The network as the core speaks of it. Raises ConfigError for a head without a bias, and as `stages_of`."""
    head, stages = graph[graph.head], stages_of(graph)
    layer, _, leaf = head.weights["weight"].rpartition(".")
    if (leaf, head.weights.get("bias")) != ("weight", f"{layer}.bias"):
        raise ConfigError(f"{name}: the head {head.name} is no layer with a weight and a bias of its own")
    if any(set(head.weights.values()).intersection(n.weights.values()) for n in graph.nodes if n is not head):
        raise ConfigError(f"{name}: the head {head.name} shares its weights. Cure: weights of its own")
    before = graph[head.inputs[0]]
    return Arch(
        name,
        tuple((stage.name, stage.weights) for stage in stages),
        layer,
        features=graph.weights[head.weights["weight"]][1],
        dropout=before.attributes["p"] if before.kind == "dropout" else 0.0,
        spared=tuple(name for node in graph.nodes for name in _spared(node)),
    )


_SPARED = {
    "layer_norm": ("weight",),
    "group_norm": ("weight",),
    "table": ("value",),
    "attention": ("in_bias",),
    "window_attention": ("table",),
    # As in Swin V2's own code: the scale, and what makes the biases.
    "cosine_window_attention": ("logit_scale", "mlp_in_weight", "mlp_out_weight"),
}


def _spared(node: Node) -> tuple[str, ...]:
    """Weights that decay does not act on where it spares norm layers and biases, and that do not look like either."""
    return tuple(node.weights[slot] for slot in _SPARED.get(node.kind, ()))


def stages_of(graph: Graph) -> tuple[Stage, ...]:
    """In the order of the computation, the last one being the head; each name of a weight is in one of them.

    Raises ConfigError where the head does not get all that is made of the picture, and where stages that the graph
    names begin at no cut, or share a weight.
    """
    return _stages(Hashable(graph))


class Hashable:
    """A graph, told from others by what it is and not by what it says: of one that is used again, stages are known."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __hash__(self) -> int:
        return id(self.graph)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashable) and other.graph is self.graph


@lru_cache(maxsize=32)
def _stages(key: Hashable) -> tuple[Stage, ...]:
    graph = key.graph
    of_body = [
        Stage(name, tuple(node for unit in group for node in unit.nodes))
        for name, group in groupby(units_of(graph), key=lambda unit: unit.name)
    ]
    made = {node.name for stage in of_body for node in stage.nodes}
    dependent = _dependent(graph)
    rest = [node for node in graph.nodes[graph.places[graph.head] :] if node.name in dependent]
    if left := [name for node in rest[1:] for name in node.weights.values()]:
        raise ConfigError(f"{left[0]}: a weight behind the head {graph.head}. Cure: another layer as the head")
    assert graph[graph.head].inputs[0] in made, "the head takes the last cut"
    return (*of_body, Stage(HEAD, _with_constants(graph, rest, dependent)))


def units_of(graph: Graph) -> list[Unit]:
    """From the picture to what the head takes, in the order of the computation. Raises ConfigError as `stages_of`."""
    units = _units(graph)
    return _as_said(graph, units) if graph.stages else _named(units)


def cuts(graph: Graph) -> tuple[Node, ...]:
    """Nodes through which everything that is made of the picture passes, in order; the picture is the first."""
    dependent = _dependent(graph)
    last = {name: max((graph.places[reader.name] for reader in of), default=-1) for name, of in graph.readers().items()}
    found, reach = [], 0  # the last place where something is read that an earlier node gives
    for place, node in enumerate(graph.nodes):
        if node.name in dependent:
            if reach <= place < last[node.name]:
                found.append(node)
            reach = max(reach, last[node.name])
    return tuple(found)


def _dependent(graph: Graph) -> frozenset[str]:
    """Names of the nodes that are made of the picture."""
    found = set[str]()
    for node in graph.nodes:
        if node.kind == "image" or found.intersection(node.inputs):
            found.add(node.name)
    return frozenset(found)


def _with_constants(graph: Graph, nodes: Sequence[Node], dependent: frozenset[str]) -> tuple[Node, ...]:
    """These nodes, and those that they need and that are made of no picture, in the order of the computation."""
    needed, left = {node.name for node in nodes}, list(nodes)
    while left:
        more = {name for name in left.pop().inputs if name not in dependent} - needed
        needed |= more
        left += [graph[name] for name in more]
    return tuple(sorted((graph[name] for name in needed), key=lambda node: graph.places[node.name]))


def _units(graph: Graph) -> list[Unit]:
    """From cut to cut, up to what the head takes. One whose stride cannot be told is none where stages are derived."""
    shapes, dependent = shapes_of(graph), _dependent(graph)
    places = graph.places
    enters = graph[graph.head].inputs[0]
    ends = [node for node in cuts(graph) if places[node.name] <= places[enters]]
    if not ends or ends[-1].name != enters:
        raise ConfigError(f"the head {graph.head} does not get all that is made of the picture")
    side, units, start, left = graph.size[0], [], 1, 2 * MOST_NODES
    for end in ends[1:]:
        is_flat, level = _level(shapes[end.name], side)
        if level is None and not is_flat and end.name != enters and not graph.stages:
            continue
        inside = [node for node in graph.nodes[start : places[end.name] + 1] if node.name in dependent]
        units.append(Unit(_with_constants(graph, inside, dependent), level))
        start = places[end.name] + 1
        if (left := left - len(units[-1].nodes)) < 0:
            raise ConfigError(f"{end.name}: too much is made without the picture. Cure: tables of what it comes to")
    return units


def _level(shape: Shape, side: int) -> tuple[bool, int | None]:
    """Whether nothing of height and width is left, or else the logarithm of the stride; None where there is no telling.

    Maps are (N, C, H, W) or (N, H, W, C), tokens (N, L, C): a square of them, and one or two more.
    """
    if len(shape) == 2 or (len(shape) == 4 and (shape[2:] == (1, 1) or shape[1:3] == (1, 1))):
        return True, None
    if len(shape) == 4:
        small = shape[2] if shape[2] == shape[3] else shape[1] if shape[1] == shape[2] else 0
        return False, round(math.log2(side / small)) if small else None
    if len(shape) != 3:
        return False, None
    roots = (math.isqrt(shape[1] - more) for more in (0, 1, 2) if shape[1] > more)
    small = next((r for more, r in enumerate(roots) if r > 1 and r * r == shape[1] - more), 0)
    exact = math.log2(side / small) if small else 0.5
    return False, round(exact) if abs(exact - round(exact)) < 0.25 else None


def _as_said(graph: Graph, units: Sequence[Unit]) -> list[Unit]:
    """Each with the name of its stage, by the graph's own word."""
    dependent = _dependent(graph)
    first = {next(node.name for node in unit.nodes if node.name in dependent): i for i, unit in enumerate(units)}
    stages, begins = list(graph.stages), list(graph.stages.values())
    for stage, node in graph.stages.items():
        if node not in first or stage == HEAD:
            raise ConfigError(f"stage {stage}: {node} is no node behind a cut. Cure: one where everything passes")
    places = [first[node] for node in begins]
    if places != sorted({*places, 0}):
        some = ", ".join(begins[:5]) + ", ..." * (len(begins) > 5)
        raise ConfigError(f"stages begin with {some}. Cure: {next(iter(first))} first, and all in order")
    named = [replace(unit, name=stages[bisect_right(places, i) - 1]) for i, unit in enumerate(units)]
    if (kept := _undivided(named)) != named:
        shared = next(a.name for a, b in zip(named, kept, strict=True) if a != b)
        raise ConfigError(f"stage {shared} shares a weight with an earlier one. Cure: one stage of both")
    return named


def _named(units: Sequence[Unit]) -> list[Unit]:
    """Each with the name of its stage. What has no weights goes with what came before it."""
    of_their_own = [replace(unit, name=name) for unit, name in zip(units, _names(units), strict=True)]
    named, name = list[Unit](), STEM
    for unit in _undivided(of_their_own):
        name = unit.name if unit.weights else name
        named.append(replace(unit, name=name))
    return named


def _names(units: Sequence[Unit]) -> Iterator[str]:
    deepest, levels = 0, list[int]()
    for unit in units:
        deepest = max(deepest, unit.level or 0)
        levels.append(deepest)
    weighted = [i for i, unit in enumerate(units) if unit.weights and not _is_hidden(unit)]
    strides = {levels[i] for i in weighted}
    for i, (unit, level) in enumerate(zip(units, levels, strict=True)):
        if all(name.startswith(f"{EXTRA}.") for name in unit.weights) and unit.weights:
            yield EXTRA
        elif _is_hidden(unit):
            yield HIDDEN
        elif len(strides) == 1:
            yield _of_equals(i, weighted)
        elif strides and min(strides) > 1 and (i <= weighted[0] or (i == weighted[1] and _normalises(units[i]))):
            yield STEM  # pictures cut into patches, and the norm behind them
        else:
            yield STEM if level <= 1 else f"layer{level - 1}"


def _of_equals(i: int, weighted: Sequence[int]) -> str:
    """Where the stride never changes: the first unit is the stem, the others are shared out evenly."""
    first, *others = weighted
    if i <= first or not others:
        return STEM
    count = max(bisect_right(others, i), 1)
    return f"layer{1 + (count - 1) * PARTS // len(others)}"


def _is_hidden(unit: Unit) -> bool:
    return unit.level is None and any(node.kind == "linear" for node in unit.nodes)


def _normalises(unit: Unit) -> bool:
    return all(node.kind in ("layer_norm", "group_norm", "batch_norm") for node in unit.nodes if node.weights)


def _undivided(units: Sequence[Unit]) -> list[Unit]:
    """All units from the first to the last of a name, or with the same weight, are of one stage: that of the first."""
    first: dict[str, int] = {}
    for i, unit in reversed(list(enumerate(units))):
        if unit.weights:
            first |= dict.fromkeys((unit.name, *unit.weights), i)
    named, members, low = dict[int, str](), list[int](), len(units)
    for i, unit in reversed(list(enumerate(units))):
        members.append(i)
        low = min([low, i, *(first[key] for key in (unit.name, *unit.weights) if unit.weights)])
        if i == low:
            named |= dict.fromkeys(members, unit.name)
            members, low = [], len(units)
    return [replace(unit, name=named[i]) for i, unit in enumerate(units)]
