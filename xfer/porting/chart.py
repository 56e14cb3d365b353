"""A line chart as SVG inside of a page: it needs no drawing library, and takes the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 260, 80, 16, 36
_STROKES = ('stroke="#e07b00"', 'stroke="currentColor" stroke-dasharray="6 4"')  # both seen where one covers the other
_LOWEST = 1e-12  # of a logarithmic axis: what is 0 lies there


@dataclass(frozen=True)
class Line:
    """Values that are no finite numbers are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def chart(caption: str, lines: Sequence[Line], logarithmic: bool = False) -> str:
    """Of one or two lines; empty where there is nothing to draw."""
    points = [
        [(x, _scaled(y, logarithmic)) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        for line in lines
    ]
    every = [point for of_line in points for point in of_line]
    if not every:
        return ""
    (left, right), (low, high) = (_range([point[axis] for point in every]) for axis in (0, 1))

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT - 16)
        return f"{across:.1f},{_TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    drawn = "".join(
        f'<polyline fill="none" stroke-width="2" {stroke} points="{" ".join(place(*point) for point in of_line)}"/>'
        for of_line, stroke in zip(points, _STROKES, strict=False)
    )
    legend = "".join(
        f'<text x="{_LEFT + 8}" y="{_TOP + 18 * (i + 1)}" fill="currentColor">'
        f'<tspan fill="none" stroke-width="2" {stroke}>&#8212;</tspan> {escape(line.name)}</text>'
        for i, (line, stroke) in enumerate(zip(lines, _STROKES, strict=False))
    )
    ends = [(high, _TOP + 10), (low, _HEIGHT - _BOTTOM)]
    marks = "".join(
        f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end" fill="currentColor">{_number(value, logarithmic)}</text>'
        for value, y in ends
    )
    marks += "".join(
        f'<text x="{x}" y="{_HEIGHT - 12}" text-anchor="{anchor}" fill="currentColor">{value:g}</text>'
        for value, x, anchor in ((left, _LEFT, "start"), (right, _WIDTH - 16, "end"))
    )
    axes = f"M{_LEFT},{_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - 16}"
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(caption)}" font-size="13">'
        f'<path d="{axes}" fill="none" stroke="currentColor" opacity="0.5"/>{marks}{drawn}{legend}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _scaled(value: float, logarithmic: bool) -> float:
    return math.log10(max(value, _LOWEST)) if logarithmic else value


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _number(value: float, logarithmic: bool) -> str:
    return f"{10**value:.1e}" if logarithmic else f"{value:.4g}"
