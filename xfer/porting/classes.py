"""From units to classes: those of the same text, but for numbers, are one class with arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

from xfer.porting.cells import Hole, Piece, Text
from xfer.porting.helpers import free_name
from xfer.porting.leaves import NORMS, PARTITION
from xfer.porting.modules import Unit

_CHANNELS = frozenset(["in_channels", "out_channels", "channels", "width"])
_SIZES = frozenset(["group", "size", "start", "stop"])
_DEFAULTS = frozenset(["stride", "padding", "dilation", "group"])  # arguments that may be left out
_REPEATED = 3  # this often, a short sequence becomes a class


@dataclass(frozen=True)
class Draft:
    """A unit's text.

    cells      attribute -> what makes it; of a sequence, its layers, under no names where these are their places
    arguments  of `construct`; none where the unit is a sequence
    lines      of `construct`
    """

    unit: Unit
    cells: tuple[tuple[str, Text], ...]
    arguments: tuple[str, ...] = ()
    lines: tuple[Text, ...] = ()

    def holes(self) -> list[Hole]:
        return [piece for text in self._texts() for piece in text if isinstance(piece, Hole)]

    def key(self) -> tuple[object, ...]:
        """The same for those that differ in numbers alone."""
        texts = [tuple((p.role, p.before) if isinstance(p, Hole) else p for p in text) for text in self._texts()]
        return (self.arguments, tuple(name for name, _ in self.cells), *texts)

    def _texts(self) -> Iterator[Text]:
        yield from (text for _, text in self.cells)
        yield from self.lines


def as_classes(drafts: Sequence[Draft], taken: set[str]) -> tuple[list[str], dict[tuple[str, ...], Text]]:
    """The classes' text, and path of each unit -> what makes it. Names of classes are added to those taken."""
    classes, made = list[str](), dict[tuple[str, ...], Text]()
    by_key: dict[tuple[object, ...], list[Draft]] = {}
    for draft in drafts:
        by_key.setdefault(draft.key(), []).append(draft)
    for group in by_key.values():
        if group[0].unit.chain and not _is_block(group):
            made |= {draft.unit.path: sequence(draft) for draft in group}
            continue
        name = free_name(_class_name([draft.unit for draft in group]), taken)
        taken.add(name)
        parameters = _parameters(group)
        classes.append(class_text(name, group, parameters))
        made |= {draft.unit.path: _instance(name, draft, number, parameters) for number, draft in enumerate(group)}
    return classes, made


def _is_block(group: Sequence[Draft]) -> bool:
    """Whether a sequence is a class of its own: short, of layers alone, and often repeated."""
    steps = group[0].unit.steps
    return len(group) >= _REPEATED and 1 < len(steps) < 6 and all(step.node for step in steps)


def sequence(draft: Draft) -> Text:
    """A sequence as an expression, a layer on each line; those that are the same, as a loop."""
    opening, closing = ("OrderedDict([", "])") if draft.cells[0][0] else ("", "")
    lines = _by_name(draft.cells) if draft.cells[0][0] else _by_place(draft.cells)
    return f"nn.SequentialCell({opening}", *indented(tuple(lines)), f"\n{closing})"


def _by_place(cells: Sequence[tuple[str, Text]]) -> Iterator[Piece]:
    for text, same in groupby(text for _, text in cells):
        count = len(list(same))
        if count > 2:
            yield from ("\n*[", *text, " for _ in range(", Hole("count", count), ")],")
        else:
            yield from ("\n", *text, ",") * count


def _by_name(cells: Sequence[tuple[str, Text]]) -> Iterator[Piece]:
    for text, same in groupby(cells, lambda cell: cell[1]):
        names = [name for name, _ in same]
        stem, first = re.fullmatch(r"(.*?)(\d*)", names[0]).groups()  # type: ignore[union-attr]  # all names match
        start = int(first or 0)
        if len(names) > 2 and names == [f"{stem}{start + i}" for i in range(len(names))]:
            numbers = f"{start}, {start + len(names)}" if start else str(len(names))
            yield from (f'\n*[(f"{stem}{{i}}", ', *text, f") for i in range({numbers})],")
        else:
            yield from (piece for name in names for piece in (f'\n("{name}", ', *text, "),"))


