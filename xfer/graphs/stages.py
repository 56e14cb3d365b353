"""Stages of a network that is a graph: found where every path from the picture to the logits passes, named by stride.

`stem` is up to half of the picture's side, `layer1` at a quarter of it, `layer2` at an eighth, and so on. Where the
side never shrinks, as in a ViT, the blocks are shared out evenly to `layer1` to `layer4`, and what comes before them is
the stem. A stage begins with a whole block, and a block is of the stage of the stride that it ends with. Linear layers
behind the pooling are `hidden`, those that a recipe asked for `extra`, and the last layer is `head`. Of residual
networks this gives their own stages. A graph may say itself where its stages begin, where tradition or its size has
them elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, groupby, takewhile

from xfer.archs import EXTRA, LOGITS, Arch
from xfer.errors import ConfigError
from xfer.graphs.blocks import blocks_of
from xfer.graphs.graph import Graph, Node
from xfer.graphs.units import DROPS, Hashable, Unit, head_dropout, made_of_picture, units_of, with_constants

HIDDEN, HEAD, STEM = "hidden", "head", "stem"
PARTS = 4  # of a network whose stride is the same throughout

Named = tuple[str, Unit]
"""The name of a stage, and a unit of it."""


@dataclass(frozen=True)
class Stage:
    """A part of the network that takes one tensor, and gives that of its last node."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights in it, in the order of the computation."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.weights.values()))


