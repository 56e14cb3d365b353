"""From a torch module to a network as data: torchvision's classifiers, and others of the same parts.

torch.fx takes a module apart by its layers; torch.export, where fx cannot, by ATen's operators.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from traceback import extract_tb
from typing import Any

import torch
from torch import fx, nn

from xfer.capabilities import Traced
from xfer.errors import BackendError, ConfigError
from xfer.graphs.graph import Graph, Node
from xfer.graphs.kinds import KINDS
from xfer.graphs.read import graph_from_json
from xfer_torch import exported, symbolic, tables, translate, translate_functions
from xfer_torch.observed import Program, Seen, Varying, first_line, on_meta
from xfer_torch.sheet import Ended, Padded, Ref, Sheet, UnknownError

# What these give says itself what the sizes came to that they were asked for.
_OF_SHAPES = (translate.reshape, translate.expand, translate.unchanged)
_OF_PADDED = (translate.conv, translate_functions.conv2d)
_WORDS = {
    "iadd": "add", "isub": "sub", "imul": "mul", "truediv": "div", "itruediv": "div", "getitem": "part",
}  # fmt: skip


class _UnknownNodeError(BackendError):
    """No kind says what a node does."""


def trace(module: nn.Module, size: tuple[int, int]) -> Graph:
    """As `traced`, the graph alone."""
    return traced(module, size).graph


def traced(module: nn.Module, size: tuple[int, int]) -> Traced:
    """The graph of a classifier, in inference mode, for normalised pictures of (height, width) pixels.

    Weights have the names of the module's state dict. The head is the last linear layer or convolution that gives as
    many numbers as the module. Raises BackendError for what neither fx nor export can trace, and for what no kind can
    say; where both came that far, as fx sees it, which speaks of the module's own layers.
    """
    bare, error = on_meta(module), BackendError("the network cannot be traced")
    try:
        by_layers = symbolic.taken_apart(bare)
    except Exception as cause:  # control flow on values, or whatever a stranger's forward raises
        error = BackendError(f"the network cannot be traced: {first_line(cause)}{_place(cause)}{_cure(cause)}")
    else:
        try:
            return _translation(symbolic.program(by_layers, size), module, bare, size)
        except _UnknownNodeError as unknown:
            error = unknown
    try:
        by_operators = exported.program(bare, size)
    except Exception:
        raise error from None
    try:
        return _translation(by_operators, module, bare, size)
    except BackendError as unknown:
        raise (error if isinstance(error, _UnknownNodeError) else unknown) from None


def _place(cause: Exception) -> str:
    """The line of the module's own code that led to it, in brackets; "" where none did."""
    ours = (os.path.dirname(torch.__file__), os.path.dirname(__file__))
    frames = [frame for frame in extract_tb(cause.__traceback__) if not frame.filename.startswith((*ours, "<"))]
    return f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def _cure(cause: Exception) -> str:
    decides = isinstance(cause, fx.proxy.TraceError)
    return ". Cure: do the same for every picture, with torch.where in place of if" if decides else ""


def _translation(program: Program, module: nn.Module, bare: nn.Module, size: tuple[int, int]) -> Traced:
    shapes = {name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()}
    layers = frozenset(str(node.target) for node in program.nodes if node.op == "call_module")
    own = dict(module.named_parameters(remove_duplicate=False))
    sheet = Sheet(shapes, layers, lambda name: _first(own, name))
    known: dict[fx.Node, Any] = {}
    for node in program.nodes:
        known[node] = _value(node, program, known, bare, sheet)
        if symbolic.is_in_place(node, bare) and isinstance(known[node], Ref):  # and no size
            old, new = known[node.args[0]], known[node]  # type: ignore[index]
            _refuse_views(node, [other for other in program.shared(node) if known[other] != old])
            known = {other: new if value == old else value for other, value in known.items()}
    result, ending = _logits(fx.node.map_arg(program.result, known.__getitem__), sheet)
    return Traced(_graph(sheet, result, size, program.fixed), program.way, ending)


def _logits(result: Any, sheet: Sheet) -> tuple[Any, str]:
    """What is before a last softmax or its logarithm, and which of the two that is."""
    if isinstance(result, Ended):
        return result.ref, result.function
    last = sheet.nodes.get(result.name) if isinstance(result, Ref) else None
    if last is None or (last.kind, last.attributes.get("axis"), result.rank) != ("softmax", 1, 2):
        return result, ""
    return Ref(last.inputs[0], result.shapes), "softmax"


def _value(node: fx.Node, program: Program, known: Mapping[fx.Node, Any], module: nn.Module, sheet: Sheet) -> Any:
    """What stands for an fx node: a Ref, several, or the value itself where that is no tensor."""
    seen = program.values[node]
    if node in program.parameters:
        return Ref(program.parameters[node], seen.shapes, True)
    if node.op == "placeholder" and isinstance(seen, Seen):
        sheet.nodes["image"] = Node("image", "image")
        return Ref("image", seen.shapes)
    tensors = [part for part in (seen if isinstance(seen, tuple) else (seen,)) if isinstance(part, Seen)]
    if not tensors:
        return seen  # a size, or what was made of sizes
    path, module_type = symbolic.place(node)
    try:
        sheet.shapes = tensors[0].shapes
        arguments = fx.node.map_arg(program.arguments[node], known.__getitem__)
        return _translated(node, arguments, module, path, sheet)
    except UnknownError as error:
        where = f"{path} ({module_type})" if path else "the network itself"
        message = f"{node.name} in {where}: {error}. The kinds of nodes: {', '.join(KINDS)}"
        raise _UnknownNodeError(message) from None


