"""Kinds of `xfer.graphs.kinds` that Swin and MaxViT have: attention within windows of maps (N, ..., H, W, D)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, ops
from numpy.typing import NDArray

Function = Callable[[Tensor], Tensor]
Scores = Callable[[Tensor, Tensor], Tensor]
Attributes = Mapping[str, Any]
Weights = Mapping[str, Parameter]
Array = NDArray[Any]

APART = -100.0
_LINEAR = ops.MatMul(transpose_b=True)
_BIAS = ops.BiasAdd()
_AGAINST = ops.BatchMatMul(transpose_b=True)
_WITH = ops.BatchMatMul()


def window_attention(of: Attributes, weights: Weights) -> Function:
    scale, (rows, columns) = float(of["scale"]), of["window"]
    pairs = Tensor(_pairs(rows, columns))

    def scores(query: Tensor, key: Tensor) -> Tensor:
        return _AGAINST(query * scale, key)

    def attend(x: Tensor) -> Tensor:
        biases = ops.gather(weights["table"], pairs, 0).transpose(2, 0, 1)
        return _attend(x, of, weights, weights["qkv_bias"], scores, biases)

    return attend


def cosine_window_attention(of: Attributes, weights: Weights) -> Function:
    rows, columns = of["window"]
    pairs, ways = Tensor(_pairs(rows, columns)), Tensor(_ways(rows, columns))
    width = weights["proj_bias"].shape[0]
    but_keys = Tensor(np.repeat(np.array([1, 0, 1], np.float32), width))

    def scores(query: Tensor, key: Tensor) -> Tensor:
        factors = ops.exp(ops.minimum(weights["logit_scale"], math.log(100)))
        return _AGAINST(_of_length_one(query), _of_length_one(key)) * factors

    def attend(x: Tensor) -> Tensor:
        hidden = ops.relu(_linear(ways, weights["mlp_in_weight"], weights["mlp_in_bias"]))
        table = 16 * ops.sigmoid(_LINEAR(hidden, weights["mlp_out_weight"]))
        biases = ops.gather(table, pairs, 0).transpose(2, 0, 1)
        return _attend(x, of, weights, weights["qkv_bias"] * but_keys, scores, biases)

    return attend


def patch_merge(x: Tensor) -> Tensor:
    x = _padded(x, x.shape[1] % 2, x.shape[2] % 2)
    height, width, channels = x.shape[1:]
    parts = x.reshape(-1, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 4, 2, 5)
    return parts.reshape(-1, height // 2, width // 2, 4 * channels)


def _attend(x: Tensor, of: Attributes, weights: Weights, qkv_bias: Tensor, scores: Scores, biases: Tensor) -> Tensor:
    """`scores` are of queries and keys (N, windows, heads, L, D / heads), `biases` (heads, L, L)."""
    heads, (rows, columns), (height, width, channels) = of["heads"], of["window"], x.shape[-3:]
    high, wide = rows * math.ceil(height / rows), columns * math.ceil(width / columns)
    maps = _padded(x.reshape(-1, height, width, channels), high - height, wide - width)
    # An axis that one window covers is not shifted.
    down, along = (of["shift"][0] if high > rows else 0, of["shift"][1] if wide > columns else 0)
    maps = _turned(_turned(maps, 1, down), 2, along)
    cut = (high // rows, rows, wide // columns, columns, channels)
    tokens = maps.reshape(-1, *cut).transpose(0, 1, 3, 2, 4, 5)
    windows, length = cut[0] * cut[2], rows * columns
    made = _linear(tokens, weights["qkv_weight"], qkv_bias)
    # Not by an index: MindSpore 2.10 forgets at times, in a process that has done much, that an int is one.
    parts = (ops.narrow(made, 1, part * channels, channels) for part in range(3))
    split = (-1, windows, length, heads, channels // heads)
    query, key, value = (part.reshape(split).transpose(0, 1, 3, 2, 4) for part in parts)
    if down or along:
        biases = biases + _apart((high, wide), (rows, columns), (down, along))
    mixed = _WITH(ops.softmax(scores(query, key) + biases, -1), value).transpose(0, 1, 3, 2, 4)
    result = _linear(mixed.reshape(-1, channels), weights["proj_weight"], weights["proj_bias"])
    maps = result.reshape(-1, cut[0], cut[2], rows, columns, channels).transpose(0, 1, 3, 2, 4, 5)
    maps = _turned(_turned(maps.reshape(-1, high, wide, channels), 2, wide - along), 1, high - down)
    return ops.narrow(ops.narrow(maps, 1, 0, height), 2, 0, width).reshape(-1, *x.shape[1:])


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """On the last axis, and flat: (..., I) -> (M, O)."""
    return _BIAS(_LINEAR(x.reshape(-1, x.shape[-1]), weight), bias)


def _of_length_one(x: Tensor) -> Tensor:
    """Of zeros, as keys of padding are, zeros; and their gradient is finite, unlike that of a square root."""
    return x * ops.rsqrt(ops.maximum((x * x).sum(-1, keepdims=True), 1e-24))


def _padded(maps: Tensor, below: int, right: int) -> Tensor:
    return ops.pad(maps, (0, 0, 0, right, 0, below)) if below or right else maps


def _turned(maps: Tensor, axis: int, start: int) -> Tensor:
    """The axis from `start` on, and then what is before it. ops.roll has no kernel on the CPU."""
    side = maps.shape[axis]
    if start in (0, side):
        return maps
    return ops.cat((ops.narrow(maps, axis, start, side - start), ops.narrow(maps, axis, 0, start)), axis)


def _pairs(rows: int, columns: int) -> Array:
    """(L, L): the way from one token of a window to another, as a row of the table."""
    row, column = (axis.ravel() for axis in np.mgrid[:rows, :columns])
    down, along = (axis[:, None] - axis for axis in (row, column))
    return ((down + rows - 1) * (2 * columns - 1) + along + columns - 1).astype(np.int32)


def _ways(rows: int, columns: int) -> Array:
    """(R, 2): height and width of each way, on a logarithmic scale."""
    sides = [np.arange(1 - side, side) / max(side - 1, 1) for side in (rows, columns)]
    ways = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2) * 8
    return (np.sign(ways) * np.log2(abs(ways) + 1) / 3).astype(np.float32)


@lru_cache(maxsize=64)
def _apart(sides: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """(windows, 1, L, L): APART where two tokens of a window were not next to each other before the shift."""
    rows, columns = (_regions(*axis) for axis in zip(sides, window, shift, strict=True))
    regions = (3 * rows[:, None, :, None] + columns[None, :, None, :]).reshape(-1, math.prod(window))
    apart = np.where(regions[:, :, None] == regions[:, None], 0, APART)
    return Tensor(apart[:, None].astype(np.float32))


def _regions(side: int, length: int, shift: int) -> Array:
    """(windows, length): before the last window, in it and before the edge, and behind the edge."""
    ends: Sequence[int] = [side - length, side - shift] if shift else [side]
    return np.searchsorted(ends, np.arange(side), side="right").reshape(-1, length)
