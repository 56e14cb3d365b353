"""A network as MindSpore source: one file that needs neither xfer nor torch."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path as File

import numpy as np

from xfer.errors import ConfigError
from xfer.formats.mindspore_names import to_mindspore_names
from xfer.graphs.graph import Graph
from xfer.graphs.shapes import shapes_of
from xfer.porting.cells import IN_LAYERS, PARAMETERS, Text, in_sequence, layer, parameter
from xfer.porting.classes import Draft, as_classes, class_text, indented
from xfer.porting.construct import lines_of
from xfer.porting.helpers import HELPERS, NAMES_OF_CELLS, PREFIXES_OF_CELLS, free_name, used_in
from xfer.porting.modules import Path, Plan, Step, Unit, plan_of, root_of
from xfer.system.files import write_text

_NAMES = frozenset(
    [
        *HELPERS,
        "Normal",
        "OrderedDict",
        "Parameter",
        "RENAMED",
        "initializer",
        "ms",
        "nn",
        "np",
        "ops",
        "range",
        "setattr",
        "super",
    ]
)
_WHY_RENAMED = "# The names of parameters in the checkpoint, where no attribute can have them."
_RENAMING = (
    "for parameter in self.get_parameters():",
    "    parameter.name = RENAMED.get(parameter.name, parameter.name)",
)


def mindspore_source(graph: Graph, name: str) -> str:
    """A module with the class `name`, an nn.Cell from normalised pictures (N, 3, H, W) to logits (N, C).

    Its parameters have the names that `xfer convert` writes to a .ckpt. Raises ConfigError for a name that no class
    can have, and as `shapes_of`.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name in _NAMES:
        raise ConfigError(f"{name!r} is no name for a class. Cure: letters, digits and _, no word of Python's")
    return _Writer(graph, name).text()


def write_source(path: File, graph: Graph, name: str, overwrite: bool = False) -> None:
    """Write it as a file of Python, whole or not at all. Raises ConfigError as `refuse_source`."""
    text = mindspore_source(graph, name)
    refuse_source(path, overwrite)
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}). Cure: make room there") from error


def refuse_source(path: File, overwrite: bool) -> None:
    """Raises ConfigError for a file that is no Python's by its name, and for one that is there already."""
    if path.suffix != ".py":
        raise ConfigError(f"{path}: expected a file ending in .py. Cure: {path.stem}.py")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: there already. Cure: another file, or --overwrite")


def class_name(target: str) -> str:
    """What a network is called in Python, after what made it: `nets:small_net` -> SmallNet; else Network."""
    last = re.split(r"[^A-Za-z0-9_]+", target)[-1]
    name = last if last[:1].isupper() else "".join(part.capitalize() for part in last.split("_"))
    return name if name.isidentifier() and not keyword.iskeyword(name) and name not in _NAMES else "Network"