def indented(text: Text) -> Text:
    return tuple(
        replace(p, before=p.before.replace("\n", "\n    ")) if isinstance(p, Hole) else p.replace("\n", "\n    ")
        for p in text
    )


@dataclass(frozen=True)
class Argument:
    """An argument of a class. holes: which it stands in for; values: one for each unit."""

    name: str
    holes: tuple[int, ...]
    values: tuple[object, ...]
    default: object = None

    @property
    def signature(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default!r}"


def _parameters(group: Sequence[Draft]) -> list[Argument]:
    """Holes that differ between the units; those that never differ from each other are one argument."""
    columns = list(zip(*(draft.holes() for draft in group), strict=True))
    varying = {i: tuple(hole.value for hole in column) for i, column in enumerate(columns) if _differ(column)}
    roles = {i: columns[i][0].role.rstrip("0123456789") for i in varying}
    merged: dict[tuple[object, ...], list[int]] = {}
    for i, values in varying.items():
        merged.setdefault(("" if roles[i] in _CHANNELS | _SIZES else roles[i], values), []).append(i)
    found, taken = list[Argument](), {name for name, _ in group[0].cells}
    for holes in merged.values():
        role = _channels(holes, roles) if _CHANNELS & {roles[i] for i in holes} else roles[holes[0]]
        name = free_name(role, taken)
        taken.add(name)
        default = columns[holes[0]][0].default if role in _DEFAULTS else None
        found.append(Argument(name, tuple(holes), varying[holes[0]], default))
    ranks = {"channels": 0, "in_channels": 0, "width": 1, "out_channels": 2}
    found.sort(key=lambda p: ranks.get(p.name.rstrip("0123456789"), 3) + 2 * (p.default is not None))
    return [replace(found[0], default=None), *found[1:]] if found else []  # commas stand before all but the first


def _channels(holes: Sequence[int], roles: Mapping[int, str]) -> str:
    """What an argument is called that is in these holes: whether they are what enters the unit, or what leaves it."""
    inward = [i for i, role in roles.items() if role in _CHANNELS and role != "out_channels"]
    outward = [i for i, role in roles.items() if role in _CHANNELS and role != "in_channels"]
    enters, leaves = bool(inward) and inward[0] in holes, bool(outward) and outward[-1] in holes
    if enters and leaves:
        return "channels"
    return "in_channels" if enters else "out_channels" if leaves else "width"


def _differ(column: Sequence[Hole]) -> bool:
    return any(hole.value != column[0].value for hole in column)


def _instance(name: str, draft: Draft, number: int, parameters: Sequence[Argument]) -> Text:
    pieces: list[Piece] = []
    for parameter in parameters:
        key = "" if parameter.name.rstrip("0123456789") in _CHANNELS else f"{parameter.name}="
        separator = ", " if pieces else ""
        pieces.append(Hole(parameter.name, parameter.values[number], f"{separator}{key}", parameter.default))
    return (f"{name}(", *pieces, ")")


