"""Shapes of what flows through a traced module: of two batch sizes, and two sizes of pictures where it takes both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from xfer.errors import BackendError

Shapes = tuple[tuple[int, ...], ...]
"""The shape of one tensor in each run."""


@dataclass(frozen=True)
class Varying:
    """A number, or what else is no tensor, that is not the same in each run."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Program:
    """A module as fx nodes in the order of the computation.

    values      node -> what it gave: Shapes of a tensor, a tuple of these, Varying, or the value itself
    arguments   node -> (args, kwargs), Varying where they were not the same in each run
    parameters  nodes that give a weight or a buffer by itself -> its name
    memories    node -> where its tensors lie: equal numbers for tensors that share their memory, as views do
    result      what the module gives, as nodes
    fixed       whether it takes no other size than that it was run for
    way         what took it apart
    """

    nodes: Sequence[fx.Node]
    values: Mapping[fx.Node, Any]
    arguments: Mapping[fx.Node, tuple[Any, Any]]
    parameters: Mapping[fx.Node, str]
    memories: Mapping[fx.Node, frozenset[int]]
    result: Any
    fixed: bool
    way: str

    @cached_property
    def _places(self) -> Mapping[fx.Node, int]:
        return {node: place for place, node in enumerate(self.nodes)}

    def shared(self, node: fx.Node) -> list[fx.Node]:
        """The nodes before this one whose tensors share memory with its own, and that are read behind it."""
        places, behind = self._places, self._places[node]
        return [
            other
            for other in self.nodes[:behind]
            if not self.memories[other].isdisjoint(self.memories[node])
            and any(places.get(user, behind + 1) > behind for user in other.users)
        ]


def memories(value: Any) -> Iterator[int]:
    """Of a tensor, or of several."""
    if isinstance(value, Tensor):
        yield value.untyped_storage()._cdata
    elif isinstance(value, tuple | list):
        for item in value:
            yield from memories(item)


def on_meta(module: nn.Module) -> nn.Module:
    """A copy in inference mode with the same names and no numbers: nothing of its weights is copied."""
    # To deepcopy, what it has a copy of already is copied.
    copied: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), False) for p in module.parameters()}
    copied |= {id(b): b.to("meta") for b in module.buffers()}
    return copy.deepcopy(module, copied).eval()


Run = TypeVar("Run")
Recorded = Mapping[fx.Node, Any]
"""What each node gave in one run."""


def observe(run: Callable[[int, tuple[int, int]], Run], size: tuple[int, int]) -> tuple[list[Run], bool]:
    """What `run` gives of two batch sizes, and of a larger picture where it takes one; whether it takes none.

    Raises BackendError where it does not take pictures of this size, (height, width) in pixels.
    """
    height, width = size
    try:
        runs = [run(2, size), run(3, size)]
    except Exception as error:  # whatever a stranger's forward raises
        raise BackendError(f"the network takes no pictures of {height}x{width} pixels: {first_line(error)}") from None
    try:
        # Not square, so that heights and widths can be told apart; multiples of what patches and strides divide by.
        return [*runs, run(2, (height + 32, width + 64))], False
    except Exception:
        return runs, True


def follow(entry: int, shapes: Shapes, source: Shapes) -> int | str:
    """A size for a reshape from `source` to `shapes`, axis `entry`: constant, that of an axis of the source, or -1."""
    sizes = [shape[entry] for shape in shapes]
    if len(set(sizes)) == 1:
        return sizes[0]
    axes = sorted(range(len(source[0])), key=lambda axis: (axis != entry, axis))
    return next((f"@{axis}" for axis in axes if [shape[axis] for shape in source] == sizes), -1)


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@dataclass(frozen=True)
class Shape:
    sizes: tuple[int, ...]


def described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape(tuple(value.shape))
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return tuple(described(item) for item in value)
    return value


def combined(values: Sequence[Any]) -> Any:
    """What one node gave in all runs, put together."""
    first = values[0]
    if isinstance(first, Shape):
        return Seen(tuple(value.sizes for value in values))
    if isinstance(first, tuple) and any(isinstance(item, Shape) for item in first):
        return tuple(combined(items) for items in zip(*values, strict=True))
    return first if all(value == first for value in values) else Varying(tuple(values))


@dataclass(frozen=True)
class Seen:
    """A tensor, as far as it is known: its shape in each run."""

    shapes: Shapes
