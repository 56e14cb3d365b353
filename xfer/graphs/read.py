"""From JSON to a graph, strictly: nothing that a backend or a shape would stumble over comes in.

Nothing is allocated: shapes are numbers, and their bounds are here.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from xfer.errors import ConfigError, expected
from xfer.graphs.graph import FORMAT, MOST_NODES, Graph, Node
from xfer.graphs.kinds import KINDS, MOST_AXES, MOST_ENTRIES, Kind, is_integer

IMAGE = "image"
MOST_INPUTS = 200_000  # of all nodes together: DenseNet-201 has 3,000
MOST_TENSORS = 100_000
MOST_PIXELS = 4096  # of a side of the picture
MOST_WEIGHTS = 2**32
"""Of all weights together, 16 GiB in float32: the largest network of torchvision has 0.6 * 2**30."""
MOST_STAGES = 100  # that a graph names itself
LONGEST_NAME = 200
MOST_PARTS = 32  # of a name, between dots: modules within modules

_OF_ANOTHER = "Cure: the xfer that wrote it"
_KEYS = ("format", "head", "size", "fixed", "nodes", "weights")
_STAGES = "stages"  # only of a network that names its own
_NODE = ("name", "kind", "inputs", "attributes", "weights")


def graph_from_json(data: object, what: str = "network") -> Graph:
    """The graph of which `data` is `Graph.as_json()`, with the order of its weights kept.

    Raises ConfigError, one line that begins with `what`, for anything that is no graph.
    """
    # Before all else: a later one may have other keys.
    if isinstance(data, dict) and "format" in data and (type(data["format"]) is not int or data["format"] != FORMAT):
        raise ConfigError(f"{what}: format = {_short(data['format'])}: expected {FORMAT}. {_OF_ANOTHER}")
    if not isinstance(data, dict) or set(data) - {_STAGES} != set(_KEYS):
        received = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise ConfigError(f"{what}: expected an object with {', '.join(_KEYS)}. Received: {_short(received)}")
    size = data["size"]
    if not isinstance(size, list) or len(size) != 2 or not all(is_integer(side, 1, MOST_PIXELS) for side in size):
        raise ConfigError(f"{what}: size = {_short(size)}: expected [height, width], each from 1 to {MOST_PIXELS:,}")
    if not isinstance(data["fixed"], bool):
        raise ConfigError(f"{what}: fixed = {_short(data['fixed'])}: expected true or false")
    shapes = _shapes(data["weights"], what)
    nodes = _nodes(data["nodes"], shapes, what)
    stages = _stages(data[_STAGES], nodes, what) if _STAGES in data else {}
    graph = Graph(nodes, shapes, _head(data["head"], nodes, what), (size[0], size[1]), data["fixed"], stages)
    _refuse_idle(graph, what)
    return graph


def _shapes(data: object, what: str) -> dict[str, tuple[int, ...]]:
    if not isinstance(data, dict):
        raise ConfigError(f"{what}: weights = {_short(data)}: expected an object of names and shapes")
    if len(data) > MOST_TENSORS:
        raise ConfigError(f"{what}: {len(data):,} tensors of weights: expected at most {MOST_TENSORS:,}")
    total = 0
    for name, shape in data.items():
        _refuse_name(name, f"{what}: weights")
        sizes = isinstance(shape, list) and len(shape) <= MOST_AXES
        if not sizes or not all(is_integer(size, 1, MOST_ENTRIES) for size in shape):
            expectation = f"at most {MOST_AXES} integers from 1 to {MOST_ENTRIES:,}"
            raise ConfigError(f"{what}: weight {name}: shape = {_short(shape)}: expected {expectation}")
        total += math.prod(shape)
    if total > MOST_WEIGHTS:
        raise ConfigError(f"{what}: {total:,} weights: expected at most {MOST_WEIGHTS:,}. Cure: a smaller network")
    return {name: tuple(shape) for name, shape in data.items()}


def _stages(data: object, nodes: Sequence[Node], what: str) -> dict[str, str]:
    """Whether everything passes where they begin is for `xfer.graphs.stages` to say."""
    names = {node.name for node in nodes}
    if not isinstance(data, dict) or not data or not all(isinstance(n, str) and n in names for n in data.values()):
        raise ConfigError(f"{what}: {_STAGES} = {_short(data)}: expected an object of names of stages and of nodes")
    if len(data) > MOST_STAGES:
        raise ConfigError(f"{what}: {len(data):,} {_STAGES}: expected at most {MOST_STAGES}. Cure: leave out some")
    for name in data:
        _refuse_name(name, f"{what}: {_STAGES}")
    return dict(data)


def _nodes(data: object, shapes: Mapping[str, tuple[int, ...]], what: str) -> tuple[Node, ...]:
    if not isinstance(data, list) or not 1 <= len(data) <= MOST_NODES:
        received = f"{len(data):,} of them" if isinstance(data, list) else _short(data)
        raise ConfigError(f"{what}: nodes: expected a list of 1 to {MOST_NODES:,}. Received: {received}")
    nodes: dict[str, Node] = {}
    inputs = 0
    for number, row in enumerate(data):
        node = _node(row, f"{what}: node {number}")
        where, inputs = f"{what}: node {node.name}", inputs + len(node.inputs)
        if inputs > MOST_INPUTS:
            raise ConfigError(f"{where}: more than {MOST_INPUTS:,} inputs up to here. Cure: a smaller network")
        if node.name in nodes:
            raise ConfigError(f"{where}: two nodes of this name. Cure: a name for each")
        if (number == 0) != (node.kind == IMAGE) or (number == 0) != (node.name == IMAGE):
            raise ConfigError(f"{where}: expected the first node, and no other, of the name and the kind {IMAGE}")
        for name in node.inputs:
            if name not in nodes:
                raise ConfigError(f"{where}: input {_short(name)}: no earlier node has this name. Cure: nodes in order")
        _refuse_weights(node, shapes, where)
        nodes[node.name] = node
    return tuple(nodes.values())


def _node(row: object, where: str) -> Node:
    """One node, by itself: its kind, how many inputs it has, and its attributes."""
    if not isinstance(row, list) or len(row) != len(_NODE):
        raise ConfigError(f"{where}: expected a list of {', '.join(_NODE)}. Received: {_short(row)}")
    name, kind, inputs, attributes, weights = row
    _refuse_name(name, where)
    where = f"{where.rpartition(' ')[0]} {name}"
    if not isinstance(kind, str) or kind not in KINDS:
        received = kind[:60] if isinstance(kind, str) else _short(kind)
        raise ConfigError(f"{expected(f'{where}: kind', received, KINDS)} {_OF_ANOTHER}")
    if not isinstance(inputs, list) or not all(isinstance(i, str) for i in inputs):
        raise ConfigError(f"{where}: inputs = {_short(inputs)}: expected a list of names")
    for what, part in (("attributes", attributes), ("weights", weights)):
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            raise ConfigError(f"{where}: {what} = {_short(part)}: expected an object")
    _refuse_attributes(KINDS[kind], attributes, where)
    fewest, most = KINDS[kind].inputs
    if "value" in KINDS[kind].optional:
        fewest = most = 1 if "value" in attributes else 2
    if not fewest <= len(inputs) <= most:
        count = str(fewest) if fewest == most else f"{fewest} to {most:,}"
        raise ConfigError(f"{where}: {len(inputs)} inputs: expected {count} for the kind {kind}")
    if kind == "slice" and attributes["stop"] <= attributes["start"]:
        raise ConfigError(f"{where}: stop = {attributes['stop']}: expected more than start = {attributes['start']}")
    if "shift" in attributes and any(map(operator.ge, attributes["shift"], attributes["window"])):
        raise ConfigError(f"{where}: shift = {attributes['shift']}: expected less than window = {attributes['window']}")
    return Node(name, kind, tuple(inputs), attributes, weights)


def _refuse_attributes(kind: Kind, attributes: Mapping[str, Any], where: str) -> None:
    known = {**kind.required, **kind.optional}
    for name, value in attributes.items():
        if name not in known:
            raise ConfigError(f"{where}: attribute {_short(name)}: expected {', '.join(known) or 'none'}")
        if not known[name].holds(value):
            raise ConfigError(f"{where}: {name} = {_short(value)}: expected {known[name].text}")
    if missing := [name for name in kind.required if name not in attributes]:
        raise ConfigError(f"{where}: without {', '.join(missing)}. Expected: {', '.join(kind.required)}")


def _refuse_weights(node: Node, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Slots that the kind has, weights that are there, and shapes that fit each other."""
    kind = KINDS[node.kind]
    needed = [slot for slot in kind.slots if slot not in kind.spare]
    if not set(needed) <= set(node.weights) <= set(kind.slots):
        received = ", ".join(map(_short, node.weights)) or "none"
        raise ConfigError(f"{where}: slots {received}: expected {', '.join(kind.slots) or 'none'} ({node.kind})")
    lengths: dict[str, int] = {}
    for slot, text in kind.slots.items():
        if slot not in node.weights:
            continue
        name = node.weights[slot]
        if not isinstance(name, str) or name not in shapes:
            raise ConfigError(f"{where}: {slot} = {_short(name)}: no weight of this name. Cure: its shape in weights")
        if text != "..." and not _fits(shapes[name], text, lengths):
            raise ConfigError(f"{where}: {slot} = {name}: shape {list(shapes[name])} is no ({', '.join(text.split())})")
    _refuse_parts(node, lengths, where)