def arch_of(name: str, graph: Graph) -> Arch:
    """The network as the core speaks of it. Raises ConfigError for a head without a bias, and as `stages_of`."""
    head, stages = graph[graph.head], stages_of(graph)
    layer, _, leaf = head.weights["weight"].rpartition(".")
    if (leaf, head.weights.get("bias")) != ("weight", f"{layer}.bias"):
        raise ConfigError(f"{name}: the head {head.name} is no layer with a weight and a bias of its own")
    if any(set(head.weights.values()).intersection(n.weights.values()) for n in graph.nodes if n is not head):
        raise ConfigError(f"{name}: the head {head.name} shares its weights. Cure: weights of its own")
    drops = head_dropout(graph)
    return Arch(
        name,
        tuple((stage.name, stage.weights) for stage in stages),
        layer,
        features=graph.weights[head.weights["weight"]][1],
        dropout=drops.attributes["p"] if drops else 0.0,
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


@lru_cache(maxsize=32)
def _stages(key: Hashable) -> tuple[Stage, ...]:
    graph = key.graph
    of_body = [
        Stage(name, tuple(node for _, unit in group for node in unit.nodes))
        for name, group in groupby(named_units(graph), key=lambda named: named[0])
    ]
    dependent = made_of_picture(graph)
    rest = [node for node in graph.nodes[graph.places[graph.head] :] if node.name in dependent]
    if left := [name for node in rest[1:] for name in node.weights.values()]:
        raise ConfigError(f"{left[0]}: a weight behind the head {graph.head}. Cure: another layer as the head")
    return (*of_body, Stage(HEAD, with_constants(graph, rest, dependent)))


def named_units(graph: Graph) -> tuple[Named, ...]:
    """Every unit behind the name of its stage, in the order of the computation. Raises ConfigError as `stages_of`."""
    return _named_units(Hashable(graph))


@lru_cache(maxsize=32)
def _named_units(key: Hashable) -> tuple[Named, ...]:
    units = units_of(key.graph)
    return tuple(zip(_stated(key.graph, units) if key.graph.stages else _derived(units), units, strict=True))


def _stated(graph: Graph, units: Sequence[Unit]) -> list[str]:
    """The stage of each, by the graph's own word. One that begins behind what drops something takes that along."""
    dependent = made_of_picture(graph)
    first = dict[str, int]()
    for i, unit in enumerate(units):
        begin, *more = [node for node in unit.nodes if node.name in dependent]
        first |= dict.fromkeys([begin.name, *(node.name for node in more if begin.kind in DROPS)], i)
    stages, begins = list(graph.stages), list(graph.stages.values())
    for stage, node in graph.stages.items():
        if stage in (HEAD, LOGITS):
            raise ConfigError(f"stage {stage}: a name for what lies behind all stages. Cure: another name")
        if node not in first:
            raise ConfigError(f"stage {stage}: {node} is no node behind a cut. Cure: one where everything passes")
    places = [first[node] for node in begins]
    if places != sorted({*places, 0}):
        some = ", ".join(begins[:5]) + ", ..." * (len(begins) > 5)
        raise ConfigError(f"stages begin with {some}. Cure: {next(iter(first))} first, and all in order")
    names = [stages[bisect_right(places, i) - 1] for i in range(len(units))]
    for name, kept in zip(names, _undivided(names, units), strict=True):
        if name != kept:
            raise ConfigError(f"stage {name} shares a weight with an earlier one. Cure: one stage of both")
    return names


def _derived(units: Sequence[Unit]) -> list[str]:
    """The stage of each. What has no weights goes with what came before it."""
    named, name = list[str](), STEM
    for unit, own in zip(units, _undivided(_own_names(units), units), strict=True):
        name = own if unit.weights else name
        named.append(name)
    return named


def _own_names(units: Sequence[Unit]) -> list[str]:
    """The stage of each that has weights, by itself; nothing of the others."""
    names = [EXTRA if _is_extra(unit) else "" for unit in units]
    levels = list(accumulate((unit.level or 0 for unit in units), max))
    left = iter([place for place, unit in enumerate(units) if unit.weights and not names[place]])
    body = list[list[int]]()  # places of units, block by block
    for block in blocks_of([unit for unit, name in zip(units, names, strict=True) if not name]):
        places, hidden = [next(left) for _ in block], _hidden(block)
        for place in places[len(places) - hidden :]:
            names[place] = HIDDEN
        body.append(places[: len(places) - hidden])
    of_body = _of_blocks([[levels[place] for place in places] for places in body if places])
    for place, name in zip(chain.from_iterable(body), of_body, strict=True):
        names[place] = name
    return names


def _hidden(block: Sequence[Unit]) -> int:
    """How many units of a block, of the last ones, are hidden: from the first behind the pooling on, if any is linear.

    So the norm before a linear layer is, too.
    """
    behind = list(takewhile(lambda unit: unit.level is None, reversed(block)))
    return len(behind) if any(node.kind == "linear" for unit in behind for node in unit.nodes) else 0


def _of_blocks(blocks: Sequence[Sequence[int]]) -> Iterator[str]:
    """The stage of each unit, from the levels of the units in each block."""
    before, levels = blocks[0][0] if blocks else 0, list[Sequence[int]]()
    for block in blocks:
        # What is strided more than once is no block, whatever its name says, but a network in one.
        levels.append([block[-1]] * len(block) if block[-1] - before <= 1 else block)
        before = block[-1]
    strides = {level for block in levels for level in block}
    for i, block in enumerate(levels):
        if len(strides) == 1:
            yield from [_of_equals(i, len(blocks))] * len(block)
        elif i == 0 and min(strides) > 1:  # pictures cut into patches, and the norm behind them
            yield from [STEM] * len(block)
        else:
            yield from (STEM if level <= 1 else f"layer{level - 1}" for level in block)


def _of_equals(i: int, count: int) -> str:
    """Where the stride never changes: the first block is the stem, the others are shared out evenly."""
    return STEM if i == 0 else f"layer{1 + (i - 1) * PARTS // (count - 1)}"


def _is_extra(unit: Unit) -> bool:
    return bool(unit.weights) and all(name.startswith(f"{EXTRA}.") for name in unit.weights)


def _undivided(names: Sequence[str], units: Sequence[Unit]) -> list[str]:
    """All units from the first to the last of a name, or with the same weight, are of one stage: that of the first."""
    first: dict[str, int] = {}
    for i, (name, unit) in reversed(list(enumerate(zip(names, units, strict=True)))):
        if unit.weights:
            first |= dict.fromkeys((name, *unit.weights), i)
    kept, members, low = list(names), list[int](), len(units)
    for i, unit in reversed(list(enumerate(units))):
        members.append(i)
        low = min([low, i, *(first[key] for key in (names[i], *unit.weights) if unit.weights)])
        if i == low:
            for member in members:
                kept[member] = names[i]
            members, low = [], len(units)
    return kept
