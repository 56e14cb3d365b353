"""Each kind of node in MindSpore's words: a layer in `__init__`, an expression in `construct`.

Text is in pieces, some of which are holes: numbers that may become arguments of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xfer.graphs.graph import Graph, Node
from xfer.porting.leaves import LEAVES, MAP_NORM, NORMS, PARTITION


@dataclass(frozen=True)
class Hole:
    """A number in the text.

    role     what an argument for it is called
    before   what stands before it, also where it is an argument
    default  if it is this number throughout, `absent` stands there in place of it and of what is before it
    """

    role: str
    value: Any
    before: str = ""
    default: Any = None
    absent: str = ""

    def text(self) -> str:
        return self.absent if self.value == self.default else self.before + repr(self.value)


Piece = str | Hole
Text = tuple[Piece, ...]


def text_of(pieces: Text) -> str:
    return "".join(piece.text() if isinstance(piece, Hole) else piece for piece in pieces)


_OF_NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
PARAMETERS: Mapping[str, Mapping[str, str]] = {
    **LEAVES,
    **{kind: {slot: _OF_NORMS[slot] for slot in LEAVES[kind]} for kind in NORMS},
}
"""Kind of layer -> slot -> name of the parameter in the cell that `layer` writes."""

IN_LAYERS = frozenset(PARAMETERS) | {"max_pool", "avg_pool"}
"""Kinds that are cells wherever they are."""

NESTED = frozenset(
    ["batch_norm", "relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "leaky_relu", "clamp"]
) | {"elu", "softplus"}
"""Kinds that may be written around the expression for their input."""

# Numbers in them are attributes of the node.
_ACTIVATIONS: Mapping[str, tuple[str, str]] = {
    "relu": ("ops.relu({})", "nn.ReLU()"),
    "relu6": ("ops.relu6({})", "nn.ReLU6()"),
    "gelu": ('ops.gelu({}, approximate="none")', "nn.GELU(approximate=False)"),
    "silu": ("ops.silu({})", "nn.SiLU()"),
    "hardswish": ("ops.hardswish({})", "nn.HSwish()"),
    "hardsigmoid": ("ops.hardsigmoid({})", "nn.HSigmoid()"),
    "sigmoid": ("ops.sigmoid({})", "nn.Sigmoid()"),
    "tanh": ("2 * ops.sigmoid(2 * {}) - 1", "Tanh()"),
    "softmax": ("ops.softmax({}, %(axis)d)", "nn.Softmax(%(axis)d)"),
    "leaky_relu": ("ops.leaky_relu({}, %(slope)r)", "nn.LeakyReLU(%(slope)r)"),
    "clamp": ("ops.clamp({}, %(low)r, %(high)r)", "nn.Hardtanh(%(low)r, %(high)r)"),
    "elu": ("elu({}, %(alpha)r)", ""),
    "softplus": ("softplus({})", ""),
}


def layer(graph: Graph, node: Node, rank: int) -> Text:
    """What makes the layer. `rank`: the number of axes of its input."""
    return _LAYERS[node.kind](node, [graph.weights[name] for name in node.weights.values()], rank)


def _conv(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    of, (outputs, inputs, *kernel) = node.attributes, shapes[0]
    text: list[Piece] = [
        "nn.Conv2d(", Hole("in_channels", inputs * of["groups"]), ", ", Hole("out_channels", outputs),
        Hole("kernel_size", _side(kernel), ", "), Hole("stride", _side(of["stride"]), ", stride=", 1),
    ]  # fmt: skip
    if of["padding"] == "same":
        text.append(', pad_mode="same"')
    else:
        text.append(Hole("padding", _side(of["padding"]), ', pad_mode="pad", padding=', 0, ', pad_mode="valid"'))
    text += [Hole("dilation", _side(of["dilation"]), ", dilation=", 1), Hole("group", of["groups"], ", group=", 1)]
    return (*text, *(", has_bias=True" for _ in shapes[1:]), ")")


def _linear(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    outputs, inputs = shapes[0]
    end = ")" if len(shapes) > 1 else ", has_bias=False)"
    return "nn.Dense(", Hole("in_channels", inputs), ", ", Hole("out_channels", outputs), end


def _batch_norm(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    kept = round(1 - node.attributes["momentum"], 12)
    return (
        "nn.BatchNorm1d(" if rank == 2 else "nn.BatchNorm2d(", Hole("channels", shapes[0][0]),
        Hole("eps", float(node.attributes["eps"]), ", eps=", 1e-5), Hole("momentum", kept, ", momentum=", 0.9), ")",
    )  # fmt: skip


def _layer_norm(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    eps = Hole("epsilon", float(node.attributes["eps"]), ", epsilon=")
    if node.kind == MAP_NORM:
        return "LayerNorm2d(", Hole("channels", shapes[0][0]), eps, ")"
    return "nn.LayerNorm((", Hole("channels", shapes[0][0]), ",)", eps, ")"


def _group_norm(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    groups = Hole("groups", node.attributes["groups"])
    eps = Hole("eps", float(node.attributes["eps"]), ", eps=", 1e-5)
    return "nn.GroupNorm(", groups, ", ", Hole("channels", shapes[0][0]), eps, ")"


def _attention(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    return "SelfAttention(", Hole("channels", shapes[0][1]), Hole("heads", node.attributes["heads"], ", heads="), ")"


def _window_attention(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    of, width = node.attributes, shapes[0][1]
    name = {"cosine_window_attention": "CosineWindowAttention", PARTITION: "PartitionAttention"}.get(node.kind)
    scale = [Hole("scale", of["scale"], ", scale=", (width // of["heads"]) ** -0.5)] if "scale" in of else []
    hidden = [] if "scale" in of else [Hole("hidden", shapes[5][0], ", hidden=")]
    shift = Hole("shift", tuple(of["shift"]), ", shift=", (0, 0))
    return (
        f"{name or 'WindowAttention'}(", Hole("channels", width), Hole("heads", of["heads"], ", heads="),
        Hole("window", tuple(of["window"]), ", window="), *hidden, shift, *scale, ")",
    )  # fmt: skip


def _max_pool(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    return _pool("nn.MaxPool2d", node, [Hole("dilation", _side(node.attributes["dilation"]), ", dilation=", 1)])


def _avg_pool(node: Node, shapes: Sequence[Sequence[int]], rank: int) -> Text:
    return _pool("nn.AvgPool2d", node, [] if node.attributes["count_pad"] else [", count_include_pad=False"])


def _pool(name: str, node: Node, more: Sequence[Piece]) -> Text:
    of = node.attributes
    ceil = [", ceil_mode=True"] if of["ceil"] else []
    window: list[Piece] = [Hole("kernel_size", _side(of["kernel"])), Hole("stride", _side(of["stride"]), ", stride=")]
    if of["padding"] == "same":
        return (f"{name}(", *window, ', pad_mode="same")')
    pads: list[Piece] = [', pad_mode="pad"', Hole("padding", _side(of["padding"]), ", padding=", 0)]
    plain = not (ceil or any(of["padding"]) or of.get("dilation", [1, 1]) != [1, 1])
    return (f"{name}(", *window, *([] if plain else [*pads, *ceil, *more]), ")")


_LAYERS: Mapping[str, Callable[[Node, Sequence[Sequence[int]], int], Text]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    MAP_NORM: _layer_norm,
    "group_norm": _group_norm,
    "attention": _attention,
    "window_attention": _window_attention,
    PARTITION: _window_attention,
    "cosine_window_attention": _window_attention,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
}


def _side(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number for all, where they are the same."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def in_sequence(node: Node) -> Text:
    """A cell for a node without weights and of one input."""
    of = node.attributes
    if node.kind in _ACTIVATIONS:
        return (_ACTIVATIONS[node.kind][1] % of,)
    if node.kind == "permute":
        return (f"Permute({', '.join(map(str, of['axes']))})",)
    if node.kind == "flatten":
        return (f"nn.Flatten({'' if of['start'] == 1 else of['start']})",)
    if node.kind == "adaptive_avg_pool":
        return (f"nn.AdaptiveAvgPool2d({tuple(of['size'])})",)
    return _LAYERS[node.kind](node, [], 4)


def parameter(node: Node, shape: Sequence[int]) -> Text:
    """What makes the parameter of a table."""
    first: Any = node.attributes.get("fill", 0.0)
    value = f"Normal({node.attributes['std']!r})" if node.attributes.get("std") else repr(first) if first else '"zeros"'
    sizes: list[Piece] = [piece for size in shape for piece in (Hole("size", size), ", ")]
    if len(shape) > 1:
        sizes.pop()
    return f"Parameter(initializer({value}, (", *sizes, "), ms.float32))"


def call(cell: str, kind: str, x: Text, rank: int) -> Text:
    """The layer that is `cell`, of a tensor of so many axes."""
    if (kind == "batch_norm" and rank not in (2, 4)) or (kind == "group_norm" and rank != 4):
        return f"{cell}(", *x, ".reshape(", *x, ".shape[0], ", *x, ".shape[1], -1, 1)).reshape(", *x, ".shape)"
    return f"{cell}(", *x, ")"


def operation(node: Node, x: Sequence[Text], rank: int) -> Text:
    """The expression for a node that is no layer. `rank`: the number of axes of its first input."""
    of = node.attributes
    if node.kind in _ACTIVATIONS:
        before, _, after = (_ACTIVATIONS[node.kind][0] % of).partition("{}")
        return before, *x[0], after
    return _OPERATIONS[node.kind](of, x, rank)


Operation = Callable[[Mapping[str, Any], Sequence[Text], int], Text]


def _infix(sign: str) -> Operation:
    def write(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
        return *x[0], f" {sign} ", *(x[1] if len(x) > 1 else [repr(of["value"])])

    return write


def _mean(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    return "ops.mean(", *x[0], f", {tuple(of['axes'])}", ", keep_dims=True)" if of["keep"] else ")"


def _max(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    return "ops.amax(", *x[0], f", {tuple(of['axes'])}", ", keepdims=True)" if of["keep"] else ")"


def _pad(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    top, bottom, left, right = of["padding"]
    return "ops.pad(", *x[0], f", ({left}, {right}, {top}, {bottom}))"


def _adaptive(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    if of["size"] == [1, 1]:
        return "ops.mean(", *x[0], ", (2, 3), keep_dims=True)"
    return "ops.adaptive_avg_pool2d(", *x[0], f", {tuple(of['size'])})"


def _cat(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    parts = [piece for text in x for piece in (*text, ", ")][:-1]
    return "ops.cat((", *parts, f"), {of['axis']})"


def _slice(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    return *x[0], "[" + ":, " * of["axis"], Hole("start", of["start"], "", 0), ":", Hole("stop", of["stop"]), "]"


def _reshape(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    sizes = [_size(size, x[0]) for size in of["shape"]]
    parts = [piece for size in sizes for piece in (*size, ", ")][:-1]
    return *x[0], ".reshape(", *parts, ")"


def _size(size: int | str, x: Text) -> Text:
    if isinstance(size, str):
        return *x, f".shape[{size[1:]}]"
    return ("-1",) if size == -1 else (Hole("size", size),)


def _flatten(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    return "ops.flatten(", *x[0], ")" if of["start"] == 1 else f", start_dim={of['start']})"


def _expand(of: Mapping[str, Any], x: Sequence[Text], rank: int) -> Text:
    return (
        "ops.broadcast_to(",
        *x[0],
        ", (",
        *x[1],
        ".shape[0]" + ", -1" * (rank - 1) + ("," if rank == 1 else ""),
        "))",
    )


_OPERATIONS: Mapping[str, Operation] = {
    "add": _infix("+"),
    "mul": _infix("*"),
    "mean": _mean,
    "max": _max,
    "pad": _pad,
    "adaptive_avg_pool": _adaptive,
    "cat": _cat,
    "slice": _slice,
    "reshape": _reshape,
    "flatten": _flatten,
    "expand": _expand,
    "permute": lambda of, x, rank: (*x[0], f".transpose({', '.join(map(str, of['axes']))})"),
    "patch_merge": lambda of, x, rank: ("merge_patches(", *x[0], ")"),
    "matmul": lambda of, x, rank: ("ops.matmul(", *x[0], ", ", *x[1], ")"),
}
