"""What a unit computes, as lines of `construct` in which every name is that of a value that is still to be used."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Mapping, Sequence

from xfer.porting.cells import IN_LAYERS, NESTED, Piece, Text, call, operation, text_of
from xfer.porting.helpers import free_name
from xfer.porting.modules import Plan, Step, Unit

_TAKEN = frozenset(["self", "merge_patches", "ms", "nn", "np", "ops", "x", *dir(builtins)])
_LONGEST = 60  # characters of an expression that another is written around
_REDUCING = ("mean", "adaptive_avg_pool")

Access = Callable[[Step], str]
"""How a unit reaches the cell or the parameter of a step."""


def lines_of(plan: Plan, unit: Unit, access: Access, ranks: Mapping[str, int]) -> tuple[tuple[str, ...], list[Text]]:
    """Names of the arguments, and the lines. `ranks`: node -> the number of axes of what it gives."""
    names = _Names(plan, unit)
    held: dict[str, Text] = {name: (variable,) for name, variable in names.arguments.items()}
    for name in plan.tables_under(unit.path):
        held[name] = (access(Step(plan.paths[name], (), name, node=plan.tables[name])),)
    lines: list[Text] = []
    for place, step in enumerate(unit.steps):
        text = _expression(step, [held[name] for name in step.inputs], access, ranks)
        if step.output == unit.output and place == len(unit.steps) - 1:
            lines.append(("return ", *text))
        elif names.is_nested(place, ranks) and len(text_of(text)) <= _LONGEST:
            names.pass_on(place)
            held[step.output] = text
        else:
            held[step.output] = (names.variable(place),)
            lines.append((*held[step.output], " = ", *text))
    if not lines or lines[-1][0] != "return ":
        lines.append(("return ", *held[unit.output]))
    return tuple(names.arguments.values()), lines


def _expression(step: Step, inputs: Sequence[Text], access: Access, ranks: Mapping[str, int]) -> Text:
    if step.unit:
        return _call_of(access(step), inputs)
    assert step.node is not None, "a step is one or the other"
    if step.node.kind in IN_LAYERS:
        return call(access(step), step.node.kind, inputs[0], ranks[step.inputs[0]])
    return operation(step.node, inputs, ranks[step.inputs[0]])


def _call_of(cell: str, inputs: Sequence[Text]) -> Text:
    parts: list[Piece] = [piece for text in inputs for piece in (*text, ", ")]
    return f"{cell}(", *parts[:-1], ")"


class _Names:
    """What values are called, while the steps of a unit are written one after another.

    last    value -> the place of the last step that takes it
    bound   value that is still to be used -> its variable
    within  value without a variable, or made of one -> the values that its expression is made of
    """

    def __init__(self, plan: Plan, unit: Unit) -> None:
        self.plan, self.unit = plan, unit
        self.last = {name: place for place, step in enumerate(unit.steps) for name in (step.output, *step.inputs)}
        self.last[unit.output] = len(unit.steps)
        self.bound: dict[str, str] = {}
        self.within: dict[str, tuple[str, ...]] = {}
        self.joined = _joined(unit, plan.tables)
        for name in unit.inputs:
            self.bound[name] = free_name(_word(name.split(".")), set(self.bound.values())) if self.bound else "x"
        self.arguments = dict(self.bound)

    def is_nested(self, place: int, ranks: Mapping[str, int]) -> bool:
        """Whether the next step alone takes what this one gives, and may be written around it."""
        if place + 1 == len(self.unit.steps):
            return False
        step, after = self.unit.steps[place], self.unit.steps[place + 1]
        if after.inputs != (step.output,) or self.last[step.output] > place + 1:
            return False
        if step.node and step.node.kind == "cat":
            return after.unit is not None
        if after.node is None or after.node.kind not in NESTED:
            return False
        return after.node.kind != "batch_norm" or ranks[step.output] in (2, 4)  # else it names its input three times

    def pass_on(self, place: int) -> None:
        """Say that the next step takes what this one does, as this one's value has no variable."""
        self.within[self.unit.steps[place + 1].output] = self._inputs(place)

    def variable(self, place: int) -> str:
        """Name the value of a step, by a name that is free from there on."""
        step = self.unit.steps[place]
        own = [variable for name in self._inputs(place) if (variable := self.bound.get(name))]
        self.bound = {name: variable for name, variable in self.bound.items() if self.last.get(name, -1) > place}
        alive = set(self.bound.values())
        free = [variable for variable in own if variable not in alive]
        purpose = self._purpose(place, "x" in alive)
        joins = len(set(step.inputs) - set(self.plan.tables)) > 1
        if joins and not purpose and "x" not in alive:
            name = "x"
        elif free and (free[0] != "x" or not purpose):
            name = free[0]
        elif not purpose and "x" not in alive:
            name = "x"
        else:
            name = free_name(purpose or self._own_word(place), alive)
        self.bound[step.output] = name
        return name

    def _inputs(self, place: int) -> tuple[str, ...]:
        step = self.unit.steps[place]
        return self.within.get(step.output, step.inputs)

    def _own_word(self, place: int) -> str:
        return _word(self.unit.steps[place].path[len(self.unit.path) :])

    def _purpose(self, place: int, x_is_alive: bool) -> str:
        """What the value is made for, where others join it: empty if it is what is carried on."""
        step = self.unit.steps[place]
        joined = self.joined[step.output]
        if joined == "cat":
            return self._own_word(place)
        if joined == "mul" and step.node and step.node.kind in _REDUCING:
            return "scale"
        return "out" if joined and x_is_alive else ""


def _joined(unit: Unit, tables: Mapping[str, object]) -> dict[str, str]:
    """Value -> the kind of the step that takes it, or what is made of it alone, together with others; "" for none."""
    takers: dict[str, list[Step]] = {}
    for step in unit.steps:
        for name in dict.fromkeys(step.inputs):
            takers.setdefault(name, []).append(step)
    found: dict[str, str] = {}
    for step in reversed(unit.steps):
        found[step.output] = ""
        if len(after := takers.get(step.output, [])) == 1:
            joins = set(after[0].inputs) - {step.output} - set(tables)
            kind = after[0].node.kind if after[0].node else ""
            found[step.output] = kind if joins else found[after[0].output]
    return found


def _word(path: Sequence[str]) -> str:
    """A variable by the last part of a name that is a word."""
    for part in reversed(path):
        word = re.sub(r"_\d+$", "", re.sub(r"\W", "_", part, flags=re.ASCII)).lower()
        if word.isidentifier() and word not in _TAKEN and not keyword.iskeyword(word):
            return word
    return "y"
