"""A module taken apart by torch.fx: by its layers, and by what its forwards call."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from xfer_torch.observed import Program, Recorded, combined, described, memories, observe
from xfer_torch.tables import layer_of

_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def _recorded(function: Callable[[Any, Any], Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    return lambda x, other: x.tracer.create_proxy("call_function", function, (x, other), {})


class _Proxy(fx.Proxy):
    """To torch.fx, `x += y` is `x = x + y`, so that whatever else is called by another name of x would not change."""


for _function in _IN_PLACE:
    setattr(_Proxy, f"__{_function.__name__}__", _recorded(_function))


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return layer_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


def taken_apart(bare: nn.Module) -> fx.GraphModule:
    """Of a module on the meta device. It raises whatever a stranger's forward does where it meets no tensors.

    Arguments behind the picture are what they are by default: a forward may decide by them.
    """
    _, *others = inspect.signature(bare.forward).parameters.values()
    defaults = {other.name: other.default for other in others if other.default is not other.empty}
    return fx.GraphModule(bare, _Tracer().trace(bare, defaults))


def program(module: fx.GraphModule, size: tuple[int, int]) -> Program:
    """Raises BackendError where the network does not take pictures of (height, width) `size`."""
    runs, fixed = observe(lambda batch, of: _run(module, batch, of), size)
    *nodes, output = module.graph.nodes
    values = {node: combined([described(run[node]) for run in runs]) for node in nodes}
    places = {node: frozenset(memories(runs[0][node])) for node in nodes}
    named = {node: str(node.target) for node in nodes if node.op == "get_attr"}
    parameters = {node: name for node, name in named.items() if isinstance(_attribute(module, name), Tensor)}
    arguments = {node: (node.args, node.kwargs) for node in nodes}
    return Program(nodes, values, arguments, parameters, places, output.args[0], fixed, "torch.fx")


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, see: Callable[[fx.Node, Any], None]) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.see = see

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.see(n, result)
        return result


def _run(module: fx.GraphModule, batch: int, size: tuple[int, int]) -> Recorded:
    """What each node gives. All of it is kept, so that no two tensors have the same place one after the other."""
    seen: dict[fx.Node, Any] = {}
    with torch.no_grad():
        _Recorder(module, seen.__setitem__).run(torch.empty(batch, 3, *size, device="meta"))
    return seen


def _attribute(module: nn.Module, path: str) -> object:
    for part in path.split("."):
        module = getattr(module, part)
    return module


# ---- what a node is, by whichever way it was made


def is_operator(node: fx.Node) -> bool:
    """Whether it calls one of ATen's, as torch.export has them."""
    return isinstance(node.target, OpOverload)


def place(node: fx.Node) -> tuple[str, str]:
    """The path and the type of the module in whose forward a node is."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return "", ""
    path, module_type = stack[-1]
    return path, module_type.rpartition(".")[2] if isinstance(module_type, str) else module_type.__name__


def is_of_layer(node: fx.Node) -> bool:
    """Whether an operator is all that one of torch's own layers does, and is called as that."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return bool(stack) and is_operator(node) and str(stack[-1][1]).startswith("torch.nn.modules.")


def is_in_place(node: fx.Node, module: nn.Module) -> bool:
    """Whether it changes its first argument: whoever reads that later reads the result. Export says so itself."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    if is_operator(node):
        return False
    named = bool(node.kwargs.get("inplace"))
    return node.target in _IN_PLACE or named or (len(node.args) == 2 and node.args[1] is True)