def class_text(
    name: str,
    group: Sequence[Draft],
    parameters: Sequence[Argument] = (),
    more: Sequence[str] = (),
    after: Sequence[str] = (),
) -> str:
    """The class of these units. `more`: its docstring; `after`: what `__init__` ends with."""
    draft = group[0]
    named = {hole: parameter.name for parameter in parameters for hole in parameter.holes}
    count = sum(isinstance(piece, Hole) for _, text in draft.cells for piece in text)
    stored = list(dict.fromkeys(name for hole, name in sorted(named.items()) if hole >= count))
    signature = ", ".join(["self", *(parameter.signature for parameter in parameters)])
    body = [f"    def __init__({signature}):"]
    if draft.unit.chain:
        filled = _filled(indented(indented(sequence(draft))), named, 0).removeprefix("nn.SequentialCell")
        body += [f"        super().__init__{filled}", *(f"        {line}" for line in after)]
    else:
        body += ["        super().__init__()", *(f"        self.{p} = {p}" for p in stored)]
        place = 0
        for attribute, text in draft.cells:
            body.append(f"        self.{attribute} = {_filled(indented(indented(text)), named, place)}")
            place += sum(isinstance(piece, Hole) for piece in text)
        body += [
            *(f"        {line}" for line in after),
            "",
            f"    def construct({', '.join(['self', *draft.arguments])}):",
        ]
        for text in draft.lines:
            body.append("        " + _filled(text, {hole: f"self.{p}" for hole, p in named.items()}, place))
            place += sum(isinstance(piece, Hole) for piece in text)
    base = "nn.SequentialCell" if draft.unit.chain else "nn.Cell"
    return "\n".join([f"class {name}({base}):", *_docstring(group, more), *body, ""])


def _filled(text: Text, named: Mapping[int, str], place: int) -> str:
    """The text with arguments in the holes that are some; `place`: how many holes stood before it in the class."""
    parts = []
    for piece in text:
        if isinstance(piece, Hole):
            parts.append(piece.before + named[place] if place in named else piece.text())
            place += 1
        else:
            parts.append(piece)
    return "".join(parts)


def _docstring(group: Sequence[Draft], more: Sequence[str]) -> list[str]:
    """Of the network's own class, what is given; of another, which modules it is."""
    if len(more) > 1:
        return [f'    """{more[0]}', *(f"    {line}".rstrip() for line in more[1:]), '    """', ""]
    if more:
        return [f'    """{more[0]}"""', ""]
    paths = [".".join(draft.unit.path) for draft in group]
    shown = paths[:4] if sum(map(len, paths[:4])) < 90 else paths[:1]
    names = ", ".join(shown) + (f" and {len(paths) - len(shown)} more" if len(paths) > len(shown) else "")
    return [f'    """{names}"""', ""]


_PARTS = {"conv": "Conv", "linear": "Dense", **dict.fromkeys(NORMS, "Norm")}
_PARTS |= {"relu": "ReLU", "relu6": "ReLU6", "gelu": "GELU", "silu": "SiLU", "hardswish": "HSwish", "tanh": "Tanh"}
_PARTS |= {"hardsigmoid": "HSigmoid", "sigmoid": "Sigmoid", "leaky_relu": "LeakyReLU"}


def _class_name(units: Sequence[Unit]) -> str:
    """By what it computes, or else by its module's name."""
    unit = units[0]
    kinds = [step.node.kind if step.node else "" for step in unit.steps]
    if 1 < len(kinds) < 5 and all(kind in _PARTS for kind in kinds):
        return "".join(_PARTS[kind] for kind in kinds)
    if {"attention", "window_attention", "cosine_window_attention", PARTITION} & set(kinds):
        return "TransformerBlock"
    if "mul" in kinds and ("mean" in kinds or "adaptive_avg_pool" in kinds) and "add" not in kinds:
        return "SqueezeExcitation"
    last = [step for step in unit.steps if step.node and step.node.kind == "add" and len(step.inputs) == 2]
    if last and last[-1] in unit.steps[-3:]:
        return "ResidualBlock" if set(last[-1].inputs) & set(unit.inputs) or len(last) > 1 else "ProjectionBlock"
    words = [_camel(unit.path) for unit in units]
    pairs = zip(words[0], *words[1:], strict=False)
    common = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, pairs))
    return (re.sub(r"\d+$", "", common) if len(words) > 1 else common) or words[0]


def _camel(path: Sequence[str]) -> str:
    part = next((part for part in reversed(path) if not part.isdigit()), "Part")
    word = "".join(w[:1].upper() + w[1:] for w in re.split(r"\W|_", part, flags=re.ASCII))
    word = re.sub(r"^\d+", "", word) or "Part"
    return f"{re.sub(r'[0-9]+$', '', word) or word}Block" if path and path[-1].isdigit() else word
