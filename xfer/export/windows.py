"""Attention in windows of maps, in ONNX: which token stands in which window is known, and so are all biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, prod

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float64
from xfer.export.writer import Given, Writer

APART = -100.0
"""Added between tokens that were not next to each other before the windows were shifted around the edges."""
Ints = NDArray[np.int64]
Scores = Callable[[str, str], str]
"""Of queries, and of keys with their last two axes swapped."""


def window_attention(w: Writer, of: Given) -> str:
    def scores(q: str, k: str) -> str:
        product = w.op("MatMul", w.op("Mul", q, w.constant(of["scale"])), k)
        return w.op("Add", product, w.constant(_by_way(of.weights["table"].astype(np.float64), of["window"])))

    return _attend(w, of, w.weight(of, "qkv_bias"), scores)


def cosine_window_attention(w: Writer, of: Given) -> str:
    weights = {slot: array.astype(np.float64) for slot, array in of.weights.items()}
    width = len(weights["proj_bias"])
    without_keys = weights["qkv_bias"] * np.repeat([1, 0, 1], width)
    scale = np.exp(np.minimum(weights["logit_scale"], log(100)))

    def unit(x: str, axis: int) -> str:
        length = w.reduce("ReduceL2", x, [axis], keep=True)
        return w.op("Div", x, w.op("Max", length, w.constant(1e-12)))

    def scores(q: str, k: str) -> str:
        product = w.op("MatMul", w.op("Mul", unit(q, 4), w.constant(scale)), unit(k, 3))
        return w.op("Add", product, w.constant(_cosine_biases(weights, of["window"])))

    return _attend(w, of, w.constant(without_keys), scores)


def patch_merge(w: Writer, of: Given) -> str:
    _, height, width, _ = of.taken[0]
    x = w.pad(of.inputs[0], (0, 0, 0, 0), (0, (height or 0) % 2, (width or 0) % 2, 0))
    parts = [w.slice(x, [row, column], [2**31, 2**31], [1, 2], step=2) for column in (0, 1) for row in (0, 1)]
    return w.op("Concat", *parts, axis=3)


def _attend(w: Writer, of: Given, bias: str, scores: Scores) -> str:
    """Tokens are gathered into (M, windows, L, D), and back; M is the axes before height as one."""
    *before, height, width, depth = of.taken[0]
    batch = None if None in before else prod(size or 1 for size in before)
    sides, window, heads, part = (height or 1, width or 1), of["window"], of["heads"], (depth or 0) // of["heads"]
    filled = [-side % step for side, step in zip(sides, window, strict=True)]
    places, regions = _places(sides, window, of["shift"])
    maps = w.pad(w.reshape(of.inputs[0], (batch, *sides, depth)), (0, 0, 0, 0), (0, *filled, 0))
    tokens = w.op("Gather", w.reshape(maps, (batch, places.size, depth)), w.constant(places, np.int64), axis=1)
    joined = w.op("Add", w.op("MatMul", tokens, w.turned(of, "qkv_weight")), bias)
    parts = w.op("Transpose", w.reshape(joined, (batch, *places.shape, 3, heads, part)), perm=[3, 0, 1, 4, 2, 5])
    q, k, v = (w.op("Gather", parts, w.constant(i, np.int64), axis=0) for i in range(3))
    raised = scores(q, w.op("Transpose", k, perm=[0, 1, 2, 4, 3]))
    if regions.any():
        apart = np.where(regions[:, :, None] == regions[:, None], 0, APART)[:, None]
        raised = w.op("Add", raised, w.constant(apart))
    mixed = w.op("Transpose", w.op("MatMul", w.op("Softmax", raised, axis=-1), v), perm=[0, 1, 3, 2, 4])
    mixed = w.reshape(mixed, (batch, places.size, depth))
    projected = w.op("Add", w.op("MatMul", mixed, w.turned(of, "proj_weight")), w.weight(of, "proj_bias"))
    back = np.argsort(places.ravel()).reshape([side + more for side, more in zip(sides, filled, strict=True)])
    back = back[: sides[0], : sides[1]].ravel()  # without what filled up the last windows
    return w.reshape(w.op("Gather", projected, w.constant(back, np.int64), axis=1), of.gives)


def _places(sides: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> tuple[Ints, Ints]:
    """Which token of the flattened map, filled up, stands where in which window, (windows, L), and its region.

    Windows begin `shift` down and right, along axes of more than one window, and go on at the other edge. What comes
    before the last window, what is in it before the edge, and what is behind the edge are three regions of an axis.
    """
    whole = [side + -side % length for side, length in zip(sides, window, strict=True)]
    orders, regions = [], []
    for side, length, step in zip(whole, window, shift, strict=True):
        moved = step if side > length else 0
        places = np.arange(side)
        orders.append((places + moved) % side)
        regions.append((places >= side - length).astype(np.int64) + (places >= side - moved) if moved else 0 * places)
    (rows, columns), (height, width) = orders, window

    def windows(grid: Ints) -> Ints:
        split = grid.reshape(whole[0] // height, height, whole[1] // width, width)
        return split.swapaxes(1, 2).reshape(-1, height * width)

    return windows(rows[:, None] * whole[1] + columns), windows(regions[0][:, None] * 3 + regions[1])


def _by_way(rows: Float64, window: Sequence[int]) -> Float64:
    """(R, heads) -> (heads, L, L): of each pair of tokens, that of the way from the second to the first."""
    height, width = window
    row, column = (axis.ravel() for axis in np.mgrid[:height, :width])
    way = (row[:, None] - row + height - 1) * (2 * width - 1) + column[:, None] - column + width - 1
    return np.asarray(rows[way].transpose(2, 0, 1))


def _cosine_biases(weights: dict[str, Float64], window: Sequence[int]) -> Float64:
    """(heads, L, L): 16 sigmoid(mlp(way)), ways on a logarithmic scale."""
    distances = [np.arange(1 - side, side) / max(side - 1, 1) for side in window]
    ways = np.stack(np.meshgrid(*distances, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.sign(ways) * np.log2(8 * abs(ways) + 1) / 3
    hidden = np.maximum(places @ weights["mlp_in_weight"].T + weights["mlp_in_bias"], 0)
    return np.asarray(16 / (1 + np.exp(-_by_way(hidden @ weights["mlp_out_weight"].T, window))))