def _fits(shape: tuple[int, ...], text: str, lengths: dict[str, int]) -> bool:
    """Whether a shape is as its letters say; the length of each letter is kept for the weights that follow."""
    letters = text.split()
    if len(letters) != len(shape):
        return False
    for size, letter in zip(shape, letters, strict=True):
        if letter.isdigit():
            if size != int(letter):
                return False
            continue
        times = int(letter[:-1] or 1)
        if lengths.setdefault(letter[-1], size // times) * times != size:
            return False
    return True


def _refuse_parts(node: Node, lengths: Mapping[str, int], where: str) -> None:
    """Groups and heads divide what they are parts of, and biases of a window are for each head and each way in it."""
    for attribute, letters in (("groups", "OC"), ("heads", "D")):
        for length in (lengths[letter] for letter in letters if letter in lengths):
            if (parts := node.attributes.get(attribute)) and length % parts:
                raise ConfigError(f"{where}: {attribute} = {parts}: expected a divisor of {length:,}")
    if "H" in lengths and lengths["H"] != node.attributes["heads"]:
        raise ConfigError(f"{where}: biases for {lengths['H']:,} heads: expected {node.attributes['heads']:,}")
    if "R" in lengths:
        height, width = node.attributes["window"]
        if lengths["R"] != (rows := (2 * height - 1) * (2 * width - 1)):
            raise ConfigError(f"{where}: {lengths['R']:,} rows of biases: expected {rows:,} for that window")


def _head(name: object, nodes: tuple[Node, ...], what: str) -> str:
    kinds = {node.name: node.kind for node in nodes}
    if not isinstance(name, str) or kinds.get(name) not in ("linear", "conv"):
        raise ConfigError(f"{what}: head = {_short(name)}: expected the name of a node of the kind linear or conv")
    return name


def _refuse_idle(graph: Graph, what: str) -> None:
    """Weights that no node has, and nodes that nothing reads."""
    used = {name for node in graph.nodes for name in node.weights.values()}
    if idle := [name for name in graph.weights if name not in used]:
        raise ConfigError(f"{what}: weights of no node: {_some(idle)}. Cure: leave them out")
    readers = graph.readers()
    if dead := [node.name for node in graph.nodes[:-1] if not readers[node.name]]:
        raise ConfigError(f"{what}: nodes that nothing reads: {_some(dead)}. Cure: leave them out")


def _refuse_name(name: object, where: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(rf"[\w.-]{{1,{LONGEST_NAME}}}", name, re.ASCII):
        raise ConfigError(f"{where}: name {_short(name)}: expected 1 to {LONGEST_NAME} letters, digits and ._-")
    if name.count(".") >= MOST_PARTS:
        raise ConfigError(f"{where}: name {_short(name)}: expected at most {MOST_PARTS} parts between dots")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _short(value: object) -> str:
    """Whatever it is, on one line that stays short, and made in a time that does not depend on its size."""
    if isinstance(value, str):
        text = repr(value[:60])
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        text = "a number of more than 64 bits"
    elif isinstance(value, list | dict):
        text = "[" + ", ".join(_items(value)) + "]"
    else:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _items(value: list[Any] | dict[Any, Any]) -> Iterator[str]:
    """The first few entries; those inside of them by their type alone."""
    for item in islice(value, 6):
        yield type(item).__name__ if isinstance(item, list | dict) else _short(item)
