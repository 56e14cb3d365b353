"""The modules of a network that is a graph, by the dotted names of its weights: which of them can be classes.

A module is a class, or a sequence of layers, where its nodes stand together, take few values from outside and give
one. Of any other, the parts are used one by one by the module around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from xfer.graphs.graph import Graph, Node
from xfer.porting.leaves import LEAVES, MAP_NORM, PARTITION

Path = tuple[str, ...]

IN_SEQUENCES = frozenset(
    ["relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softmax", "max_pool", "avg_pool"]
) | {"adaptive_avg_pool", "permute", "flatten", "leaky_relu", "clamp"}
"""Kinds without weights that can stand in a sequence of layers."""

MOST_INPUTS = 3


@dataclass(frozen=True)
class Step:
    """A node, or a unit that is called.

    path  of the layer or the module; of a node without weights, its name
    """

    path: Path
    inputs: tuple[str, ...]
    output: str
    node: Node | None = None
    unit: Unit | None = None


@dataclass(frozen=True)
class Unit:
    """A module that is called: from the values of `inputs` to that of `output`, all names of nodes.

    chain  whether its steps are a sequence of layers
    """

    path: Path
    inputs: tuple[str, ...]
    output: str
    steps: tuple[Step, ...]
    chain: bool

    def all_units(self) -> Iterator[Unit]:
        """Those inside of it before itself."""
        for step in self.steps:
            if step.unit:
                yield from step.unit.all_units()
        yield self


@dataclass(frozen=True)
class Plan:
    """A graph without its tables and what changes nothing.

    nodes     in the order of the computation, behind the picture
    result    the node that gives the logits
    paths     node -> path of its layer, of its parameter where it is a table, or else its name
    homes     node -> path of the module that it is computed in
    tables    name of a table's node -> the node
    children  path of a module -> the parts of it that have weights
    readers   node -> nodes that take what it gives
    numbered  paths of modules whose parts are numbers
    known     (path of a module, its first node) -> its unit, or none, once it was looked at
    """

    nodes: tuple[Node, ...]
    result: str
    paths: Mapping[str, Path]
    homes: Mapping[str, Path]
    tables: Mapping[str, Node]
    children: Mapping[Path, tuple[str, ...]]
    readers: Mapping[str, frozenset[str]]
    numbered: frozenset[Path]
    known: dict[tuple[Path, str], Unit | None] = field(default_factory=dict)

    def home(self, path: Path) -> Path:
        return _home(path, self.children)

    def tables_under(self, path: Path) -> list[str]:
        return [name for name in self.tables if self.paths[name][: len(path)] == path]


def plan_of(graph: Graph) -> Plan:
    nodes = _with_map_norms([_with_partition(node) for node in graph.nodes])
    same: dict[str, str] = {}
    kept = list[Node]()
    for given in nodes:
        node = replace(given, inputs=tuple(same.get(name, name) for name in given.inputs))
        if node.kind in ("dropout", "stochastic_depth") or (node.kind == "cat" and len(node.inputs) == 1):
            same[node.name] = node.inputs[0]
        else:
            kept.append(node)
    result = same.get(graph.nodes[-1].name, graph.nodes[-1].name)
    tables = {node.name: node for node in kept if node.kind == "table"}
    paths = _paths(kept)
    children: dict[Path, dict[str, None]] = {(): {}}
    for node in kept:
        if node.weights:
            for depth, part in enumerate(paths[node.name]):
                children.setdefault(paths[node.name][:depth], {})[part] = None
    homes = {name: _home(path, children) for name, path in paths.items()}
    readers: dict[str, set[str]] = {node.name: set() for node in kept}
    for node in kept:
        for name in node.inputs:
            readers[name].add(node.name)
    readers[result].add("")
    return Plan(
        tuple(node for node in kept[1:] if node.kind != "table"), result, paths, homes, tables,
        {path: tuple(parts) for path, parts in children.items()},
        {name: frozenset(of) for name, of in readers.items()},
        frozenset(
            path for path, parts in children.items()
            if _is_numbered(tuple(parts)) and not any(paths[name][:-1] == path for name in tables)
        ),
    )  # fmt: skip


def _is_numbered(parts: Sequence[str]) -> bool:
    """Whether all are numbers, without large gaps between them."""
    numbers = [int(part) for part in parts if re.fullmatch(r"0|[1-9][0-9]{0,4}", part)]
    return bool(parts) and len(numbers) == len(parts) and max(numbers) < 2 * len(parts) + 8


def _paths(nodes: Sequence[Node]) -> dict[str, Path]:
    """Name of a node -> the path of its layer, by the names of its weights, or else by the node's own name.

    Nodes of the same weights are one layer. One of the name of a module with other layers in it gets another.
    """
    known: dict[tuple[str, ...], Path] = {}
    for node in nodes:
        if node.weights:
            known.setdefault(_layer(node), tuple(_stem(node).split(".")))
    modules = {path[:depth] for path in known.values() for depth in range(len(path))}
    first: dict[Path, tuple[str, ...]] = {}
    for layer, path in known.items():
        last, number = path[-1], 0
        while path in modules or first.setdefault(path, layer) != layer:
            number += 1
            path = (*path[:-1], f"{last}_{layer[0]}{number}")
        known[layer] = path
    return {node.name: known.get(_layer(node)) or tuple(node.name.split(".")) for node in nodes}


def _layer(node: Node) -> tuple[str, ...]:
    return (node.kind, *node.weights.values())


def _stem(node: Node) -> str:
    if node.kind == "table":
        return node.weights["value"]
    leaves = LEAVES[node.kind]
    stems = {name.removesuffix(f".{leaves[slot]}") for slot, name in node.weights.items()}
    stem = stems.pop()
    fits = all(name == f"{stem}.{leaves[slot]}" for slot, name in node.weights.items())
    return stem if fits else node.name


def _home(path: Path, modules: Mapping[Path, object]) -> Path:
    """The longest part of the path, without its last, that is a module."""
    return next(path[:depth] for depth in range(len(path) - 1, -1, -1) if path[:depth] in modules)


def _with_partition(node: Node) -> Node:
    is_one = node.kind == "window_attention" and node.weights["qkv_weight"].endswith(".to_qkv.weight")
    return replace(node, kind=PARTITION) if is_one else node


def _with_map_norms(nodes: Sequence[Node]) -> list[Node]:
    by_name, readers = {node.name: node for node in nodes}, dict[str, list[Node]]()
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    found, gone = dict[str, Node](), set[str]()
    for node in nodes:
        if node.kind != "layer_norm" or len(after := readers.get(node.name, [])) != 1:
            continue
        before = by_name[node.inputs[0]]
        turned = (before.attributes.get("axes"), after[0].attributes.get("axes"))
        if turned == ([0, 2, 3, 1], [0, 3, 1, 2]) and len(readers[before.name]) == 1:
            found[after[0].name] = replace(node, name=after[0].name, kind=MAP_NORM, inputs=before.inputs)
            gone |= {before.name, node.name}
    return [found.get(node.name, node) for node in nodes if node.name not in gone]


def root_of(plan: Plan) -> Unit:
    unit = Unit((), ("image",), plan.result, tuple(_steps(plan, (), plan.nodes)), False)
    return replace(unit, chain=_is_chain(plan, unit))


def _steps(plan: Plan, path: Path, nodes: Sequence[Node]) -> Iterator[Step]:
    found = dict(_units(plan, path, nodes, range(len(nodes))))
    place = 0
    while place < len(nodes):
        if place in found:
            count, unit = found[place]
            yield Step(unit.path, unit.inputs, unit.output, unit=unit)
            place += count
        else:
            node = nodes[place]
            yield Step(plan.paths[node.name], node.inputs, node.name, node=node)
            place += 1


def _units(
    plan: Plan, path: Path, nodes: Sequence[Node], places: Sequence[int]
) -> Iterator[tuple[int, tuple[int, Unit]]]:
    """The place of the first node, how many, and the unit: of the outermost modules under `path` that can be units.

    places  of the nodes that are computed in `path`
    """
    by_child: dict[Path, list[int]] = {}
    for place in places:
        home = plan.homes[nodes[place].name]
        if len(home) > len(path):
            by_child.setdefault(home[: len(path) + 1], []).append(place)
    for child, own in by_child.items():
        unit, start = None, own[0]
        if own[-1] - start + 1 == len(own):
            start = _start(nodes, start, own[-1])
            key = (child, nodes[start].name)
            if key not in plan.known:  # anew at each level, it would take for ever with modules in each other
                plan.known[key] = _unit(plan, child, nodes[start : own[-1] + 1])
            unit = plan.known[key]
        if unit:
            yield start, (own[-1] + 1 - start, unit)
        else:
            yield from _units(plan, child, nodes, own)


def _start(nodes: Sequence[Node], start: int, last: int) -> int:
    """Behind what only puts several values together, so that the module takes one."""
    while start < last and not nodes[start].weights and len(set(nodes[start].inputs)) > 1:
        later = {name for node in nodes[start + 1 : last + 1] for name in node.inputs}
        if later & set(nodes[start].inputs):
            break
        start += 1
    return start


def _unit(plan: Plan, path: Path, nodes: Sequence[Node]) -> Unit | None:
    inside = {node.name for node in nodes} | set(plan.tables_under(path))
    inputs = tuple(dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside))
    outputs = [node.name for node in nodes if plan.readers[node.name] - inside]
    if len(outputs) != 1 or not 1 <= len(inputs) <= MOST_INPUTS:
        return None
    unit = Unit(path, inputs, outputs[0], tuple(_steps(plan, path, nodes)), False)
    unit = replace(unit, chain=_is_chain(plan, unit))
    return None if path in plan.numbered and not unit.chain else unit


def _is_chain(plan: Plan, unit: Unit) -> bool:
    """Whether each step takes what the one before it gives, and is a part of the module, in the order of their numbers.

    Where parts have names and not numbers, it is better written out, but for names that no attribute can have, and
    for several modules behind each other.
    """
    depth, before, number = len(unit.path), unit.inputs, -1
    is_numbered = unit.path in plan.numbered
    called = {step.path for step in unit.steps if step.unit}
    if any(not any(plan.paths[name][: len(path)] == path for path in called) for name in plan.tables_under(unit.path)):
        return False
    if not is_numbered and (not unit.path or not _is_listed(unit, plan.children[unit.path])):
        return False
    for step in unit.steps:
        has_weights = step.unit is not None or (step.node is not None and bool(step.node.weights))
        fits = len(step.path) == depth + 1 if has_weights else step.node is not None and step.node.kind in IN_SEQUENCES
        if step.inputs != before or len(step.path) <= depth or not fits:
            return False
        before, part = (step.output,), step.path[depth]
        if is_numbered:
            if not part.isdigit() or not number < int(part) < number + 9:
                return False
            number = int(part)
    return before == (unit.output,) and len({step.path[depth] for step in unit.steps}) == len(unit.steps)


def _is_listed(unit: Unit, parts: Sequence[str]) -> bool:
    are_modules = len(unit.steps) > 2 and all(step.unit for step in unit.steps)
    return are_modules or not all(part.isidentifier() for part in parts)
