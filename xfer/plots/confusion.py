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

from xfer.plots.confused import Counts, Labels, confusion_counts, most_confused
from xfer.plots.fonts import Face, faces_for, pick
from xfer.plots.style import FAINT, POINTS, new_figure, percent, settings

MOST_WITH_TEXT = 25
"""Classes up to which the cells hold numbers."""
_MOST_WITH_SHARES = 8
_MOST_WITH_ZEROS = 12
_ROOM = 130.0  # points that a name beside the matrix may take
_LINES = 10  # of the list of what was confused most, which has as many columns as the matrix is wide
_LINE, _SIZE, _GAP = 0.19, 9.0, 0.15  # inches of a line of that list, points of its type, inches between its columns


def figure_confusion_matrix(labels: Labels, predictions: Labels, classes: Sequence[str]) -> Figure:
    """Counts in the cells up to 25 classes; for more, a list of the most confused pairs below the matrix.

    The colour is the share of the row. Labels in [0, classes).
    """
    counts = confusion_counts(labels, predictions, len(classes))
    total, right = int(counts.sum()), int(np.trace(counts))
    side = _side(len(classes))
    names = _names(classes, side * POINTS / len(classes))
    # Placed by hand, around names whose widths are known: a solver takes as long again as the drawing.
    left, below = 0.5 + names.width / POINTS, 0.5 + (names.size * 1.2 if names.flat else names.width) / POINTS
    width = left + side + 1.25
    pairs = [] if len(classes) <= MOST_WITH_TEXT else _pairs(counts, classes, width)
    listed = (len(pairs[0].texts) + 2) * _LINE if pairs else 0.0
    below += listed
    height = below + side + 0.5
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
        _write_pairs(figure, pairs, listed)
        return figure


def _side(classes: int) -> float:
    """Inches of the matrix: roomy cells for a few classes, a line of small type for each of two hundred."""
    if classes <= MOST_WITH_TEXT:
        return min(max(3.2, 0.7 * classes), 7.5)
    return min(max(7.5, min(0.12 * classes, 12.5), 0.077 * classes), 16.7)


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


class _Column(NamedTuple):
    """Of the list of the most confused pairs: where it begins, in inches from the left, and its texts, a head first."""

    left: float
    texts: list[str]
    faces: list[Face]


def _pairs(counts: Counts, classes: Sequence[str], width: float) -> list[_Column]:
    """As many pairs as there is room for in `width` inches, in groups of three columns."""
    totals, installed = counts.sum(axis=1), faces_for(classes)
    everyday = installed[0]
    pairs = most_confused(counts, _LINES * int(width))
    of_pairs = sorted({place for pair in pairs for place in pair})
    faces = {place: pick(installed, classes[place]) for place in of_pairs}
    texts = dict(zip(of_pairs, _told_apart([classes[i] for i in of_pairs], list(faces.values()), _SIZE), strict=True))
    columns: list[_Column] = []
    left = 2 * _GAP
    for first in range(0, len(pairs), _LINES):
        rows = pairs[first : first + _LINES]
        group = (
            [("images", everyday), *((f"{counts[pair]} of {totals[pair[0]]}", everyday) for pair in rows)],
            [("true class", everyday), *((texts[true], faces[true]) for true, _ in rows)],
            [("was taken for", everyday), *((texts[taken], faces[taken]) for _, taken in rows)],
        )
        widths = [max(face.width(text, _SIZE) for text, face in column) / POINTS for column in group]
        if columns and left + sum(widths) + 4 * _GAP > width:
            break
        for column, wide in zip(group, widths, strict=True):
            columns.append(_Column(left, [text for text, _ in column], [face for _, face in column]))
            left += wide + _GAP
        left += 2 * _GAP
    return columns


def _write_pairs(figure: Figure, columns: Sequence[_Column], height: float) -> None:
    """Into the lowest `height` inches, the heads in grey."""
    for left, texts, faces in columns:
        for line, (text, face) in enumerate(zip(texts, faces, strict=True)):
            figure.text(
                left / figure.get_figwidth(),
                (height - (line + 1) * _LINE) / figure.get_figheight(),
                text,
                fontproperties=face.properties(_SIZE),
                color="#222222" if line else FAINT,
                parse_math=False,
            )


def _name_axes(axes: Axes, names: _Names) -> None:
    axes.set_xticks(names.at, names.texts, parse_math=False, rotation=0 if names.flat else 90)
    axes.set_yticks(names.at, names.texts, parse_math=False)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, face in zip(ticks, names.faces, strict=True):
            tick.set_fontproperties(face.properties(names.size))
    step = names.at[1] - names.at[0] if len(names.at) > 1 else 1
    note = f" (one in {step} is named)" if step > 1 else ""
    axes.set(xlabel=f"predicted class{note}", ylabel=f"true class{note}")
