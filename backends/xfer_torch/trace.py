"""From a torch module to a network as data, with torch.fx: torchvision's classifiers, and others of the same parts."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2, _patch_merging_pad
from torchvision.ops import stochastic_depth

from xfer.errors import BackendError, ConfigError
from xfer.graphs.graph import Graph, Node
from xfer.graphs.kinds import KINDS
from xfer.graphs.read import graph_from_json
from xfer_torch import translate, translate_windows
from xfer_torch.observed import Shapes, Traced, Varying, first_line, observe, on_meta
from xfer_torch.sheet import Ref, Sheet, UnknownError

_ACTIVATIONS: Mapping[str, tuple[Any, ...]] = {
    "relu": (nn.ReLU, functional.relu, torch.relu),
    "relu6": (nn.ReLU6, functional.relu6),
    "silu": (nn.SiLU, functional.silu),
    "hardswish": (nn.Hardswish, functional.hardswish),
    "hardsigmoid": (nn.Hardsigmoid, functional.hardsigmoid),
    "sigmoid": (nn.Sigmoid, functional.sigmoid, torch.sigmoid),
    "tanh": (nn.Tanh, functional.tanh, torch.tanh),
}
Translation = Callable[..., Any]

# Modules that are translated with the weights they have.
_LAYERS: Mapping[type[nn.Module], Translation] = {
    nn.Conv2d: translate.conv,
    nn.Linear: translate.linear,
    nn.BatchNorm2d: translate.batch_norm,
    nn.LayerNorm: translate.layer_norm_module,
    nn.MultiheadAttention: translate.attention,
    ShiftedWindowAttention: translate_windows.window_attention,
    ShiftedWindowAttentionV2: translate_windows.cosine_window_attention,
    RelativePositionalMultiHeadAttention: translate_windows.partition_attention,
}
# Modules that are functions of their inputs and of settings: the attributes that hold them, in the function's order.
_SETTINGS: dict[type[nn.Module], tuple[Translation, tuple[str, ...]]] = {
    nn.GELU: (translate.gelu, ("approximate",)),
    nn.Softmax: (translate.softmax, ("dim",)),
    nn.MaxPool2d: (
        translate.max_pool,
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    nn.AvgPool2d: (
        translate.avg_pool,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    nn.AdaptiveAvgPool2d: (translate.adaptive_avg_pool, ("output_size",)),
    nn.Dropout: (translate.dropout, ("p",)),
    nn.Dropout2d: (translate.dropout, ("p",)),
    nn.Flatten: (translate.flatten, ("start_dim", "end_dim")),
    nn.Identity: (translate.unchanged, ()),
}
_SETTINGS |= {module: (translate.activation(kind), ()) for kind, (module, *_) in _ACTIVATIONS.items()}

_FUNCTIONS: dict[Any, Translation] = {
    operator.add: translate.add,
    operator.iadd: translate.add,
    torch.add: translate.add,
    operator.sub: translate.sub,
    operator.mul: translate.mul,
    operator.imul: translate.mul,
    torch.mul: translate.mul,
    operator.truediv: translate.div,
    operator.matmul: translate.matmul,
    torch.matmul: translate.matmul,
    torch.bmm: translate.matmul,
    operator.getitem: translate.getitem,
    torch.cat: translate.cat,
    torch.chunk: translate.chunk,
    torch.split: translate.split,
    torch.flatten: translate.flatten,
    torch.reshape: translate.reshape,
    torch.squeeze: translate.reshape,
    torch.unsqueeze: translate.reshape,
    torch.permute: translate.permute,
    torch.transpose: translate.transpose,
    torch.swapaxes: translate.transpose,
    torch.mean: translate.mean,
    torch.softmax: translate.softmax,
    torch.max_pool2d: translate.max_pool,
    functional.max_pool2d: translate.max_pool,
    functional.avg_pool2d: translate.avg_pool,
    functional.adaptive_avg_pool2d: translate.adaptive_avg_pool,
    functional.dropout: translate.dropout,
    functional.gelu: translate.gelu,
    functional.layer_norm: translate.layer_norm,
    stochastic_depth: translate.stochastic_depth,
    _patch_merging_pad: translate_windows.patch_merge,
}
_FUNCTIONS |= {other: translate.activation(kind) for kind, (_, *others) in _ACTIVATIONS.items() for other in others}

_METHODS: Mapping[str, Translation] = {
    "add": translate.add, "mul": translate.mul, "sub": translate.sub, "div": translate.div,
    "add_": translate.add, "mul_": translate.mul, "matmul": translate.matmul,
    "chunk": translate.chunk, "split": translate.split, "mean": translate.mean, "softmax": translate.softmax,
    "flatten": translate.flatten, "view": translate.reshape, "reshape": translate.reshape,
    "squeeze": translate.reshape, "unsqueeze": translate.reshape, "permute": translate.permute,
    "transpose": translate.transpose, "expand": translate.expand, "contiguous": translate.unchanged,
    "relu": translate.activation("relu"), "relu_": translate.activation("relu"),
    "sigmoid": translate.activation("sigmoid"), "tanh": translate.activation("tanh"),
}  # fmt: skip

# What these give says itself what the sizes came to that they were asked for.
_OF_SHAPES = (translate.reshape, translate.expand, translate.unchanged)
_WORDS = {"iadd": "add", "imul": "mul", "truediv": "div", "getitem": "part"}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in _LAYERS or super().is_leaf_module(m, module_qualified_name)


def trace(module: nn.Module, size: tuple[int, int]) -> Graph:
    """The graph of a classifier, in inference mode, for normalised pictures of (height, width) pixels.

    Weights have the names of the module's state dict. The head is the last linear layer or convolution that gives as
    many numbers as the module. Raises BackendError for what fx cannot trace and for what no kind can say.
    """
    bare = on_meta(module)
    try:
        traced = fx.GraphModule(bare, _Tracer().trace(bare))
    except Exception as error:  # control flow on values, or whatever a stranger's forward raises
        raise BackendError(f"the network cannot be traced: {first_line(error)}") from None
    observed = observe(traced, size)
    layers = frozenset(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    alone = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    first = {name: _first(value) for name, value in module.named_parameters() if name in alone}
    sheet = Sheet({name: tuple(tensor.shape) for name, tensor in bare.state_dict().items()}, layers, first)
    known: dict[fx.Node, Any] = {}
    *nodes, output = traced.graph.nodes
    for node in nodes:
        known[node] = _value(node, observed.values[node], known, bare, sheet)
        if _in_place(node, bare):
            old, new = known[node.args[0]], known[node]
            known = {other: new if value == old else value for other, value in known.items()}
    return _graph(sheet, fx.node.map_arg(output.args[0], known.__getitem__), size, observed.fixed)


def _value(node: fx.Node, seen: Any, known: Mapping[fx.Node, Any], module: nn.Module, sheet: Sheet) -> Any:
    """What stands for an fx node: a Ref, several, or the value itself where that is no tensor."""
    if node.op == "placeholder":
        sheet.nodes["image"] = Node("image", "image")
        return Ref("image", seen.shapes)
    if node.op == "get_attr" and isinstance(_attribute(module, str(node.target)), nn.Parameter):
        return Ref(str(node.target), seen.shapes, True)
    tensors = [part for part in (seen if isinstance(seen, tuple) else (seen,)) if isinstance(part, Traced)]
    if not tensors:
        return seen  # a size, or what was made of sizes
    path, module_type = _place(node)
    try:
        return _translated(node, known, module, path, sheet, tensors[0].shapes)
    except UnknownError as error:
        where = f"{path} ({module_type})" if path else "the network itself"
        raise BackendError(f"{node.name} in {where}: {error}. The kinds of nodes: {', '.join(KINDS)}") from None


def _translated(
    node: fx.Node, known: Mapping[fx.Node, Any], module: nn.Module, path: str, sheet: Sheet, shapes: Shapes
) -> Any:
    is_layer = node.op == "call_module"
    sheet.path, sheet.shapes = str(node.target) if is_layer else "", shapes
    sheet.name = sheet.path or ".".join(filter(None, (path, _word(node))))
    translation, args, settings = _call(node, known, module)
    if translation not in _OF_SHAPES and _varies((*args, *settings.values())):
        raise UnknownError("a number that follows the batch or the picture")
    try:
        bound = inspect.signature(translation).bind(sheet, *args, **settings)
    except TypeError as error:
        raise UnknownError(f"{_word(node)}: {error}") from None
    return translation(*bound.args, **bound.kwargs)


def _call(
    node: fx.Node, known: Mapping[fx.Node, Any], module: nn.Module
) -> tuple[Translation, tuple[Any, ...], dict[str, Any]]:
    """What translates a node, and its arguments behind the sheet. Raises UnknownError."""
    args, settings = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if type(layer) in _LAYERS:
            return _LAYERS[type(layer)], (layer, *args), settings
        if type(layer) in _SETTINGS:
            translation, names = _SETTINGS[type(layer)]
            return translation, (*args, *(getattr(layer, name) for name in names)), settings
        raise UnknownError(f"the module {type(layer).__name__}")
    found = _METHODS.get(str(node.target)) if node.op == "call_method" else _FUNCTIONS.get(node.target)
    if found is None:
        what = {"get_attr": "buffer", "call_method": "method"}.get(node.op, "function")
        raise UnknownError(f"the {what} {_word(node)}")
    return found, args, settings


def _first(parameter: nn.Parameter) -> dict[str, float]:
    """How a table begins, from how the module's own began: rounded, as what was drawn tells no more."""
    if parameter.is_meta:
        return {}
    numbers = parameter.detach()
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return {"fill": float(f"{low:.6g}")}
    return {"std": float(f"{float(numbers.std()):.2g}")}


def _attribute(module: nn.Module, path: str) -> object:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _word(node: fx.Node) -> str:
    """A function or method by the last part of its name."""
    name = str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return _WORDS.get(name, name.strip("_"))


def _place(node: fx.Node) -> tuple[str, str]:
    """The path and the type of the module in whose forward a node is."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if not stack:
        return "", ""
    path, module_type = stack[-1]
    return path, module_type.__name__


def _varies(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_varies, value))
    if isinstance(value, slice):
        return _varies((value.start, value.stop, value.step))
    return isinstance(value, Varying)


def _in_place(node: fx.Node, module: nn.Module) -> bool:
    """Whether it changes its first argument: whoever reads that later reads the result."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    named = bool(node.kwargs.get("inplace"))
    return node.target in (operator.iadd, operator.imul) or named or (len(node.args) == 2 and node.args[1] is True)


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
