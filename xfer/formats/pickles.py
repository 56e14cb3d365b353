"""The value of a pickle that torch wrote, found by reading its opcodes as data.

A pickle is a program that may import and call anything. Here nothing is imported and nothing is called: every global is
a name, the few of a state dict have a meaning, and a call of any other gives a marker that holds nothing but that name.
Opcodes and their arguments are as `pickletools` describes them. Every fault is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pickletools import opcodes

from xfer.formats.markers import Global, Opaque, Storage, Tensor, named, result_of, storage_of


@dataclass(frozen=True)
class Pickled:
    """A pickle's value: dicts with str keys only, lists, tuples, constants, and what xfer.formats.markers has."""

    value: object
    storages: dict[str, Storage]


MAX_OPCODES = 2_000_000  # a state dict of 152 layers has 30,000; an opcode of one byte may make an object of 64

_MARK = Global("mark")
_NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"})
_STRINGS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"})
_BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT"})
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Opaque("builtins.set"),
    "MARK": lambda: _MARK,
}


def interpret(stream: BytesIO) -> Pickled:
    """Read one pickle and leave the stream behind it."""
    stack: list[object] = []
    memo: dict[int, object] = {}
    storages: dict[str, Storage] = {}
    try:
        for name, argument in _opcodes(stream):
            _step(name, argument, stack, memo)
            if name == "BINPERSID":
                _remember(storages, stack[-1])
        return Pickled(stack.pop(), storages)
    except LookupError:
        raise ValueError("its pickle uses a value that it never made") from None


def _opcodes(stream: BytesIO) -> Iterator[tuple[str, object]]:
    """Name and argument of each opcode up to STOP. Unlike pickletools.genops, it reads no argument of others."""
    for _ in range(MAX_OPCODES):
        code = stream.read(1).decode("latin-1")
        if code not in _UNDERSTOOD:
            raise ValueError(_REFUSALS.get(code, "its pickle is cut off or damaged"))
        name, reader = _UNDERSTOOD[code]
        if name == "STOP":
            return
        yield name, reader(stream) if reader else None
    raise ValueError("its pickle is far too long for a state dict")


def _read_global(stream: BytesIO) -> Global:
    """Two lines, module and name, joined by a dot. pickletools decodes escapes in them, which no unpickler does."""
    module, name = stream.readline(), stream.readline()
    if not name.endswith(b"\n"):
        raise ValueError("its pickle is cut off or damaged")
    return named(str(module[:-1], "utf-8"), str(name[:-1], "utf-8"))


def _step(name: str, argument: object, stack: list[object], memo: dict[int, object]) -> None:
    if name in _NUMBERS or name in _STRINGS or name in _BYTES or name == "GLOBAL":
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name in _GETS and isinstance(argument, int):
        stack.append(memo[argument])
    elif name in _PUTS and isinstance(argument, int):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _STACK_OPERATIONS:
        _STACK_OPERATIONS[name](stack)


def _remember(storages: dict[str, Storage], item: object) -> None:
    if isinstance(item, Storage):
        known = storages.setdefault(item.key, item)
        if (known.kind, known.size) != (item.kind, item.size):
            raise ValueError("it gives one storage two types or sizes")


def _pop_marked(stack: list[object]) -> list[object]:
    """What was pushed since the last mark."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _tuple_of(count: int) -> Callable[[list[object]], None]:
    def build(stack: list[object]) -> None:
        if len(stack) < count:
            raise IndexError
        stack[-count:] = [tuple(stack[-count:])]

    return build


def _marked_tuple(stack: list[object]) -> None:
    stack.append(tuple(_pop_marked(stack)))


def _append(stack: list[object]) -> None:
    _extend(stack, [stack.pop()])


def _appends(stack: list[object]) -> None:
    _extend(stack, _pop_marked(stack))


def _extend(stack: list[object], items: list[object]) -> None:
    target = stack[-1]
    if isinstance(target, Opaque):
        return
    if not isinstance(target, list):
        raise ValueError("its pickle appends to something that is not a list")
    target.extend(items)


def _set_item(stack: list[object]) -> None:
    value, key = stack.pop(), stack.pop()
    _update(stack, [key, value])


def _set_items(stack: list[object]) -> None:
    _update(stack, _pop_marked(stack))


def _update(stack: list[object], items: list[object]) -> None:
    """Add keys and values in turn. Keys that are no names are left out: hashing a crafted one could take for ever."""
    target = stack[-1]
    if isinstance(target, Opaque):
        return
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("its pickle sets items of something that is not a dictionary")
    target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str))


def _stack_global(stack: list[object]) -> None:
    name, module = stack.pop(), stack.pop()
    stack.append(named(module, name))


def _drop_state(stack: list[object]) -> None:
    """BUILD sets attributes; the only ones of a state dict are its `_metadata`: versions of torch's layers."""
    stack.pop()
    if not isinstance(stack[-1], dict | Tensor | Opaque):
        raise ValueError("its pickle sets attributes of something that has none")


def _frozen_set(stack: list[object]) -> None:
    _pop_marked(stack)
    stack.append(Opaque("builtins.frozenset"))


def _persistent(stack: list[object]) -> None:
    stack.append(storage_of(stack.pop()))


def _reduce(stack: list[object]) -> None:
    arguments, function = stack.pop(), stack.pop()
    stack.append(result_of(function, arguments))


_STACK_OPERATIONS: dict[str, Callable[[list[object]], None]] = {
    "TUPLE": _marked_tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "ADDITEMS": _appends,
    "FROZENSET": _frozen_set,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "STACK_GLOBAL": _stack_global,
    "BUILD": _drop_state,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
}
_NAMES = _NUMBERS | _STRINGS | _BYTES | _GETS | _PUTS | set(_CONSTANTS) | set(_STACK_OPERATIONS)
_UNDERSTOOD = {
    opcode.code: (opcode.name, opcode.arg.reader if opcode.arg else None)
    for opcode in opcodes
    if opcode.name in {*_NAMES, "PROTO", "FRAME", "MEMOIZE", "STOP"}
} | {"c": ("GLOBAL", _read_global)}
_REFUSALS = {opcode.code: f"its pickle uses {opcode.name}, which no state dict needs" for opcode in opcodes}
