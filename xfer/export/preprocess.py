"""What the core does to a picture before a network sees it, in ONNX: resizing with Pillow's bits, crops of the middle.

Sizes of pictures are not known when this is written, so they are values here like any other: scalars of int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xfer.errors import ConfigError
from xfer.export.writer import Writer
from xfer.pixels.augment import CenterCrop, Levels, Normalize, Resize, Transform, describe
from xfer.pixels.geometry import both

FLOAT, INT64, DOUBLE = 1, 7, 11  # of onnx.TensorProto
UNIT = 2.0**22
"""Pillow counts the shares of pixels in these parts, and divides at the end: ImagingResample's PRECISION_BITS."""


class Maps(NamedTuple):
    """(batch, 3, height, width) float64 with whole numbers from 0 to 255, and names of its height and width.

    A pixel is a sum of products of 8 and 22 bits: whole numbers that float64 holds, in whatever order they are added.
    """

    x: str
    height: str
    width: str


def preprocess(writer: Writer, images: str, transforms: Sequence[Transform]) -> str:
    """uint8 pictures (batch, height, width, 3) of any one size -> float32 (batch, 3, H, W) as the transforms make them.

    Raises ConfigError for any transform but Resize and CenterCrop, and for a Resize to the nearest pixel, of which
    Pillow's rounding decides.
    """
    writer.scope = "preprocess"
    shape = writer.op("Shape", images)
    height, width = (writer.op("Gather", shape, writer.constant(axis, np.int64), axis=0) for axis in (1, 2))
    maps = Maps(writer.op("Cast", writer.op("Transpose", images, perm=[0, 3, 1, 2]), to=DOUBLE), height, width)
    for transform in transforms:
        if isinstance(transform, Resize) and transform.interpolation != "nearest":
            maps = _resized(writer, maps, transform)
        elif isinstance(transform, CenterCrop):
            maps = _cropped(writer, maps, both(transform.size))
        elif not isinstance(transform, Levels | Normalize):
            raise ConfigError(
                f"--input pictures: of {describe(transforms)}, a model does CenterCrop, and Resize by bilinear or "
                "bicubic interpolation. Cure: --input pixels"
            )
    return writer.op("Cast", maps.x, to=FLOAT)


def _resized(w: Writer, maps: Maps, to: Resize) -> Maps:
    """Columns and rows one after the other, each rounded to whole numbers: Pillow keeps 8 bits in between.

    Pillow 13 takes rows first where they become fewer, and by more than twice what columns do; before, it never did.
    Both ways are written, and the one that is not wanted is of a single row or column.
    """
    height, width = _size_of(w, maps, to)
    cubic, one = to.interpolation == "bicubic", w.constant(1, np.int64)
    across, down = _shares(w, maps.width, width, cubic), _shares(w, maps.height, height, cubic)
    fewer_rows, fewer_columns = w.op("Sub", maps.height, height), w.op("Sub", maps.width, width)
    many = w.op("Less", w.op("Mul", fewer_columns, w.constant(2, np.int64)), fewer_rows)
    rows_first = w.op("And", w.op("Greater", fewer_rows, w.constant(0, np.int64)), many)
    rows, columns = w.op("Where", rows_first, one, maps.height), w.op("Where", rows_first, maps.width, one)
    by_columns = _rounded(w, w.op("MatMul", _first(w, maps.x, rows, 2), w.op("Transpose", across, perm=[1, 0])))
    by_columns = w.op("MatMul", _first(w, down, rows, 1), by_columns)
    by_rows = _rounded(w, w.op("MatMul", down, _first(w, maps.x, columns, 3)))
    by_rows = w.op("MatMul", by_rows, w.op("Transpose", _first(w, across, columns, 1), perm=[1, 0]))
    return Maps(_rounded(w, w.op("Where", rows_first, by_rows, by_columns)), height, width)


def _first(w: Writer, x: str, count: str, axis: int) -> str:
    """The first `count` entries of an axis."""
    return w.op("Slice", x, w.integers([0]), _list(w, count), w.integers([axis]))


