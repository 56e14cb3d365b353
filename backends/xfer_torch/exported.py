"""A module taken apart by torch.export: its forward runs with sizes that are known, and is written down by operators.

Where a forward decides by sizes, fx has no answer to give. What follows the batch or the picture is told from what does
not by exporting for several of them, and holding the operators against each other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import fx, nn

from xfer.errors import BackendError
from xfer_torch.observed import Program, Varying, combined, described, memories, observe


@dataclass(frozen=True)
class _Exported:
    """parameters   name of a placeholder -> that of its weight or buffer, of all but the picture."""

    nodes: Sequence[fx.Node]
    parameters: Mapping[str, str]


def program(bare: nn.Module, size: tuple[int, int]) -> Program:
    """Of a module on the meta device. Raises BackendError, and whatever export raises, where it cannot be had."""
    runs, fixed = observe(lambda batch, of: _export(bare, batch, of), size)
    if not _are_alike(runs[:2]):
        raise BackendError("the network does not do the same for every batch")
    if not _are_alike(runs):
        runs, fixed = runs[:2], True
    *nodes, output = runs[0].nodes
    columns = list(zip(*(run.nodes[:-1] for run in runs), strict=True))
    values = {column[0]: combined([described(node.meta.get("val")) for node in column]) for column in columns}
    places = {node: column[0] for column in columns for node in column}
    arguments = {column[0]: _merged([(node.args, node.kwargs) for node in column], places) for column in columns}
    lie = {node: frozenset(memories(node.meta.get("val"))) for node in nodes}
    parameters = {node: runs[0].parameters[node.name] for node in nodes if node.name in runs[0].parameters}
    (results,) = output.args
    result = results[0] if isinstance(results, tuple | list) and len(results) == 1 else results
    return Program(nodes, values, arguments, parameters, lie, result, fixed, "torch.export")


def _export(bare: nn.Module, batch: int, size: tuple[int, int]) -> _Exported:
    with torch.no_grad(), _in_silence():
        whole = torch.export.export(bare, (torch.empty(batch, 3, *size, device="meta"),), strict=False)
    names = {
        spec.arg.name: spec.target or spec.arg.name
        for spec in whole.graph_signature.input_specs
        if spec.kind is not torch.export.graph_signature.InputKind.USER_INPUT
    }
    return _Exported(list(whole.graph.nodes), names)


@contextmanager
def _in_silence() -> Iterator[None]:
    """torch prints the whole program on standard error where an export fails, and logs beside it."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        log.setLevel(level)


def _are_alike(runs: Sequence[_Exported]) -> bool:
    first, *others = ([(node.op, str(node.target)) for node in run.nodes] for run in runs)
    return all(other == first for other in others)


def _merged(values: Sequence[Any], places: Mapping[fx.Node, fx.Node]) -> Any:
    """Arguments of one node in all runs, put together: nodes are those of the first run."""
    first = values[0]
    if isinstance(first, fx.Node):
        if any(places[value] is not first for value in values):
            raise BackendError("the network does not do the same for every batch")
        return first
    if isinstance(first, tuple | list):
        if len({len(value) for value in values}) > 1:
            return Varying(tuple(values))
        return tuple(_merged(items, places) for items in zip(*values, strict=True))
    if isinstance(first, dict):
        return {key: _merged([value[key] for value in values], places) for key in first}
    return first if all(value == first for value in values) else Varying(tuple(values))
