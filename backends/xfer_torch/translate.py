"""torch's modules, functions and methods in the kinds of `xfer.graphs.kinds`.

Each translation is a function of a sheet, to write nodes on, and of the arguments that torch's own has, by the same
names. One that is asked for what no kind can say raises UnknownError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from torch import nn

from xfer_torch.observed import follow
from xfer_torch.sheet import Padded, Ref, Sheet, axis_of, needs, pair, unpadded

# ---- modules: (sheet, module, *inputs)


def conv(sheet: Sheet, module: nn.Conv2d, input: Ref | Padded) -> Ref:
    needs(module.padding_mode == "zeros", f"padding_mode = {module.padding_mode}")
    # As torch pads for "same" and "valid" as well: left and right, then top and bottom.
    left, right, top, bottom = module._reversed_padding_repeated_twice
    maps, around = unpadded(input)
    return sheet.node(
        "conv",
        maps,
        weights=sheet.slots("weight", "bias"),
        stride=pair(module.stride),
        padding=[own + more for own, more in zip((top, bottom, left, right), around, strict=True)],
        dilation=pair(module.dilation),
        groups=module.groups,
    )


def linear(sheet: Sheet, module: nn.Linear, input: Ref) -> Ref:
    return sheet.node("linear", input, weights=sheet.slots("weight", "bias"))


def batch_norm(sheet: Sheet, module: nn.BatchNorm2d, input: Ref) -> Ref:
    needs(module.affine and module.track_running_stats, "a BatchNorm2d without weights or statistics")
    needs(module.momentum is not None, "momentum = None")
    slots = sheet.slots("weight", "bias", "running_mean", "running_var")
    return sheet.node("batch_norm", input, weights=slots, eps=module.eps, momentum=module.momentum)


def layer_norm_module(sheet: Sheet, module: nn.LayerNorm, input: Ref) -> Ref:
    needs(len(module.normalized_shape) == 1, f"normalized_shape = {module.normalized_shape}")
    slots = sheet.slots("weight", "bias")
    needs(len(slots) == 2, "a LayerNorm without weight or bias")
    return sheet.node("layer_norm", input, weights=slots, eps=module.eps)


def attention(
    sheet: Sheet, module: nn.MultiheadAttention, query: Ref, key: Ref, value: Ref, need_weights: bool = True
) -> tuple[Ref, None]:
    needs(query == key == value, "attention from one tensor to another")
    needs(module.batch_first and not module.add_zero_attn and module.bias_k is None, "this MultiheadAttention")
    slots = {"in_weight": "in_proj_weight", "in_bias": "in_proj_bias"}
    slots |= {"out_weight": "out_proj.weight", "out_bias": "out_proj.bias"}
    slots = {slot: f"{sheet.path}.{name}" for slot, name in slots.items()}
    needs(all(name in sheet.weights for name in slots.values()), "a MultiheadAttention without biases")
    shapes = query.shapes
    return sheet.part(sheet.name, shapes, "attention", query, weights=slots, heads=module.num_heads), None


# ---- functions and methods: (sheet, *arguments)


def activation(kind: str) -> Callable[..., Ref]:
    def translate(sheet: Sheet, input: Ref, inplace: bool = False) -> Ref:
        return sheet.node(kind, input)

    return translate


def softmax(sheet: Sheet, input: Ref, dim: Any = None) -> Ref:
    return sheet.node("softmax", input, axis=axis_of(dim, input.rank))


def max_pool(
    sheet: Sheet, input: Ref, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Ref:  # fmt: skip
    needs(not return_indices, "return_indices")
    kernel = pair(kernel_size)
    return sheet.node(
        "max_pool", input, kernel=kernel, stride=pair(stride) if stride else kernel, padding=pair(padding),
        dilation=pair(dilation), ceil=bool(ceil_mode),
    )  # fmt: skip


def avg_pool(
    sheet: Sheet, input: Ref, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Ref:  # fmt: skip
    needs(divisor_override is None, "divisor_override")
    kernel = pair(kernel_size)
    return sheet.node(
        "avg_pool", input, kernel=kernel, stride=pair(stride) if stride else kernel, padding=pair(padding),
        ceil=bool(ceil_mode), count_pad=bool(count_include_pad),
    )  # fmt: skip


def adaptive_avg_pool(sheet: Sheet, input: Ref, output_size: Any) -> Ref:
    return sheet.node("adaptive_avg_pool", input, size=pair(output_size))


def mean(sheet: Sheet, input: Ref, dim: Any = None, keepdim: bool = False) -> Ref:
    axes = range(input.rank) if dim is None else [dim] if isinstance(dim, int) else dim
    return sheet.node("mean", input, axes=sorted(axis_of(axis, input.rank) for axis in axes), keep=bool(keepdim))


def dropout(sheet: Sheet, input: Ref, p: float = 0.5, training: bool = True, inplace: bool = False) -> Ref:
    return sheet.node("dropout", input, p=p) if p else input


def stochastic_depth(sheet: Sheet, input: Ref, p: float, mode: str, training: bool = True) -> Ref:
    return sheet.node("stochastic_depth", input, p=p, mode=mode) if p else input


def add(sheet: Sheet, input: Any, other: Any) -> Ref:
    return _binary(sheet, "add", input, other)


def mul(sheet: Sheet, input: Any, other: Any) -> Ref:
    return _binary(sheet, "mul", input, other)


def div(sheet: Sheet, input: Any, other: Any) -> Ref:
    needs(isinstance(other, int | float) and other != 0, "a division by a tensor, or by zero")
    return _binary(sheet, "mul", input, 1 / other)


def _binary(sheet: Sheet, kind: str, a: Any, b: Any) -> Ref:
    if isinstance(a, Ref) and isinstance(b, Ref):
        return sheet.node(kind, a, b)
    tensor, value = (a, b) if isinstance(a, Ref) else (b, a)
    needs(isinstance(value, int | float) and math.isfinite(value), f"{kind} of a {type(value).__name__}")
    return sheet.node(kind, tensor, value=value)


def matmul(sheet: Sheet, input: Ref, other: Ref) -> Ref:
    return sheet.node("matmul", input, other)


def cat(sheet: Sheet, tensors: Sequence[Ref], dim: int = 0) -> Ref:
    return sheet.node("cat", *tensors, axis=axis_of(dim, tensors[0].rank))


def chunk(sheet: Sheet, input: Ref, chunks: int, dim: int = 0) -> tuple[Ref, ...]:
    return _pieces(sheet, input, -(-_length(input, axis_of(dim, input.rank)) // chunks), dim)


def split(sheet: Sheet, input: Ref, split_size: Any, dim: int = 0) -> tuple[Ref, ...]:
    if isinstance(split_size, int):
        return _pieces(sheet, input, split_size, dim)
    axis, ends = axis_of(dim, input.rank), accumulate(split_size)
    parts = enumerate(zip(split_size, ends, strict=True))
    return tuple(piece(sheet, f"{sheet.name}.{i}", input, axis, end - size, end) for i, (size, end) in parts)


def _pieces(sheet: Sheet, input: Ref, step: int, dim: int) -> tuple[Ref, ...]:
    axis = axis_of(dim, input.rank)
    length = _length(input, axis)
    starts = range(0, length, step)
    return tuple(
        piece(sheet, f"{sheet.name}.{i}", input, axis, start, min(start + step, length))
        for i, start in enumerate(starts)
    )


def _length(input: Ref, axis: int) -> int:
    lengths = {shape[axis] for shape in input.shapes}
    needs(len(lengths) == 1, "parts of an axis whose length follows the batch or the picture")
    return lengths.pop()


def piece(sheet: Sheet, name: str, input: Ref, axis: int, start: int, stop: int) -> Ref:
    shapes = tuple((*shape[:axis], stop - start, *shape[axis + 1 :]) for shape in input.shapes)
    return sheet.part(name, shapes, "slice", input, axis=axis, start=start, stop=stop)


def getitem(sheet: Sheet, input: Any, index: Any) -> Any:
    if isinstance(input, tuple):
        return input[index]
    entries = index if isinstance(index, tuple) else (index,)
    other = [type(entry).__name__ for entry in entries if not isinstance(entry, int | slice)]
    needs(not other, f"an index that is a {'tensor' if 'Ref' in other else ', '.join(other)}")
    for axis, entry in enumerate(entries):
        if entry == slice(None):
            continue
        length = _length(input, axis)
        if isinstance(entry, slice):
            needs(entry.step in (None, 1), "a slice with steps")
            start, stop, _ = entry.indices(length)
        else:
            start = axis_of(entry, length)
            stop = start + 1
        needs(stop > start, "an empty slice")
        input = piece(sheet, f"{sheet.name}.slice", input, axis, start, stop)
    return reshape(sheet, input) if any(isinstance(entry, int) for entry in entries) else input


def permute(sheet: Sheet, input: Ref, *dims: Any) -> Ref:
    axes = dims[0] if len(dims) == 1 else dims
    return sheet.node("permute", input, axes=[axis_of(axis, input.rank) for axis in axes])


def transpose(sheet: Sheet, input: Ref, dim0: int, dim1: int) -> Ref:
    axes = list(range(input.rank))
    a, b = axis_of(dim0, input.rank), axis_of(dim1, input.rank)
    axes[a], axes[b] = b, a
    return sheet.node("permute", input, axes=axes)


def flatten(sheet: Sheet, input: Ref, start_dim: int = 0, end_dim: int = -1) -> Ref:
    start, end = axis_of(start_dim, input.rank), axis_of(end_dim, input.rank)
    return sheet.node("flatten", input, start=start) if end == input.rank - 1 else reshape(sheet, input)


def reshape(sheet: Sheet, input: Ref, *sizes: Any) -> Ref:
    """Whatever the sizes were made of: what they came to in each run says it."""
    entries = [follow(entry, sheet.shapes, input.shapes) for entry in range(len(sheet.shapes[0]))]
    needs(entries.count(-1) <= 1, "a reshape in which two sizes follow the picture")
    return sheet.node("reshape", input, shape=entries)


def expand(sheet: Sheet, input: Ref, *sizes: Any) -> Ref:
    """Along the batch alone."""
    if sheet.shapes == input.shapes:
        return input
    picture = Ref("image", ())
    batches = [shape[:1] for shape in sheet.shapes]
    needs(batches[0] != batches[1] and all(shape[0] == 1 for shape in input.shapes), "an expansion but of the batch")
    needs(all(a[1:] == b[1:] for a, b in zip(sheet.shapes, input.shapes, strict=True)), "an expansion but of the batch")
    return sheet.node("expand", input, picture)


def unchanged(sheet: Sheet, input: Ref, *anything: Any) -> Ref:
    return input


def part_of(sheet: Sheet, word: str, kind: str, input: Ref, **attributes: Any) -> Ref:
    """A node on the way to the result, of the shape of its input."""
    return sheet.part(f"{sheet.name}.{word}", input.shapes, kind, input, **attributes)