class _Writer:
    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name, self.plan = graph, name, plan_of(graph)
        self.ranks = {node: len(shape) for node, shape in shapes_of(graph).items()}
        self.root = root_of(self.plan)
        self.attributes = _attributes(self.plan, frozenset(unit.path for unit in self.root.all_units() if unit.chain))
        self.made: dict[Path, Text] = {}

    def text(self) -> str:
        root = self.root
        taken, classes = {self.name, *_NAMES, *keyword.kwlist}, list[str]()
        *inner, _ = root.all_units()
        heights = _heights(root)
        for _, units in groupby(sorted(inner, key=lambda unit: heights[unit.path]), lambda unit: heights[unit.path]):
            texts, made = as_classes([self.draft(unit) for unit in units], taken)
            classes += texts
            self.made |= made
        renamed = self.renamed()
        after = _RENAMING if renamed else ()
        classes.append(class_text(self.name, [self.draft(root)], more=self.docstring(), after=after))
        body = "\n\n".join(classes)
        if renamed:
            rows = "".join(f'    "{own}": "{file}",\n' for own, file in renamed.items())
            body = f"{_WHY_RENAMED}\nRENAMED = {{\n{rows}}}\n\n\n{body}"
        body = "\n\n".join([*used_in(body), body])
        return f"{_imports(body)}\n\n{body}"

    def draft(self, unit: Unit) -> Draft:
        if unit.chain and unit.path in self.plan.numbered:
            return Draft(unit, tuple(("", text) for text in self.layers(unit)))
        if unit.chain:
            return Draft(unit, tuple((step.path[len(unit.path)], self.cell(step)) for step in unit.steps))
        cells = dict[str, Text]()
        inside: dict[Path, Text] = {}
        pools: dict[str, str] = {}
        calls = [step for step in unit.steps if step.unit or (step.node and step.node.kind in IN_LAYERS)]
        for step in calls:
            if step.node and not step.node.weights:
                pools[step.output] = self.pool(unit, step)
                cells[pools[step.output]] = self.cell(step)
            else:
                self.put(inside, step.path, self.cell(step))
        for name in self.plan.tables_under(unit.path):
            table = self.plan.tables[name]
            self.put(inside, self.plan.paths[name], parameter(table, self.graph.weights[table.weights["value"]]))
        cells |= dict(self.members(unit.path, inside))
        first_used = [pools.get(step.output) or self.attributes[step.path[: len(unit.path) + 1]] for step in calls]
        cells = {name: cells[name] for name in (*(name for name in cells if name not in first_used), *first_used)}

        def access(step: Step) -> str:
            return f"self.{pools[step.output]}" if step.output in pools else self.reach(unit, step.path)

        arguments, lines = lines_of(self.plan, unit, access, self.ranks)
        return Draft(unit, tuple(cells.items()), arguments, tuple(lines))

    def put(self, inside: dict[Path, Text], path: Path, text: Text) -> None:
        if inside.setdefault(path, text) != text:
            raise ConfigError(f"{'.'.join(path)}: two layers of different settings share their weights")

    def members(self, scope: Path, inside: Mapping[Path, Text]) -> Iterator[tuple[str, Text]]:
        """Attributes of a cell and what makes them: those of modules that are no units hold parts of their own."""
        for part in self.plan.children[scope]:
            path = (*scope, part)
            if path in inside:
                yield self.attributes[path], inside[path]
            elif any(other[: len(path)] == path for other in inside):
                yield self.attributes[path], self.container(path, inside)

    def container(self, path: Path, inside: Mapping[Path, Text]) -> Text:
        members = dict(self.members(path, inside))
        if path not in self.plan.numbered:
            lines = [piece for name, text in members.items() for piece in ("\n", f"{name}=", *text, ",")]
            return "Parts(", *indented(tuple(lines)), "\n)"
        filled = [members.get(str(i), ("nn.Identity()",)) for i in range(max(map(int, members)) + 1)]
        return "nn.CellList([", *indented(tuple(p for text in filled for p in ("\n", *text, ","))), "\n])"

    def layers(self, unit: Unit) -> Iterator[Text]:
        number = 0
        for step in unit.steps:
            place = int(step.path[len(unit.path)])
            yield from [("nn.Identity()",)] * (place - number)
            number = place + 1
            yield self.cell(step)

    def cell(self, step: Step) -> Text:
        if step.unit:
            return self.made[step.unit.path]
        assert step.node is not None, "a step is one or the other"
        if step.node.weights or step.node.kind in IN_LAYERS:
            return layer(self.graph, step.node, self.ranks[step.inputs[0]])
        return in_sequence(step.node)

    def pool(self, unit: Unit, step: Step) -> str:
        name = _word("_".join(step.path[len(self.plan.homes[step.output]) :]), "pool")
        taken = {self.attributes[(*unit.path, part)] for part in self.plan.children.get(unit.path, ())}
        return free_name(name, taken, "_")

    def reach(self, unit: Unit, path: Path) -> str:
        text = "self"
        for depth in range(len(unit.path), len(path)):
            is_item = path[:depth] in self.plan.numbered and depth > len(unit.path)
            text += f"[{path[depth]}]" if is_item else f".{self.attributes[path[: depth + 1]]}"
        return text

    def renamed(self) -> dict[str, str]:
        """Parameter, as the cells name it -> its name in the file, where these differ."""
        zero = np.float32(0)
        files = to_mindspore_names({name: np.broadcast_to(zero, shape) for name, shape in self.graph.weights.items()})
        file_of = dict(zip(self.graph.weights, files, strict=True))
        found = dict[str, str]()
        for node in self.plan.nodes + tuple(self.plan.tables.values()):
            path = self.plan.paths[node.name]
            stem = ".".join(self.attributes[path[: i + 1]] for i in range(len(path))) if node.weights else ""
            for slot, weight in node.weights.items():
                own = stem if node.kind == "table" else f"{stem}.{PARAMETERS[node.kind][slot]}"
                if own != file_of[weight]:
                    found[own] = file_of[weight]
        return found

    def docstring(self) -> list[str]:
        height, width = self.graph.size
        fixed = " and no others" if self.graph.fixed else ""
        lines = [f"Normalised pictures (N, 3, {height}, {width}){fixed} -> logits (N, {self.graph.classes})."]
        left = [line for kind in ("dropout", "stochastic_depth") for line in self.left_out(kind)]
        return [*lines, "", "Left out, as it does nothing in inference:", *left] if left else lines

    def left_out(self, kind: str) -> list[str]:
        """Where it is in the original, and with which probabilities."""
        nodes = [node for node in self.graph.nodes if node.kind == kind]
        if not nodes:
            return []
        modules = [".".join(self.plan.home(tuple(node.name.split(".")))) or node.name for node in nodes]
        shares = [f"{node.attributes['p']:.4g}" for node in nodes]
        shares = shares[:1] if len(set(shares)) == 1 else shares
        some = len(modules) < 4
        where = ", ".join(dict.fromkeys(modules)) if some else f"{modules[0]} to {modules[-1]}, {len(modules)} places"
        return textwrap.wrap(f"{kind.replace('_', ' ')} in {where}: p = {', '.join(shares)}", 112)


