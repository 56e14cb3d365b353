"""The kinds of node that look through windows: convolutions and pools. Part of `xfer.testing.kinds`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil as ceiling
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from xfer.arrays import Float64

Ints = Sequence[int]


def conv(
    x: Float64,
    weight: Float64,
    bias: Float64 | None = None,
    *,
    stride: Ints,
    padding: Ints | Literal["same"],
    dilation: Ints,
    groups: int,
) -> Float64:
    """out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * in[n, c, y * stride + i * dilation, ...].

    weight (O, I / groups, kh, kw): the first O / groups outputs see the first I / groups inputs alone, and so on. `in`
    is padded with zeros first: by [top, bottom, left, right], or by TensorFlow's SAME, with the outputs that there are
    strides begun (https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
    """
    kernel = weight.shape[2:]
    if padding == "same":
        sides = _same(x, kernel, stride, dilation)
    else:
        sides = [(padding[0], padding[1]), (padding[2], padding[3])]
    windows = _windows(np.pad(x, ((0, 0), (0, 0), *sides)), kernel, stride, dilation)
    n, channels, *rest = windows.shape
    grouped = windows.reshape(n, groups, channels // groups, *rest)
    filters = weight.reshape(groups, -1, *weight.shape[1:])
    out = np.einsum("ngcyxij,gocij->ngoyx", grouped, filters).reshape(n, len(weight), *rest[:2])
    return np.asarray(out if bias is None else out + bias[:, None, None])


def _same(x: Float64, kernel: Ints, stride: Ints, dilation: Ints = (1, 1)) -> list[tuple[int, int]]:
    """Entries of padding before and behind height and width, by TensorFlow's SAME: an odd one lies behind."""
    sides = []
    for size, width, step, spread in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        outputs = ceiling(size / step)
        total = max((outputs - 1) * step + (width - 1) * spread + 1 - size, 0)
        sides.append((total // 2, total - total // 2))
    return sides


def _windows(x: Float64, kernel: Ints, stride: Ints, dilation: Ints = (1, 1)) -> Float64:
    """(N, C, H, W) -> (N, C, y, x, kh, kw): what a kernel sees at each of its places."""
    rows, columns = ((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    every = sliding_window_view(sliding_window_view(x, rows, 2), columns, 3)
    return every[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def max_pool(
    x: Float64, *, kernel: Ints, stride: Ints, padding: Ints | Literal["same"], dilation: Ints, ceil: bool
) -> Float64:
    """The largest value under the kernel at each of its places. Padding, on both sides or as in `conv`, is -inf.

    With `ceil`, a last window may stick out, if it begins inside the input or the padding before it.
    """
    if padding == "same":
        padded = np.pad(x, ((0, 0), (0, 0), *_same(x, kernel, stride)), constant_values=-np.inf)
        return np.asarray(_windows(padded, kernel, stride).max(axis=(4, 5)))
    padded = _pooled(x, kernel, stride, padding, dilation, ceil, inside=-np.inf, outside=-np.inf)
    return np.asarray(_windows(padded, kernel, stride, dilation).max(axis=(4, 5)))


def avg_pool(x: Float64, *, kernel: Ints, stride: Ints, padding: Ints, ceil: bool, count_pad: bool) -> Float64:
    """The sum under the kernel at each of its places, over the number of values that count.

    Those of the input count and, with `count_pad`, the zeros of the padding; what a window of `ceil` (see max_pool) has
    beyond that never counts.
    """
    counting = np.ones_like(x)
    sums, counts = (
        _windows(_pooled(a, kernel, stride, padding, (1, 1), ceil, inside, outside=0), kernel, stride).sum(axis=(4, 5))
        for a, inside in ((x, 0), (counting, int(count_pad)))
    )
    return np.asarray(sums / counts)


def _pooled(
    x: Float64, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool, inside: float, outside: float
) -> Float64:
    """Maps padded on both sides with `inside`, and then with `outside` to the end of the last window of `ceil`."""
    padded = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in padding]), constant_values=inside)
    if not ceil:
        return padded
    beyond = [_beyond(*axis) for axis in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)]
    return np.pad(padded, ((0, 0), (0, 0), *[(0, b) for b in beyond]), constant_values=outside)


def _beyond(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How far the last window of a pooling with `ceil` sticks out of its padded input."""
    reach = (kernel - 1) * dilation + 1
    last = ceiling((size + 2 * padding - reach) / stride) * stride  # where it begins, from the start of the padding
    if last >= size + padding:
        last -= stride
    return max(last + reach - size - 2 * padding, 0)


def adaptive_avg_pool(x: Float64, *, size: Ints) -> Float64:
    """Row i of h is the mean of rows floor(i * H / h) to ceil((i + 1) * H / h), that one excluded; columns alike."""
    rows, columns = (
        [range(i * whole // parts, -(-(i + 1) * whole // parts)) for i in range(parts)]
        for whole, parts in zip(x.shape[2:], size, strict=True)
    )
    means = [[x[:, :, r.start : r.stop, c.start : c.stop].mean(axis=(2, 3)) for c in columns] for r in rows]
    return np.moveaxis(np.array(means), (0, 1), (2, 3))
