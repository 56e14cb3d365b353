"""The shape of what every node gives, for pictures of one size: integers alone, no arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xfer.errors import ConfigError
from xfer.graphs.graph import Graph, Node
from xfer.graphs.kinds import KINDS, MOST_ENTRIES

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_ACTIVATIONS = {"relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh"}
_ACTIVATIONS |= {"leaky_relu", "elu", "softplus", "clamp"}
_SAME_SHAPE = frozenset({*_ACTIVATIONS, "dropout", "stochastic_depth"})


def shapes_of(graph: Graph, size: tuple[int, int] | None = None, batch: int = 1) -> dict[str, Shape]:
    """Name of a node -> shape, for `batch` pictures of (height, width) `size`, by default the network's own.

    Raises ConfigError, naming the node, where shapes do not fit each other, as for pictures that are too small.
    """
    height, width = size or graph.size
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        if node.kind == "image":
            shapes[node.name] = (batch, graph.channels, height, width)
            continue
        try:
            shape = _shape(node, [shapes[name] for name in node.inputs], graph.weights)
        except (ValueError, IndexError) as error:
            taken = ", ".join(str(shapes[name]) for name in node.inputs)
            raise ConfigError(f"{node.name} ({node.kind}) cannot take {taken}: {error}") from None
        if math.prod(shape) > batch * MOST_ENTRIES:
            raise ConfigError(f"{node.name} ({node.kind}) would give more than {MOST_ENTRIES:,} values for a picture")
        if min(shape, default=1) < 1:
            raise ConfigError(
                f"pictures of {height} x {width} pixels are too small for {node.name} ({node.kind}), which would give "
                f"{shape}. Cure: larger pictures"
            )
        shapes[node.name] = shape
    return shapes


def work_of(graph: Graph, shapes: Shapes, nodes: Sequence[Node] | None = None) -> int:
    """Multiplications of weights with values, for the pictures that `shapes` are of: of layers, and in attention.

    `nodes`: of the graph, if not all.
    """
    total = 0
    for node in graph.nodes if nodes is None else nodes:
        given = math.prod(shapes[node.name])
        if node.kind in ("conv", "linear"):
            total += given * math.prod(graph.weights[node.weights["weight"]][1:])
        elif node.kind == "attention":
            n, length, width = shapes[node.name]
            total += n * length * width * (4 * width + 2 * length)
        elif node.kind in ("window_attention", "cosine_window_attention"):
            *before, height, width, channels = shapes[node.name]
            rows, columns = node.attributes["window"]
            tokens = math.prod(before) * math.ceil(height / rows) * math.ceil(width / columns) * rows * columns
            total += tokens * channels * (4 * channels + 2 * rows * columns)
        elif node.kind == "matmul":
            total += given * shapes[node.inputs[0]][-1]
    return total


def _shape(node: Node, inputs: Sequence[Shape], weights: Shapes) -> Shape:
    if node.kind in _SAME_SHAPE:
        return inputs[0]
    slots = [slot for slot in KINDS[node.kind].slots if slot in node.weights]
    return _RULES[node.kind](node.attributes, inputs, [weights[node.weights[slot]] for slot in slots])


Rule = Callable[[Mapping[str, Any], Sequence[Shape], Sequence[Shape]], Shape]


def _conv(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    (n, channels, *sides), (outputs, taken, *kernel) = inputs[0], weights[0]
    if channels != taken * of["groups"]:
        raise ValueError(f"{channels} channels, expected {taken * of['groups']}")
    if of["padding"] == "same":
        return (n, outputs, *_begun(sides, of["stride"]))
    top, bottom, left, right = of["padding"]
    reach = [step * (k - 1) + 1 for step, k in zip(of["dilation"], kernel, strict=True)]
    padded = [sides[0] + top + bottom, sides[1] + left + right]
    return (n, outputs, *((p - r) // s + 1 for p, r, s in zip(padded, reach, of["stride"], strict=True)))


def _begun(sides: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Outputs with padding "same": strides begun."""
    return [math.ceil(side / step) for side, step in zip(sides, stride, strict=True)]


