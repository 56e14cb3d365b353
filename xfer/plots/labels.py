"""How well each label is found, where pictures have any number of them: what a confusion matrix is for classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from xfer.plots.fonts import faces_for, pick
from xfer.plots.style import FAINT, POINTS, TRAIN, VAL, empty_figure, new_figure, settings

MOST = 60
"""Labels that are drawn: those with the lowest average precision."""
_ROW, _PLOT, _ROOM, _SIZE = 0.26, 4.6, 170.0, 9.0  # inches of a row and of the axes; points of a name, and its type
_ABOVE, _BELOW, _COUNT = 0.85, 0.5, 0.9  # inches


def figure_labels(
    classes: Sequence[str], precisions: Sequence[float | None], f1: Sequence[float | None], support: Sequence[int]
) -> Figure:
    """A bar for the average precision of each label, a mark for its F1, and how many pictures have it; worst first.

    Labels that no picture has are left out: of them nothing is known.
    """
    known = [i for i, precision in enumerate(precisions) if precision is not None]
    order = sorted(known, key=lambda i: (precisions[i] or 0.0, classes[i]))[:MOST]
    with settings():
        if not order:
            return empty_figure("no picture has a label")
        faces = faces_for([classes[i] for i in order])
        own = [pick(faces, classes[i]) for i in order]
        texts = [face.fit(classes[i], _SIZE, _ROOM) for i, face in zip(order, own, strict=True)]
        left = 0.3 + max(face.width(text, _SIZE) for text, face in zip(texts, own, strict=True)) / POINTS
        width, height = left + _PLOT + _COUNT, _ABOVE + _ROW * len(order) + _BELOW
        figure = new_figure(width, height, layout=None)
        axes = figure.add_axes((left / width, _BELOW / height, _PLOT / width, _ROW * len(order) / height))
        at = np.arange(len(order))
        bars, marks = _values(precisions, order), _values(f1, order)
        axes.barh(at, bars, height=0.62, color=TRAIN, alpha=0.75, label="average precision")
        axes.plot(marks, at, "D", ms=5, color=VAL, label="F1", clip_on=False, zorder=3)
        axes.set(xlim=(0, 1.0), ylim=(len(order) - 0.5, -0.5), xlabel="share")
        axes.set_yticks(at, texts, parse_math=False)
        for tick, face in zip(axes.get_yticklabels(), own, strict=True):
            tick.set_fontproperties(face.properties(_SIZE))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
        axes.grid(True, axis="x")
        for place, label in enumerate(order):
            axes.text(1.02, place, f"{support[label]:,}", va="center", fontsize=_SIZE, color=FAINT, clip_on=False)
        axes.text(1.02, -0.75, "pictures", va="bottom", fontsize=_SIZE, color=FAINT, clip_on=False)
        mean = _values(precisions, known).mean()
        of = f", the {len(order)} worst of {len(known)}" if len(order) < len(known) else ""
        figure.suptitle(f"Labels: mean average precision {mean:.4f}{of}", y=1 - 0.22 / height, fontsize=11)
        place_of = (0.5, 1 - 0.3 / height)
        figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=2, bbox_to_anchor=place_of)
        return figure


def _values(values: Sequence[float | None], order: Sequence[int]) -> NDArray[np.float64]:
    """NaN where there is none: nothing is drawn there."""
    return np.array([values[i] for i in order], np.float64)
