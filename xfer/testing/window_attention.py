"""The kinds of node of Swin and MaxViT: attention in windows of maps (N, ..., H, W, D). Part of `xfer.testing.kinds`.

Which tokens are in a window is said by their places in the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, prod

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float64

Ints = Sequence[int]
Indices = NDArray[np.int64]
APART = -100.0
"""What is added between tokens that were not next to each other before the windows were shifted around the edges."""


def window_attention(
    x: Float64,
    qkv_weight: Float64,
    qkv_bias: Float64,
    proj_weight: Float64,
    proj_bias: Float64,
    table: Float64,
    *,
    heads: int,
    window: Ints,
    shift: Ints,
    scale: float,
) -> Float64:
    """softmax(scale q k^T + bias + apart) v in each window and head, then proj (Liu et al. 2021, "Swin", section 3.2).

    q, k, v = x qkv_weight^T + qkv_bias, one above the other, and each head having D / heads of their columns. Head h
    adds table[way, h] from token (r, c) of a window to (r', c'), way = (r - r' + height - 1) (2 width - 1) + c - c' +
    width - 1. `apart` is APART between tokens of other regions, as windows that are shifted around the edges have.
    """

    def scores(q: Float64, k: Float64) -> Float64:
        return np.asarray(scale * q @ k.swapaxes(-1, -2) + _by_way(table, window))

    return _attend(x, (qkv_weight, qkv_bias, proj_weight, proj_bias), heads, window, shift, scores)


def cosine_window_attention(
    x: Float64,
    qkv_weight: Float64,
    qkv_bias: Float64,
    proj_weight: Float64,
    proj_bias: Float64,
    logit_scale: Float64,
    mlp_in_weight: Float64,
    mlp_in_bias: Float64,
    mlp_out_weight: Float64,
    *,
    heads: int,
    window: Ints,
    shift: Ints,
) -> Float64:
    """As `window_attention`, of cosines: exp(min(logit_scale, log 100)) q k^T / (|q| |k|) + bias + apart.

    A length below 1e-12 counts as that, and the bias of the keys, the second third of qkv_bias, as 0. bias = 16
    sigmoid(mlp), where mlp = relu(p mlp_in_weight^T + mlp_in_bias) mlp_out_weight^T and p, for each axis, is sign(d)
    log2(8 |d| + 1) / 3 of the distance d = (r - r') / (height - 1), or 0 in a window of one row (Liu et al. 2022, "Swin
    V2", sections 3.2 and 3.3).
    """
    width = x.shape[-1]
    without_keys = np.concatenate([qkv_bias[:width], np.zeros(width), qkv_bias[2 * width :]])
    distances = [np.arange(1 - side, side) / max(side - 1, 1) for side in window]
    ways = np.stack(np.meshgrid(*distances, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.sign(ways) * np.log2(8 * abs(ways) + 1) / 3
    made = np.maximum(places @ mlp_in_weight.T + mlp_in_bias, 0) @ mlp_out_weight.T
    biases = 16 / (1 + np.exp(-_by_way(made, window)))

    def scores(q: Float64, k: Float64) -> Float64:
        q, k = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (q, k))
        return np.asarray(np.exp(np.minimum(logit_scale, log(100))) * (q @ k.swapaxes(-1, -2)) + biases)

    return _attend(x, (qkv_weight, without_keys, proj_weight, proj_bias), heads, window, shift, scores)


def patch_merge(x: Float64) -> Float64:
    """(N, H, W, C) -> (N, H / 2, W / 2, 4 C), rounded up: rows 2 i, 2 i + 1 of column 2 j, then those of 2 j + 1."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    return np.concatenate([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], axis=-1)


def _attend(
    x: Float64,
    weights: tuple[Float64, ...],
    heads: int,
    window: Ints,
    shift: Ints,
    scores: Callable[[Float64, Float64], Float64],
) -> Float64:
    qkv_weight, qkv_bias, proj_weight, proj_bias = weights
    sides, width = x.shape[-3:-1], x.shape[-1]
    maps = x.reshape(-1, *sides, width)
    maps = np.pad(maps, ((0, 0), *[(0, -side % length) for side, length in zip(sides, window, strict=True)], (0, 0)))
    places, regions = _places(maps.shape[1:3], window, shift)
    tokens = maps.reshape(len(maps), -1, width)[:, places]  # (M, windows, L, D)
    parts = (tokens @ qkv_weight.T + qkv_bias).reshape(*tokens.shape[:3], 3, heads, width // heads)
    q, k, v = parts.transpose(3, 0, 1, 4, 2, 5)  # each (M, windows, heads, L, D / heads)
    apart = np.where(regions[:, :, None] == regions[:, None], 0, APART)[:, None]
    raised = scores(q, k) + apart
    shares = np.exp(raised - raised.max(axis=-1, keepdims=True))
    mixed = (shares / shares.sum(axis=-1, keepdims=True) @ v).swapaxes(2, 3).reshape(tokens.shape)
    result = np.zeros((len(maps), prod(maps.shape[1:3]), width))
    result[:, places] = mixed @ proj_weight.T + proj_bias
    return result.reshape(maps.shape)[:, : sides[0], : sides[1]].reshape(x.shape)


def _places(sides: Ints, window: Ints, shift: Ints) -> tuple[Indices, Indices]:
    """Which token of the flattened map stands where in which window, (windows, L), and the region that it is of.

    The windows begin `shift` down and to the right, and the last ones go on at the other edge. Of an axis, what comes
    before the last window is one region, what is in it before the edge another, and what is behind the edge a third.
    """
    rows, columns = (_of_axis(*axis) for axis in zip(sides, window, shift, strict=True))
    places = rows[0][:, None, :, None] * sides[1] + columns[0][None, :, None, :]
    regions = rows[1][:, None, :, None] * 3 + columns[1][None, :, None, :]
    return places.reshape(-1, prod(window)), regions.reshape(-1, prod(window))


def _of_axis(side: int, length: int, shift: int) -> tuple[Indices, Indices]:
    """(windows, length): places along one axis, and their regions."""
    moved = shift if side > length else 0
    order = np.arange(side)
    regions = np.searchsorted([side - length, side - moved] if moved else [side], order, side="right")
    return ((order + moved) % side).reshape(-1, length), regions.reshape(-1, length)


def _by_way(rows: Float64, window: Ints) -> Float64:
    """(R, heads) -> (heads, L, L): of each pair of tokens, that of the way from the first to the second."""
    height, width = window
    row, column = (axis.ravel() for axis in np.mgrid[:height, :width])
    way = (row[:, None] - row + height - 1) * (2 * width - 1) + column[:, None] - column + width - 1
    return np.asarray(rows[way].transpose(2, 0, 1))