def _size_of(w: Writer, maps: Maps, to: Resize) -> tuple[str, str]:
    """Names of the new height and width: the shorter side is what one number says, the longer rounded down."""
    if not isinstance(to.size, int):
        height, width = (w.constant(side, np.int64) for side in to.size)
        return height, width
    shorter = w.constant(to.size, np.int64)
    least, most = w.op("Min", maps.height, maps.width), w.op("Max", maps.height, maps.width)
    longer = w.op("Div", w.op("Mul", most, shorter), least)
    upright = w.op("Greater", maps.height, maps.width)
    return w.op("Where", upright, longer, shorter), w.op("Where", upright, shorter, longer)


def _centres(w: Writer, count: str) -> str:
    """(count,) 2 i + 1: twice the middle of each pixel."""
    zero, one, two = (w.constant(number, np.int64) for number in (0, 1, 2))
    return w.op("Add", w.op("Mul", w.op("Range", zero, count, one), two), one)


def _shares(w: Writer, old: str, new: str, cubic: bool) -> str:
    """(new, old): what each pixel has of each old one, in UNITs, by a filter as wide as a pixel of the larger grid.

    Distances are (2 j + 1) new - (2 i + 1) old over 2 max(old, new): whole numbers up to the one division.
    """
    at = w.op("Mul", w.op("Unsqueeze", _centres(w, old), w.integers([0])), new)
    of = w.op("Mul", w.op("Unsqueeze", _centres(w, new), w.integers([1])), old)
    unit = w.op("Mul", w.op("Max", old, new), w.constant(2, np.int64))
    apart, unit = (w.op("Cast", x, to=DOUBLE) for x in (w.op("Abs", w.op("Sub", at, of)), unit))
    weights = (_cubic if cubic else _triangle)(w, w.op("Div", apart, unit))
    shares = w.op("Div", weights, w.op("ReduceSum", weights, w.integers([1]), keepdims=1))
    return w.op("Round", w.op("Mul", shares, _number(w, UNIT)))


def _triangle(w: Writer, t: str) -> str:
    return w.op("Max", w.op("Sub", _number(w, 1), t), _number(w, 0))


def _cubic(w: Writer, t: str) -> str:
    """Keys' kernel with a = -1/2: 3/2 t^3 - 5/2 t^2 + 1 below 1, and -1/2 t^3 + 5/2 t^2 - 4 t + 2 below 2."""

    def polynomial(*factors: float) -> str:
        value = _number(w, factors[0])
        for factor in factors[1:]:
            value = w.op("Add", w.op("Mul", value, t), _number(w, factor))
        return value

    far = w.op("Where", w.op("Less", t, _number(w, 2)), polynomial(-0.5, 2.5, -4, 2), _number(w, 0))
    return w.op("Where", w.op("Less", t, _number(w, 1)), polynomial(1.5, -2.5, 0, 1), far)


def _rounded(w: Writer, x: str) -> str:
    whole = w.op("Floor", w.op("Add", w.op("Div", x, _number(w, UNIT)), _number(w, 0.5)))
    return w.op("Clip", whole, _number(w, 0), _number(w, 255))


def _number(w: Writer, value: float) -> str:
    return w.constant(value, np.float64)


def _cropped(w: Writer, maps: Maps, size: tuple[int, int]) -> Maps:
    """The middle. What is missing of a smaller picture is black, the odd row or column of it behind."""
    zero, one, two = (w.constant(number, np.int64) for number in (0, 1, 2))
    before, behind, starts, wanted = [], [], [], [w.constant(side, np.int64) for side in size]
    for old, new in zip((maps.height, maps.width), wanted, strict=True):
        more = w.op("Max", w.op("Sub", new, old), zero)
        before.append(w.op("Div", more, two))
        behind.append(w.op("Div", w.op("Add", more, one), two))
        half = w.op("Div", w.op("Cast", w.op("Sub", w.op("Add", old, more), new), to=FLOAT), w.constant(2))
        starts.append(w.op("Cast", w.op("Round", half), to=INT64))  # halves to the even one, as in Python
    pads = _list(w, zero, zero, *before, zero, zero, *behind)
    padded, first = w.op("Pad", maps.x, pads, _number(w, 0)), _list(w, *starts)
    last = w.op("Add", first, w.integers(size))
    return Maps(w.op("Slice", padded, first, last, w.integers([2, 3])), *wanted)


def _list(w: Writer, *numbers: str) -> str:
    """Scalars as one vector."""
    return w.op("Concat", *(w.op("Unsqueeze", number, w.integers([0])) for number in numbers), axis=0)