def _pool(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    n, channels, *sides = _maps(inputs[0])
    dilation = of.get("dilation", [1, 1])
    if of["padding"] == "same":
        if of["ceil"] or dilation != [1, 1]:
            raise ValueError('padding "same" with ceil or with a dilation')
        return (n, channels, *_begun(sides, of["stride"]))
    if any(2 * p > d * (k - 1) + 1 for p, d, k in zip(of["padding"], dilation, of["kernel"], strict=True)):
        raise ValueError("more padding than half of its window")
    return (n, channels, *map(_windows, sides, of["kernel"], of["stride"], of["padding"], dilation, 2 * [of["ceil"]]))


def _windows(side: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """As torch counts them: rounded up, the last one still begins inside the picture or its left padding."""
    room = side + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= side + padding else count


def _maps(shape: Shape) -> Shape:
    if len(shape) != 4:
        raise ValueError("expected maps")
    return shape


def _norm(axis: int) -> Rule:
    """Of a layer that gives what it takes, with as many weights as there are entries on the axis."""

    def rule(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
        if inputs[0][axis] != weights[0][-1]:
            raise ValueError(f"{inputs[0][axis]} values, expected {weights[0][-1]}")
        return inputs[0]

    return rule


def _group_norm(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    channels = inputs[0][1]
    if channels % of["groups"]:
        raise ValueError(f"{channels} channels in {of['groups']} groups")
    return _norm(1)(of, inputs, weights)


def _pad(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    n, channels, height, width = _maps(inputs[0])
    top, bottom, left, right = of["padding"]
    return n, channels, height + top + bottom, width + left + right


def _attention(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len(inputs[0]) != 3:
        raise ValueError("expected tokens")
    return _norm(2)(of, inputs, weights)


def _windows_of_maps(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len(inputs[0]) < 4:
        raise ValueError("expected maps with their channels behind")
    return _norm(-1)(of, inputs, weights)


def _patch_merge(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    n, height, width, channels = _maps(inputs[0])
    return n, math.ceil(height / 2), math.ceil(width / 2), 4 * channels


def _softmax(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    _refuse_axes([of["axis"]], inputs[0])
    return inputs[0]


def _refuse_axes(axes: Sequence[int], shape: Shape) -> None:
    if max(axes) >= len(shape):
        raise ValueError(f"there is no axis {max(axes)}")


def _linear(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    outputs, taken = weights[0]
    if inputs[0][-1] != taken:
        raise ValueError(f"{inputs[0][-1]} values, expected {taken}")
    return (*inputs[0][:-1], outputs)


def _mean(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    axes = of["axes"]
    _refuse_axes(axes, inputs[0])
    kept = [1 if axis in axes else side for axis, side in enumerate(inputs[0])]
    return tuple(side for axis, side in enumerate(kept) if of["keep"] or axis not in axes)


def _broadcast(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len(inputs) == 1:
        return inputs[0]
    length = max(map(len, inputs))
    padded = [(1,) * (length - len(shape)) + shape for shape in inputs]
    columns = [set(sides) - {1} for sides in zip(*padded, strict=True)]
    if any(len(sides) > 1 for sides in columns):
        raise ValueError("their sizes differ")
    return tuple(next(iter(sides), 1) for sides in columns)


def _cat(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    axis = of["axis"]
    for shape in inputs:
        _refuse_axes([axis], shape)
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}) > 1:
        raise ValueError("their sizes differ")
    return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


def _slice(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    axis = of["axis"]
    _refuse_axes([axis], inputs[0])
    stop = min(of["stop"], inputs[0][axis])
    return (*inputs[0][:axis], stop - of["start"], *inputs[0][axis + 1 :])


def _reshape(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    wanted = [inputs[0][int(side[1:])] if isinstance(side, str) else side for side in of["shape"]]
    count, known = math.prod(inputs[0]), math.prod(side for side in wanted if side != -1)
    if count % known or (-1 not in wanted and count != known):
        raise ValueError(f"expected values for {wanted}")
    return tuple(count // known if side == -1 else side for side in wanted)


def _flatten(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    _refuse_axes([of["start"]], inputs[0])
    return (*inputs[0][: of["start"]], math.prod(inputs[0][of["start"] :]))


def _permute(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len(of["axes"]) != len(inputs[0]):
        raise ValueError(f"expected {len(of['axes'])} axes")
    return tuple(inputs[0][axis] for axis in of["axes"])


def _expand(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if inputs[0][0] != 1:
        raise ValueError("expected one entry on axis 0 of the first")
    return (inputs[1][0], *inputs[0][1:])


def _matmul(of: Mapping[str, Any], inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    first, second = inputs
    if first[-1] != second[-2]:
        raise ValueError("their sizes differ")
    return (*_broadcast(of, [first[:-2], second[:-2]], weights), first[-2], second[-1])


_RULES: Mapping[str, Rule] = {
    "conv": _conv,
    "batch_norm": _norm(1),
    "layer_norm": _norm(-1),
    "group_norm": _group_norm,
    "attention": _attention,
    "window_attention": _windows_of_maps,
    "cosine_window_attention": _windows_of_maps,
    "patch_merge": _patch_merge,
    "softmax": _softmax,
    "max_pool": _pool,
    "avg_pool": _pool,
    "linear": _linear,
    "mean": _mean,
    "max": _mean,
    "pad": _pad,
    "add": _broadcast,
    "mul": _broadcast,
    "cat": _cat,
    "slice": _slice,
    "reshape": _reshape,
    "flatten": _flatten,
    "matmul": _matmul,
    "adaptive_avg_pool": lambda of, inputs, weights: (*_maps(inputs[0])[:2], *of["size"]),
    "permute": _permute,
    "expand": _expand,
    "table": lambda of, inputs, weights: weights[0],
}
