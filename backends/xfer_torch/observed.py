"""Shapes of what flows through a traced module: of two batch sizes, and two sizes of pictures where it takes both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
class Observed:
    """fx node -> what it gave: Shapes of a tensor, a tuple of these, Varying, or the value itself."""

    values: Mapping[fx.Node, Any]
    fixed: bool


def on_meta(module: nn.Module) -> nn.Module:
    """A copy in inference mode with the same names and no numbers: nothing of its weights is copied."""
    # To deepcopy, what it has a copy of already is copied.
    copied: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), False) for p in module.parameters()}
    copied |= {id(b): b.to("meta") for b in module.buffers()}
    return copy.deepcopy(module, copied).eval()


def observe(module: fx.GraphModule, size: tuple[int, int]) -> Observed:
    """Run a module that is on the meta device. `size` is (height, width) in pixels.

    Raises BackendError where it does not take pictures of this size.
    """
    height, width = size
    try:
        runs = [_run(module, 2, size), _run(module, 3, size)]
    except Exception as error:  # whatever a stranger's forward raises
        raise BackendError(f"the network takes no pictures of {height}x{width} pixels: {first_line(error)}") from None
    fixed = False
    try:
        # Not square, so that heights and widths can be told apart; multiples of what patches and strides divide by.
        runs.append(_run(module, 2, (height + 32, width + 64)))
    except Exception:
        fixed = True
    return Observed({node: _combined([run[node] for run in runs]) for node in runs[0]}, fixed)


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


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, see: Callable[[fx.Node, Any], None]) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.see = see

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.see(n, result)
        return result


def _run(module: fx.GraphModule, batch: int, size: tuple[int, int]) -> dict[fx.Node, Any]:
    seen: dict[fx.Node, Any] = {}
    with torch.no_grad():
        _Recorder(module, seen.__setitem__).run(torch.empty(batch, 3, *size, device="meta"))
    return {node: _described(value) for node, value in seen.items()}


@dataclass(frozen=True)
class _Shape:
    sizes: tuple[int, ...]


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Shape(tuple(value.shape))
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return tuple(_described(item) for item in value)
    return value


def _combined(values: Sequence[Any]) -> Any:
    """What one node gave in all runs, put together."""
    first = values[0]
    if isinstance(first, _Shape):
        return Traced(tuple(value.sizes for value in values))
    if isinstance(first, tuple) and any(isinstance(item, _Shape) for item in first):
        return tuple(_combined(items) for items in zip(*values, strict=True))
    return first if all(value == first for value in values) else Varying(tuple(values))


@dataclass(frozen=True)
class Traced:
    """A tensor, as far as it is known: its shape in each run."""

    shapes: Shapes
