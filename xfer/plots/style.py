"""What all pictures share: colours, type sizes, the canvas, and matplotlib's settings while one is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from matplotlib import style as mpl_style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

DPI = 120
POINTS = 72
"""Points in an inch: figure sizes are inches, type sizes points."""

# Told apart by colour-blind readers too: the two pairs differ in blueness, which all but the rarest forms see.
RIGHT, WRONG, UNKNOWN = "#0057b8", "#c8102e", "#444444"
TRAIN, VAL, BEST = "#0072b2", "#d55e00", "#ffd23f"
FAINT = "#8a8a8a"

_SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib's defaults plus ours, whatever a user's matplotlibrc says, and his own again afterwards."""
    with mpl_style.context(["default", _SETTINGS]):
        yield


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches on an Agg canvas; pyplot, and with it any display, is never touched."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=0.08, h_pad=0.08)  # inches
    return figure


def pixels_of(figure: Figure) -> NDArray[np.uint8]:
    """What is drawn, (H, W, 3) uint8. Without the transparency that no figure has, its file is an eighth smaller."""
    canvas: Any = figure.canvas  # matplotlib's canvases have no types
    with settings():
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def empty_figure(message: str) -> Figure:
    figure = new_figure(4, 2)
    figure.text(0.5, 0.5, message, ha="center", va="center", color=UNKNOWN)
    return figure


def in_colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., C) -> (..., 3), as people see it: grey in all three; of four the first three."""
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]
