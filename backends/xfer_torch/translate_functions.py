"""torch's layers as functions of their weights, and what several nodes say together: see `xfer_torch.translate`.

ATen's operators, which `torch.export` gives, are functions too; where their arguments have another order, the name here
begins with `aten_`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xfer_torch.observed import Shapes
from xfer_torch.sheet import Ended, Padded, Ref, Sheet, axis_of, needs, pair, unpadded
from xfer_torch.translate import add, mul, part_of, piece

SAME_BEHIND = 2**63 - 1
"""The end of a slice that has none, as ATen writes it."""


def conv2d(
    sheet: Sheet, input: Ref | Padded, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Ref:  # fmt: skip
    slots = sheet.parameters(weight=weight, bias=bias)
    maps, around = unpadded(input)
    own = _padding(sheet, slots["weight"], padding, dilation)
    return sheet.part(
        sheet.layer_of(slots["weight"]), sheet.shapes, "conv", maps, weights=slots, stride=pair(_whole(stride)),
        padding=[side + more for side, more in zip(own, around, strict=True)], dilation=pair(_whole(dilation)),
        groups=groups,
    )  # fmt: skip


def _padding(sheet: Sheet, weight: str, padding: Any, dilation: Any) -> list[int]:
    """Top, bottom, left, right. "same" is torch's, for strides of 1: an odd pixel is behind."""
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(pair(_whole(dilation)), sheet.weights[weight][2:], strict=True)]
        return [side for total in reach for side in (total // 2, total - total // 2)]
    rows, columns = [0, 0] if padding == "valid" else pair(_whole(padding))
    return [rows, rows, columns, columns]


def _whole(sizes: Any) -> Any:
    """ATen writes one size for both axes as a list of one."""
    return sizes[0] if isinstance(sizes, list | tuple) and len(sizes) == 1 else sizes


def linear(sheet: Sheet, input: Ref, weight: Any, bias: Any = None) -> Ref:
    slots = sheet.parameters(weight=weight, bias=bias)
    return sheet.part(sheet.layer_of(slots["weight"]), sheet.shapes, "linear", input, weights=slots)


def batch_norm(
    sheet: Sheet, input: Ref, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5,
) -> Ref:  # fmt: skip
    needs(not training, "batch_norm by the statistics of the batch")
    needs(input.rank == 4, f"batch_norm of {input.rank} axes")
    needs(bool(momentum), "batch_norm with momentum 0, or None, which is written so")
    slots = sheet.parameters(weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    needs(len(slots) == 4, "batch_norm without weight or bias")
    name = sheet.layer_of(slots["weight"])
    return sheet.part(name, sheet.shapes, "batch_norm", input, weights=slots, eps=eps, momentum=momentum)


def aten_batch_norm(
    sheet: Sheet, input: Ref, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool,
    momentum: float, eps: float, cudnn_enabled: bool,
) -> Ref:  # fmt: skip
    return batch_norm(sheet, input, running_mean, running_var, weight, bias, training, momentum, eps)


def layer_norm(
    sheet: Sheet, input: Ref, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Ref:  # fmt: skip
    needs(len(normalized_shape) == 1, f"normalized_shape = {normalized_shape}")
    slots = sheet.parameters(weight=weight, bias=bias)
    needs(len(slots) == 2, "layer_norm without weight or bias")
    return sheet.part(sheet.layer_of(slots["weight"]), sheet.shapes, "layer_norm", input, weights=slots, eps=eps)


def attention(
    sheet: Sheet, query: Ref, key: Ref, value: Ref, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Ref:  # fmt: skip
    """softmax(scale * Q K^T + mask) V, of (..., L, E)."""
    needs(not is_causal and not enable_gqa, "attention that is causal or grouped")
    needs(attn_mask is None or isinstance(attn_mask, Ref), f"attention with a mask {type(attn_mask).__name__}")
    name, width = sheet.name, query.shapes[0][-1]
    swapped = tuple((*shape[:-2], shape[-1], shape[-2]) for shape in key.shapes)
    pairs = tuple((*q[:-1], k[-2]) for q, k in zip(query.shapes, key.shapes, strict=True))
    axes = [*range(key.rank - 2), key.rank - 1, key.rank - 2]
    scaled = sheet.part(f"{name}.scale", query.shapes, "mul", query, value=width**-0.5 if scale is None else scale)
    keys = sheet.part(f"{name}.keys", swapped, "permute", key, axes=axes)
    scores = sheet.part(f"{name}.scores", pairs, "matmul", scaled, keys)
    if attn_mask is not None:
        scores = sheet.part(f"{name}.mask", pairs, "add", scores, attn_mask)
    shares = sheet.part(f"{name}.softmax", pairs, "softmax", scores, axis=query.rank - 1)
    return sheet.node("matmul", shares, value)


def square(sheet: Sheet, input: Ref) -> Ref:
    return mul(sheet, input, input)


def power(sheet: Sheet, input: Ref, exponent: Any) -> Ref:
    needs(exponent == 2, f"the power {exponent}")
    return square(sheet, input)


def largest(sheet: Sheet, input: Ref, dim: Any = (), keepdim: bool = False) -> Ref:
    axes = [dim] if isinstance(dim, int) else dim or range(input.rank)
    return sheet.node("max", input, axes=sorted(axis_of(axis, input.rank) for axis in axes), keep=bool(keepdim))


def adaptive_max_pool(sheet: Sheet, input: Ref, output_size: Any, return_indices: bool = False) -> Ref:
    needs(not return_indices and pair(output_size) == [1, 1], f"adaptive_max_pool2d to {output_size}, or with indices")
    return sheet.node("max", input, axes=[2, 3], keep=True)


def aten_adaptive_max_pool(sheet: Sheet, input: Ref, output_size: Any) -> tuple[Ref, None]:
    return adaptive_max_pool(sheet, input, output_size), None


def group_norm(
    sheet: Sheet, input: Ref, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Ref:  # fmt: skip
    slots = sheet.parameters(weight=weight, bias=bias)
    needs(len(slots) == 2, "group_norm without weight or bias")
    name = sheet.layer_of(slots["weight"])
    return sheet.part(name, sheet.shapes, "group_norm", input, weights=slots, groups=num_groups, eps=eps)


def instance_norm(
    sheet: Sheet, input: Ref, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool,
    momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Ref:  # fmt: skip
    """Groups of one channel."""
    needs(use_input_stats and running_mean is None, "instance_norm with statistics")
    return group_norm(sheet, input, input.shapes[0][1], weight, bias, eps)


def log_softmax(sheet: Sheet, input: Ref, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Ended:
    """Of logits, with which a network may end: no node."""
    needs(dtype in (None, False) and input.rank == 2 and axis_of(dim, 2) == 1, "a log_softmax but of logits")
    return Ended(input, "log_softmax")


def neg(sheet: Sheet, input: Ref) -> Ref:
    return mul(sheet, input, -1.0)


def sub(sheet: Sheet, input: Any, other: Any) -> Ref:
    if isinstance(other, int | float):
        return add(sheet, input, -other)
    return add(sheet, input, part_of(sheet, "negative", "mul", other, value=-1.0))


def addcmul(sheet: Sheet, input: Ref, tensor1: Ref, tensor2: Ref, value: float = 1) -> Ref:
    """input + value * tensor1 * tensor2."""
    needs(value == 1, f"addcmul with value = {value}")
    return sheet.node("add", input, sheet.part(f"{sheet.name}.mul", sheet.shapes, "mul", tensor1, tensor2))


def total(sheet: Sheet, input: Ref, dim: Any = None, keepdim: bool = False) -> Ref:
    """A sum is so many times the mean."""
    axes = sorted(axis_of(axis, input.rank) for axis in ([dim] if isinstance(dim, int) else dim or range(input.rank)))
    counts = {math.prod(shape[axis] for axis in axes) for shape in input.shapes}
    needs(len(counts) == 1, "a sum over an axis whose length follows the batch or the picture")
    mean = sheet.part(f"{sheet.name}.mean", sheet.shapes, "mean", input, axes=axes, keep=bool(keepdim))
    return sheet.node("mul", mean, value=float(counts.pop()))


# ---- parts of tensors


def unbind(sheet: Sheet, input: Ref, dim: int = 0) -> tuple[Ref, ...]:
    axis = axis_of(dim, input.rank)
    return tuple(select(sheet, input, axis, place) for place in range(_length(input.shapes, axis)))


def select(sheet: Sheet, input: Ref, dim: int, index: int) -> Ref:
    axis = axis_of(dim, input.rank)
    place = index if index >= 0 else index + _length(input.shapes, axis)
    return _without(sheet, piece(sheet, f"{sheet.name}.slice", input, axis, place, place + 1), axis)


def stack(sheet: Sheet, tensors: Sequence[Ref], dim: int = 0) -> Ref:
    axis = axis_of(dim, tensors[0].rank + 1)
    return sheet.node("cat", *(_with(sheet, tensor, axis) for tensor in tensors), axis=axis)


def _with(sheet: Sheet, input: Ref, axis: int) -> Ref:
    """With one more axis, of length 1."""
    sizes = _sizes(input)
    shapes = tuple((*shape[:axis], 1, *shape[axis:]) for shape in input.shapes)
    return sheet.part(f"{sheet.name}.part", shapes, "reshape", input, shape=[*sizes[:axis], 1, *sizes[axis:]])


def _sizes(input: Ref) -> list[int | str]:
    """Of its axes, for a reshape of it: those that follow the batch or the picture as such."""
    columns = enumerate(zip(*input.shapes, strict=True))
    return [f"@{axis}" if len(set(column)) > 1 else column[0] for axis, column in columns]


def _without(sheet: Sheet, input: Ref, axis: int) -> Ref:
    """Without an axis of length 1."""
    sizes = _sizes(input)
    shapes = tuple((*shape[:axis], *shape[axis + 1 :]) for shape in input.shapes)
    return sheet.part(sheet.name, shapes, "reshape", input, shape=[*sizes[:axis], *sizes[axis + 1 :]])


def aten_slice(sheet: Sheet, input: Ref, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Ref:
    axis = axis_of(dim, input.rank)
    needs(step == 1, "a slice with steps")
    if start in (None, 0) and end in (None, SAME_BEHIND):
        return input
    first, last, _ = slice(start, end).indices(_length(input.shapes, axis))
    needs(last > first, "an empty slice")
    return piece(sheet, f"{sheet.name}.slice", input, axis, first, last)


def _length(shapes: Shapes, axis: int) -> int:
    lengths = {shape[axis] for shape in shapes}
    needs(len(lengths) == 1, "parts of an axis whose length follows the batch or the picture")
    return lengths.pop()


def pad(sheet: Sheet, input: Ref, pad: Any, mode: str = "constant", value: float | None = None) -> Padded | Ref:
    """Zeros around a map, which the convolution that takes it adds to its own."""
    needs(mode == "constant" and not value, f"padding with {value if mode == 'constant' else mode}")
    sides = [*pad, 0, 0, 0, 0][:4] if isinstance(pad, list | tuple) else 4 * [pad]
    needs(input.rank == 4 and min(sides) >= 0 and not any(list(pad)[4:]), f"the padding {list(pad)}")
    left, right, top, bottom = sides
    return Padded(input, (top, bottom, left, right)) if any(sides) else input


def aten_constant_pad(sheet: Sheet, input: Ref, sides: Any, value: float = 0.0) -> Padded | Ref:
    return pad(sheet, input, sides, "constant", value)


def aten_rsub(sheet: Sheet, input: Any, other: Any) -> Ref:
    return sub(sheet, other, input)
