"""Convolutions and pools in ONNX. Sizes are known, so that every padding is written in numbers.

`ceil_mode` and `auto_pad` are not used: runtimes have read them differently from one version to the next.
"""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from xfer.export.writer import Given, Writer

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Entries before and behind, of height and of width."""


def conv(w: Writer, of: Given) -> str:
    kernel = of.weights["weight"].shape[2:]
    if of["padding"] == "same":
        (top, bottom), (left, right) = _same(of, kernel, of["dilation"])
    else:
        top, bottom, left, right = of["padding"]
    return w.op(
        "Conv",
        of.inputs[0],
        *(w.weight(of, slot) for slot in ("weight", "bias") if slot in of.weights),
        kernel_shape=kernel,
        strides=of["stride"],
        dilations=of["dilation"],
        group=of["groups"],
        pads=[top, left, bottom, right],
    )


def max_pool(w: Writer, of: Given) -> str:
    kernel, dilation = of["kernel"], of["dilation"]
    sides = _same(of, kernel, dilation) if of["padding"] == "same" else _around(of, kernel, dilation)
    x, pads = of.inputs[0], _pads(sides)
    if any(p >= min(kernel) for p in pads):  # runtimes refuse that, though a dilated window reaches further
        x, pads = _padded(w, x, sides, -np.inf), [0, 0, 0, 0]
    return w.op("MaxPool", x, kernel_shape=kernel, strides=of["stride"], dilations=dilation, pads=pads)


def avg_pool(w: Writer, of: Given) -> str:
    kernel, padding = of["kernel"], of["padding"]
    sides = _around(of, kernel, [1, 1])
    beyond = any(behind > p for (_, behind), p in zip(sides, padding, strict=True))
    if not beyond:
        counted = {"count_include_pad": int(of["count_pad"]), "pads": _pads(sides)}
        return w.op("AveragePool", of.inputs[0], kernel_shape=kernel, strides=of["stride"], **counted)
    sums = w.op("AveragePool", _padded(w, of.inputs[0], sides, 0), kernel_shape=kernel, strides=of["stride"])
    axes = zip(of.sides(), of.gives[2:], kernel, of["stride"], padding, strict=True)
    rows, columns = (_counts(*axis, of["count_pad"]) for axis in axes)
    return w.op("Mul", sums, w.constant(prod(kernel) / np.outer(rows, columns)))


def adaptive_avg_pool(w: Writer, of: Given) -> str:
    sides, size = of.sides(), of["size"]
    if size == [1, 1]:
        return w.op("GlobalAveragePool", of.inputs[0])
    if not any(side % parts for side, parts in zip(sides, size, strict=True)):
        step = [side // parts for side, parts in zip(sides, size, strict=True)]
        return w.op("AveragePool", of.inputs[0], kernel_shape=step, strides=step)
    rows, columns = (_bins(side, parts) for side, parts in zip(sides, size, strict=True))
    return w.op("MatMul", w.constant(rows), w.op("MatMul", of.inputs[0], w.constant(columns.T)))


def _same(of: Given, kernel: tuple[int, ...], dilation: list[int]) -> Sides:
    """TensorFlow's SAME: an odd one lies behind."""

    def side(size: int, width: int, step: int, spread: int) -> tuple[int, int]:
        total = max((ceil(size / step) - 1) * step + (width - 1) * spread + 1 - size, 0)
        return total // 2, total - total // 2

    rows, columns = (side(*axis) for axis in zip(of.sides(), kernel, of["stride"], dilation, strict=True))
    return rows, columns


def _around(of: Given, kernel: list[int], dilation: list[int]) -> Sides:
    """The padding of a pool; behind, as far as the last of its windows reaches, which `ceil` may have let stick out."""

    def side(size: int, count: int | None, width: int, step: int, padding: int, spread: int) -> tuple[int, int]:
        reach = (width - 1) * spread + 1
        return padding, max(padding, ((count or 1) - 1) * step + reach - size - padding)

    axes = zip(of.sides(), of.gives[2:], kernel, of["stride"], of["padding"], dilation, strict=True)
    rows, columns = (side(*axis) for axis in axes)
    return rows, columns


def _pads(sides: Sides) -> list[int]:
    (top, bottom), (left, right) = sides
    return [top, left, bottom, right]


def _padded(w: Writer, x: str, sides: Sides, value: float) -> str:
    (top, bottom), (left, right) = sides
    return w.pad(x, (0, 0, top, left), (0, 0, bottom, right), value)


def _counts(size: int, count: int | None, kernel: int, stride: int, padding: int, count_pad: bool) -> list[int]:
    """How many entries of each window count, along one axis."""
    low, high = (-padding, size + padding) if count_pad else (0, size)
    starts = (place * stride - padding for place in range(count or 1))
    return [min(start + kernel, high) - max(start, low) for start in starts]


def _bins(side: int, parts: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(parts, side): the shares of means over floor(i * side / parts) up to ceil((i + 1) * side / parts)."""
    shares = np.zeros((parts, side))
    for i in range(parts):
        low, high = i * side // parts, -(-(i + 1) * side // parts)
        shares[i, low:high] = 1 / (high - low)
    return shares
