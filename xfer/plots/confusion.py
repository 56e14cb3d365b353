"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from xfer.plots.fonts import Face, faces_for, pick
from xfer.plots.style import FAINT, POINTS, new_figure, percent, settings

Counts = NDArray[np.int64]
Labels = Sequence[int] | NDArray[np.int64]
MOST_WITH_TEXT = 25
"""Classes up to which the cells hold numbers."""
_MOST_WITH_SHARES = 8
_MOST_WITH_ZEROS = 12
_ROOM = 130.0  # points that a name beside the matrix may take


def confusion_counts(labels: Labels, predictions: Labels, classes: int) -> Counts:
    """How often class i (row) was taken for class j (column): (classes, classes)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)), 1)
    return counts


def figure_confusion_matrix(labels: Labels, predictions: Labels, classes: Sequence[str]) -> Figure:
    """Counts in the cells, up to 25 classes; the colour is the share of the row. Labels in [0, classes)."""
    counts = confusion_counts(labels, predictions, len(classes))
    total, right = int(counts.sum()), int(np.trace(counts))
    side = _side(len(classes))
    names = _names(classes, side * POINTS / len(classes))
    # Placed by hand, around names whose widths are known: a solver takes as long again as the drawing.
    left, below = 0.5 + names.width / POINTS, 0.5 + (names.size * 1.2 if names.flat else names.width) / POINTS
    width, height = left + side + 1.25, below + side + 0.5
    with settings():
        figure = new_figure(width, height, layout=None)
        axes = figure.add_axes((left / width, below / height, side / width, side / height))
        score = f" ({percent(right / total)})" if total else ""
        axes.set_title(f"Confusion matrix: {right} of {total} right{score}", pad=10)
        _draw_cells(
            axes, counts, figure.add_axes(((left + side + 0.15) / width, below / height, 0.15 / width, side / height))
        )
        if len(classes) <= MOST_WITH_TEXT:
            _write_counts(axes, counts, min(11.0, 0.34 * side * POINTS / len(classes)))
        _name_axes(axes, names)
        return figure


def _side(classes: int) -> float:
    """Inches of the matrix: roomy cells for a few classes, a line of small type for each of a hundred."""
    if classes <= MOST_WITH_TEXT:
        return min(max(3.2, 0.7 * classes), 7.5)
    return min(max(7.5, 0.12 * classes), 12.5)


def _shares(counts: Counts) -> NDArray[np.float64]:
    """Each row over its sum; NaN for a class without images."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def _draw_cells(axes: Axes, counts: Counts, scale: Axes) -> None:
    axes.set_facecolor("#eeeeee")  # seen through the rows that have no images
    # Without numbers a single mistake in a hundred must still show: the root lifts the small shares.
    norm = PowerNorm(1 if len(counts) <= MOST_WITH_TEXT else 0.5, vmin=0, vmax=1)
    image = axes.imshow(_shares(counts), cmap="Blues", norm=norm, interpolation="nearest")
    bar = Colorbar(scale, image, format=FuncFormatter(lambda share, _: percent(share, digits=0)))
    bar.set_label("share of the true class")
    axes.spines[:].set_visible(True)
    if len(counts) <= MOST_WITH_TEXT:
        axes.set_xticks(np.arange(len(counts) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(counts) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="minor", length=0)


def _write_counts(axes: Axes, counts: Counts, size: float) -> None:
    for (row, column), share in np.ndenumerate(_shares(counts)):
        count = int(counts[row, column])
        if count == 0 and len(counts) > _MOST_WITH_ZEROS:
            continue  # a page of zeros would hide the mistakes
        text = f"{count}\n{percent(float(share))}" if count and len(counts) <= _MOST_WITH_SHARES else str(count)
        colour = "white" if share > 0.55 else "#222222" if count else FAINT
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


class _Names(NamedTuple):
    """What stands at the ticks `at`; size and width (of the widest) in points. `flat`: all fit side by side."""

    at: list[int]
    faces: list[Face]
    texts: list[str]
    size: float
    width: float
    flat: bool


def _names(classes: Sequence[str], pitch: float) -> _Names:
    """Every nth name only, where lines `pitch` points apart would be too small to read."""
    size = min(10.0, max(5.0, 0.8 * pitch))
    step = max(1, ceil(1.1 * size / pitch))
    at = list(range(0, len(classes), step))
    installed = faces_for(classes)
    faces = [pick(installed, classes[i]) for i in at]
    texts = _told_apart([classes[i] for i in at], faces, size)
    width = max(face.width(text, size) for face, text in zip(faces, texts, strict=True))
    return _Names(at, faces, texts, size, width, width < 0.9 * pitch * step)


def _told_apart(names: Sequence[str], faces: Sequence[Face], size: float) -> list[str]:
    """Each name as it fits; of those that would look the same, only what follows their common beginning."""
    texts = [face.fit(name, size, _ROOM) for name, face in zip(names, faces, strict=True)]
    alike: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        alike.setdefault(text, []).append(place)
    for places in alike.values():
        if len(places) > 1:
            columns = zip(*(names[i] for i in places), strict=False)
            common = next((i for i, chars in enumerate(columns) if len(set(chars)) > 1), 0)
            for i in places:
                texts[i] = faces[i].fit("..." + names[i][common:], size, _ROOM)
    return texts


def _name_axes(axes: Axes, names: _Names) -> None:
    axes.set_xticks(names.at, names.texts, parse_math=False, rotation=0 if names.flat else 90)
    axes.set_yticks(names.at, names.texts, parse_math=False)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, face in zip(ticks, names.faces, strict=True):
            tick.set_fontproperties(face.properties(names.size))
    axes.set(xlabel="predicted class", ylabel="true class")