def _translated(node: fx.Node, arguments: Any, module: nn.Module, path: str, sheet: Sheet) -> Any:
    sheet.path = str(node.target) if node.op == "call_module" else ""
    sheet.name = sheet.path or (path if symbolic.is_of_layer(node) else ".".join(filter(None, (path, _word(node)))))
    translation, args, settings = _call(node, arguments, module)
    values = (*args, *settings.values())
    if translation not in _OF_SHAPES and _holds(values, Varying):
        raise UnknownError("a number that follows the batch or the picture")
    if translation not in _OF_PADDED and _holds(values, Padded):
        args, settings = _with_padding((args, settings), sheet)
    if _holds(values, Ended):
        raise UnknownError("what follows on a log_softmax")
    try:
        bound = inspect.signature(translation).bind(sheet, *args, **settings)
    except TypeError as error:
        raise UnknownError(f"{_word(node)}: {error}") from None
    return translation(*bound.args, **bound.kwargs)


def _with_padding(value: Any, sheet: Sheet) -> Any:
    """The same with nodes for the zeros around maps."""
    if isinstance(value, Padded):
        top, bottom, left, right = value.sides
        shapes = tuple((*s[:2], s[2] + top + bottom, s[3] + left + right) for s in value.ref.shapes)
        return sheet.part(f"{sheet.name}.pad", shapes, "pad", value.ref, padding=[*value.sides])
    if isinstance(value, tuple | list):
        return type(value)(_with_padding(item, sheet) for item in value)
    if isinstance(value, dict):
        return {key: _with_padding(item, sheet) for key, item in value.items()}
    return value


def _call(
    node: fx.Node, arguments: Any, module: nn.Module
) -> tuple[tables.Translation, tuple[Any, ...], dict[str, Any]]:
    """What translates a node, and its arguments behind the sheet. Raises UnknownError."""
    args, settings = arguments
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if (whole := tables.layer_of(layer)) is not None:
            return whole, (layer, *args), settings
        if type(layer) in tables.SETTINGS:
            translation, names = tables.SETTINGS[type(layer)]
            return translation, (*args, *(getattr(layer, name) for name in names)), settings
        raise UnknownError(f"the module {type(layer).__name__}")
    if node.op == "call_method":
        found = tables.METHODS.get(str(node.target))
    elif symbolic.is_operator(node):
        found = tables.ATEN.get(_word(node))
    else:
        found = tables.FUNCTIONS.get(node.target)
    if found is None:
        raise UnknownError(f"the {'method' if node.op == 'call_method' else 'function'} {_word(node)}")
    return found, args, settings


def _first(parameters: Mapping[str, nn.Parameter], name: str) -> dict[str, float]:
    """How a table begins, from how the module's own began: rounded, as what was drawn tells no more."""
    if name not in parameters:
        raise UnknownError(f"the buffer {name}")
    if parameters[name].is_meta:
        return {}
    numbers = parameters[name].detach()
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return {"fill": float(f"{low:.6g}")}
    return {"std": float(f"{float(numbers.std()):.2g}")}


def _word(node: fx.Node) -> str:
    """A function, method or operator by the last part of its name."""
    if symbolic.is_operator(node):
        name = str(node.target).split(".")[1]
    else:
        name = str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return _WORDS.get(name, name.strip("_"))


def _holds(value: Any, kind: type) -> bool:
    """Whether it is of that type, or something in it."""
    if isinstance(value, tuple | list):
        return any(_holds(item, kind) for item in value)
    if isinstance(value, slice):
        return _holds((value.start, value.stop, value.step), kind)
    return isinstance(value, kind)


def _refuse_views(node: fx.Node, views: Sequence[fx.Node]) -> None:
    """What is changed in place changes in all views of it too, which no graph says."""
    if views:
        path, module_type = symbolic.place(node)
        where = f"{path} ({module_type})" if path else "the network itself"
        raise BackendError(
            f"{node.name} in {where}: changes in place what {views[0].name} shares, which is read again. "
            "Cure: an operation that gives a new tensor"
        )


def _graph(sheet: Sheet, result: Any, size: tuple[int, int], fixed: bool) -> Graph:
    """What the result is made of, and its head."""
    if not isinstance(result, Ref) or result.rank != 2 or result.shapes[0][1] != result.shapes[-1][1]:
        raise BackendError("the network gives no logits (N, classes). Cure: one without auxiliary outputs")
    needed = {result.name}
    for node in reversed(sheet.nodes.values()):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for name, node in sheet.nodes.items() if name in needed)
    weights = {name: sheet.weights[name] for node in nodes for name in node.weights.values()}
    classes = result.shapes[0][1]
    rows = {n.name: weights[n.weights["weight"]][0] for n in nodes if n.kind in ("linear", "conv")}
    heads = [name for name, count in rows.items() if count == classes]
    if not heads:
        raise BackendError(f"no linear layer or convolution gives the {classes} logits: the network has no head")
    graph = Graph(nodes, weights, heads[-1], size, fixed)
    try:
        return graph_from_json(graph.as_json())
    except ConfigError as error:
        raise BackendError(f"what was traced is no graph: {error}") from None
