"""The objects and the clutter of the demo's pictures, drawn with a pen in a frame of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ImageDraw

Colour = tuple[int, int, int]
Affine = tuple[float, float, float, float, float, float]  # x' = a x + b y + c, y' = d x + e y + f
Points = NDArray[np.float64]  # (N, 2), x to the right and y downwards

MAIN, SECOND, TRIM, FRAME = range(4)  # places in a pen's colours


@dataclass(frozen=True)
class Pen:
    """Draws in an object's own frame, about [-1, 1] each way, through an affine map onto the canvas."""

    draw: ImageDraw.ImageDraw
    affine: Affine
    colours: tuple[Colour, ...]
    edge: int  # width of outlines in canvas pixels, 0 for none
    rng: Generator

    def fill(self, colour: int, *outline: Points) -> None:
        corners = self._corners(np.concatenate(outline))
        ink = self.colours[colour]
        self.draw.polygon(corners, fill=ink)
        if self.edge:
            shade = (ink[0] // 2, ink[1] // 2, ink[2] // 2)
            self.draw.line([*corners, *corners[:2]], fill=shade, width=self.edge)

    def line(self, colour: int, width: float, points: Points) -> None:
        a, b, _, d, e, _ = self.affine
        pixels = max(2, round(width * float(abs(a * e - b * d)) ** 0.5))
        self.draw.line(self._corners(points), fill=self.colours[colour], width=pixels, joint="curve")

    def vary(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _corners(self, points: Points) -> list[tuple[int, int]]:
        a, b, c, d, e, f = self.affine
        x, y = points[:, 0], points[:, 1]
        placed = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
        return [(int(u), int(v)) for u, v in np.rint(placed)]


def path(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


def arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 1.0) -> Points:
    """Points of an ellipse; `start` and `stop` in turns, 0 at the right, 0.25 at the bottom."""
    turn = np.linspace(start, stop, 25) * (2 * np.pi)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def bow(start: tuple[float, float], stop: tuple[float, float], sag: float) -> Points:
    """A parabola between two points; `sag` is its height as a share of their distance, to the right if positive."""
    t = np.linspace(0, 1, 13)
    x, y = stop[0] - start[0], stop[1] - start[1]
    height = 4 * sag * t * (1 - t)
    return np.stack([start[0] + x * t - y * height, start[1] + y * t + x * height], axis=1)


def curve(*points: tuple[float, float]) -> Points:
    """A closed Catmull-Rom spline through the points, 8 to a segment."""
    p1 = path(*points)[:, None, :]
    p0, p2, p3 = (np.roll(p1, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(8) / 8)[None, :, None]
    bend = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t + (3 * p1 - p0 - 3 * p2 + p3) * t * t
    spline: Points = p1 + 0.5 * t * (p2 - p0 + bend)
    return spline.reshape(-1, 2)


def bicycle(pen: Pen) -> None:
    r, thick = pen.vary(0.38, 0.46), pen.vary(0.05, 0.08)
    rear, front, crank = (-0.55, 0.3), (0.55, 0.3), (-0.08, 0.32)
    seat, bars = (-0.25, pen.vary(-0.35, -0.25)), (0.38, pen.vary(-0.38, -0.28))
    for x, y in (rear, front):
        for spoke in np.arange(6) / 12 + pen.vary(0, 0.1):
            pen.line(TRIM, 0.015, arc(x, y, r, r, spoke, spoke + 0.5)[[0, -1]])
        pen.line(FRAME, 0.07, arc(x, y, r, r))
        pen.line(SECOND, 0.025, arc(x, y, r - 0.04, r - 0.04))
    pen.line(MAIN, thick, path(seat, crank, bars, seat, rear, crank))
    pen.line(MAIN, thick, path(front, bars, (0.34, -0.5)))
    pen.line(FRAME, thick, path((0.34, -0.5), (0.5, -0.55), (0.58, -0.48)))
    pen.line(MAIN, thick, path(seat, (-0.29, -0.46)))
    pen.fill(FRAME, curve((-0.47, -0.52), (-0.2, -0.5), (-0.1, -0.45), (-0.3, -0.42)))
    pen.fill(SECOND, arc(*crank, 0.1, 0.1))
    pen.line(FRAME, 0.05, path((-0.18, 0.47), (0.02, 0.17)))


def butterfly(pen: Pen) -> None:
    tall, low = pen.vary(0.75, 1.05), pen.vary(0.6, 0.9)
    for s in (-pen.vary(0.7, 1.05), pen.vary(0.7, 1.05)):
        hind = ((0.0, 0.0), (0.5, -0.05), (0.72, 0.35 * low), (0.42, 0.9 * low), (0.12, 0.5 * low))
        fore = ((0.0, -0.1), (0.4, -0.65 * tall), (0.92, -0.85 * tall), (0.88, -0.25 * tall), (0.5, 0.1))
        for ink, wing in ((SECOND, hind), (MAIN, fore)):
            pen.fill(ink, curve(*((s * x, y) for x, y in wing)))
            pen.fill(SECOND - ink, curve(*((s * (0.6 * x + 0.14), 0.6 * y) for x, y in wing)))
        for x, y, r in ((0.8, -0.6 * tall, 0.07), (0.83, -0.38 * tall, 0.05), (0.46, 0.62 * low, 0.08)):
            pen.fill(TRIM, arc(s * x, y, r, r))
        pen.line(FRAME, 0.03, bow((0.03 * s, -0.35), (0.26 * s, -0.82), 0.15 if s > 0 else -0.15))
    pen.fill(FRAME, curve((0, -0.45), (0.08, -0.3), (0.07, 0.1), (0, 0.6), (-0.07, 0.1), (-0.08, -0.3)))


def mushroom(pen: Pen) -> None:
    w, h, y, s = pen.vary(0.7, 0.95), pen.vary(0.55, 0.95), pen.vary(-0.15, 0.05), pen.vary(0.15, 0.25)
    pen.fill(TRIM, curve((-s, y), (-s, 0.5), (-1.6 * s, 0.85), (0, 0.95), (1.6 * s, 0.85), (s, 0.5), (s, y)))
    pen.fill(TRIM, curve((-s, y + 0.2), (-1.6 * s, y + 0.32), (0, y + 0.4), (1.6 * s, y + 0.32), (s, y + 0.2)))
    pen.fill(MAIN, arc(0, y, w, h, 0.5, 1.0), arc(0, y, w, 0.17, 0.0, 0.5))
    pen.fill(TRIM, arc(0, y + 0.03, 0.88 * w, 0.12))
    for end in arc(0, y + 0.03, 0.84 * w, 0.11, 0.0, 0.5)[::2]:
        pen.line(FRAME, 0.015, path((0, y), (end[0], end[1])))
    for turn, far in ((0.56, 0.85), (0.65, 0.7), (0.73, 0.4), (0.78, 0.85), (0.86, 0.55), (0.94, 0.8)):
        x, top = arc(0, y - 0.04, far * w, 0.93 * far * h, turn, turn)[0]
        r = pen.vary(0.05, 0.12)
        pen.fill(SECOND, arc(x, top, r, 0.8 * r))


def sailboat(pen: Pen) -> None:
    x, top, out = pen.vary(-0.12, 0.12), pen.vary(-0.98, -0.8), pen.vary(0.6, 0.85)
    pen.line(FRAME, 0.055, path((x, top - 0.08), (x, 0.5)))
    pen.fill(MAIN, bow((x + 0.04, top), (x + out, 0.3), -0.12), bow((x + out, 0.3), (x + 0.04, 0.28), -0.05))
    pen.fill(SECOND, bow((x - 0.04, top + 0.12), (x - 0.06, 0.3), 0.08), bow((x - 0.06, 0.3), (x - out, 0.33), 0.05))
    for y in (-0.3, 0.0):
        pen.line(TRIM, 0.03, bow((x + 0.05, y), (x + 0.9 * out * (y - top) / (0.3 - top), y + 0.02), 0.05))
    pen.fill(SECOND, bow((x, top - 0.08), (x + 0.26, top - 0.02), 0.12), path((x, top + 0.05)))
    pen.fill(TRIM, bow((-0.88, 0.4), (0.95, 0.37), 0.03), bow((0.95, 0.37), (0.6, 0.78), 0.1), path((-0.65, 0.8)))
    pen.line(MAIN, 0.08, bow((-0.82, 0.53), (0.83, 0.51), 0.03))


def umbrella(pen: Pen) -> None:
    n, w, h, y = int(pen.rng.integers(4, 8)), pen.vary(0.8, 1.0), pen.vary(0.6, 0.85), pen.vary(-0.1, 0.05)
    pen.line(FRAME, 0.05, path((0, y - h - 0.13), (0, 0.75)))
    pen.line(TRIM, 0.09, np.concatenate([path((0, 0.6)), arc(0.13, 0.75, 0.13, 0.15, 0.5, -0.05)]))
    for i, (left, right) in enumerate(pairwise(-w * np.cos(np.pi * np.arange(n + 1) / n))):
        ribs = arc(0, y, left, h, 0.75, 1.0), arc(0, y, right, h, 1.0, 0.75)
        pen.fill((MAIN, SECOND)[i % 2], ribs[0], bow((left, y), (right, y), -0.15), ribs[1])


OBJECTS: dict[str, Callable[[Pen], None]] = {f.__name__: f for f in (bicycle, butterfly, mushroom, sailboat, umbrella)}


def leaf(pen: Pen) -> None:
    w = pen.vary(0.15, 0.35)
    pen.fill(MAIN, bow((-0.9, 0), (1, 0), w), bow((1, 0), (-0.9, 0), w))
    pen.line(SECOND, 0.06, path((-1.2, 0), (0.85, 0)))
    for x in (-0.4, 0.0, 0.4):
        pen.line(SECOND, 0.04, path((x + 0.25, -w), (x, 0), (x + 0.25, w)))


def hoop(pen: Pen) -> None:
    pen.line(MAIN, pen.vary(0.08, 0.25), arc(0, 0, 0.8, 0.8))
    for turn in np.arange(int(pen.rng.integers(0, 4))) / 6:
        pen.line(SECOND, 0.06, arc(0, 0, 0.8, 0.8, turn, turn + 0.5)[[0, -1]])


def shard(pen: Pen) -> None:
    pen.fill(MAIN, bow((-0.5, -1), (0.9, 0.6), pen.vary(-0.3, 0)), bow((0.9, 0.6), (-0.5, 0.7), pen.vary(-0.3, 0.3)))
    pen.line(SECOND, 0.08, path((-0.4, pen.vary(-0.3, 0.3)), (0.4, 0.2)))


def fan(pen: Pen) -> None:
    edges = np.linspace(0.5, 1.0, int(pen.rng.integers(3, 7)))
    for i, (start, stop) in enumerate(pairwise(edges)):
        pen.fill((MAIN, SECOND)[i % 2], path((0, 0.2)), arc(0, 0.2, 1, 0.8, start, stop))


def ribbon(pen: Pen) -> None:
    x = np.linspace(-2, 2, 33)
    pen.line(MAIN, pen.vary(0.08, 0.25), np.stack([x, 0.35 * np.sin(x * pen.vary(1.5, 4))], axis=1))


# Parts that the objects have too: wheels, sails, segments and spokes alone must not give a class away.
CLUTTER: tuple[Callable[[Pen], None], ...] = (leaf, hoop, shard, fan, ribbon)