def _imports(body: str) -> str:
    names = [name for name in ("nn", "ops") if re.search(rf"\b{name}\.", body)]
    lines = ["from collections import OrderedDict", ""] if "OrderedDict(" in body else []
    names = ["Parameter"] * bool(re.search(r"\bParameter\(", body)) + names
    lines += ["import numpy as np"] if re.search(r"\bnp\.", body) else []
    lines += ["import mindspore as ms"] if re.search(r"\bms\.", body) else []
    lines.append(f"from mindspore import {', '.join(names)}")
    first = [name for name in ("Normal", "initializer") if re.search(rf"\b{name}\(", body)]
    return "\n".join([*lines, *([f"from mindspore.common.initializer import {', '.join(first)}"] if first else []), ""])


def _heights(root: Unit) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for unit in root.all_units():
        found[unit.path] = 1 + max((found[step.unit.path] for step in unit.steps if step.unit), default=0)
    return found


def _attributes(plan: Plan, chains: frozenset[Path]) -> dict[Path, str]:
    """Path of a module or a layer -> the attribute that it is, or its name in a sequence."""
    found: dict[Path, str] = {}
    for scope, parts in plan.children.items():
        taken = set[str]()
        for part in parts:
            is_kept = scope in chains or (scope in plan.numbered and scope)
            name = part if is_kept else free_name(_word(part, "layer"), taken, "_")
            taken.add(name)
            found[(*scope, part)] = name
    return found


def _word(part: str, before_digits: str) -> str:
    word = re.sub(r"\W", "_", part, flags=re.ASCII)
    word = f"{before_digits}{word}" if word[0].isdigit() else word
    is_taken = word.startswith(PREFIXES_OF_CELLS) or word in NAMES_OF_CELLS or keyword.iskeyword(word)
    return f"layer_{word.strip('_')}" if is_taken else word
