"""A data set before training: pictures of each class by split, their sizes, and a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.plots.fonts import Face, faces_for, pick
from xfer.plots.style import FAINT, POINTS, TRAIN, UNKNOWN, VAL, new_figure, settings

_TILES, _COLUMNS = 12, 4
_WIDTH, _RIGHT = 11.0, 5.6  # inches
_ROOM = 120.0  # points that a name beside the bars may take
_FOR_COUNTS = 0.35  # of the longest bar: what its counts take beside it
_MOST_POINTS = 5000
_MOST_HEIGHT = 12.0


def figure_data_check(
    classes: Sequence[str],
    counts: Int64,
    sizes: NDArray[np.int32],
    size: tuple[int, int],
    samples: NDArray[np.uint8],
    labels: Int64,
    words: Sequence[str] = (),
) -> Figure:
    """Bars, a scatter and up to 12 tiles.

    counts   (C, 2) training and validation pictures
    sizes    (n, 2) height and width in pixels; `size`: those of the pictures that training makes
    samples  (k, H, W, 3) uint8, of the classes `labels` (k,), or of as many `words`, if there are any
    """
    faces = faces_for(classes)
    with settings():
        height = min(max(6.6, 0.17 * len(classes) + 1.2), _MOST_HEIGHT)
        figure = new_figure(_WIDTH, height)
        halves = figure.subfigures(1, 2, squeeze=False, width_ratios=[_WIDTH - _RIGHT, _RIGHT])
        left, right = halves[0]
        above, below = right.subfigures(2, 1, height_ratios=[height - 3.9, 3.9])
        _bars(left.add_subplot(), classes, counts, faces, (height - 1.2) * POINTS)
        _scatter(above.add_subplot(), sizes, size)
        shown = np.unique(np.linspace(0, len(samples) - 1, _TILES).astype(int))[: len(samples)]
        grid = below.subplots(ceil(len(shown) / _COLUMNS), _COLUMNS, squeeze=False)
        for axes, place in zip(grid.flat, shown, strict=False):
            _tile(axes, samples[place], (words or classes)[labels[place]], faces)
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
        return figure


def _bars(axes: Axes, classes: Sequence[str], counts: Int64, faces: Sequence[Face], room: float) -> None:
    """A bar for each class, the first on top; of names and counts every nth where lines would lie too close.

    Counts are `training + validation`, or training alone where a class has no validation pictures.
    """
    pitch = room / len(classes)
    size = min(10.0, max(5.0, 0.75 * pitch))
    step = max(1, ceil(1.1 * size / pitch))
    places = range(0, len(classes), step)
    at, thickness = np.arange(len(classes)), min(0.8, 60 / pitch) if pitch > 4 else 1.0
    axes.barh(at, counts[:, 0], thickness, color=TRAIN, label=f"training: {counts[:, 0].sum():,}")
    axes.barh(at, counts[:, 1], thickness, counts[:, 0], color=VAL, label=f"validation: {counts[:, 1].sum():,}")
    most = max(int(counts.sum(axis=1).max()), 1)
    for place in places:
        training, validation = counts[place].tolist()
        text = f"{training:,} + {validation:,}" if validation else f"{training:,}"
        axes.text(training + validation + 0.01 * most, place, text, va="center", fontsize=min(size, 8), color=UNKNOWN)
    chosen = [pick(faces, classes[i]) for i in places]
    axes.set_yticks(
        list(places), [f.fit(classes[i], size, _ROOM) for i, f in zip(places, chosen, strict=True)], parse_math=False
    )
    for tick, face in zip(axes.get_yticklabels(), chosen, strict=True):
        tick.set_fontproperties(face.properties(size))
    note = f" (one class in {step} is named)" if step > 1 else ""
    axes.set(ylim=(len(classes) - 0.4, -0.6), xlabel=f"pictures{note}", xlim=(0, (1 + _FOR_COUNTS) * most))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.set_title(f"{len(classes)} classes", loc="left")
    axes.grid(True, axis="x")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.3, fontsize=8)


def _scatter(axes: Axes, sizes: NDArray[np.int32], size: tuple[int, int]) -> None:
    shown = np.random.default_rng(0).permutation(len(sizes))[:_MOST_POINTS]
    height, width = sizes[shown].T
    axes.scatter(width, height, s=12, c=TRAIN, alpha=0.35, linewidths=0)
    axes.axvline(size[1], color=FAINT, linestyle=":", linewidth=1.2)
    axes.axhline(size[0], color=FAINT, linestyle=":", linewidth=1.2, label=f"training: {size[0]} x {size[1]}")
    axes.set(xscale="log", yscale="log", xlabel="width in pixels", ylabel="height in pixels")
    low, high = min(int(sizes.min()), *size) / 1.3, max(int(sizes.max()), *size) * 1.3
    ticks = [t for p in range(10) for t in (10**p, 2 * 10**p, 5 * 10**p) if low <= t <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks if len(ticks) <= 7 else [t for t in ticks if str(t)[0] == "1"], minor=False)
        axis.set_ticks([], minor=True)
        axis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_title("Sizes", loc="left")
    axes.grid(True)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.3, fontsize=8)


def _tile(axes: Axes, image: NDArray[np.uint8], name: str, faces: Sequence[Face]) -> None:
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    face = pick(faces, name)
    room = _RIGHT * POINTS / _COLUMNS - 14
    axes.set_title(face.fit(name, 8, room), fontproperties=face.properties(8), parse_math=False, pad=3)
