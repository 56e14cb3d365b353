"""Loss, accuracy and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from xfer.plots.fonts import faces_for
from xfer.plots.style import BEST, FAINT, POINTS, TRAIN, UNKNOWN, VAL, empty_figure, new_figure, percent, settings

Rows = Sequence[Mapping[str, Any]]
_WIDTH, _HEIGHT = 9.5, 5.2  # inches
_MOST_WITH_MARKERS = 40


def figure_curves(epochs: Rows) -> Figure:
    """One row for each epoch, as in metrics.jsonl; a value that is missing or not finite leaves a gap.

    The last row whose `best` is true is the best epoch. `phase` is a number or a name.
    """
    with settings():
        if not epochs:
            return empty_figure("no epochs")
        # Placed by hand: what stands around the panels is known, and a solver takes as long again as the drawing.
        figure = new_figure(_WIDTH, _HEIGHT, layout=None)
        room = 0.62 if len(phases(epochs)) == 1 else 0.82  # between the rows, in inches
        inner = _HEIGHT - 0.72 - 0.5
        grid = figure.add_gridspec(
            2, 2, height_ratios=[3, 1], left=0.75 / _WIDTH, right=1 - 0.2 / _WIDTH, bottom=0.5 / _HEIGHT,
            top=1 - 0.72 / _HEIGHT, hspace=2 * room / (inner - room), wspace=0.2,
        )  # fmt: skip
        loss, accuracy = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
        rate = figure.add_subplot(grid[1, :])
        _draw_pair(loss, epochs, "loss")
        if any("val_map" in row for row in epochs):
            _draw_pair(accuracy, epochs, "map", "Mean average precision on validation pictures")
        else:
            _draw_pair(accuracy, epochs, "accuracy")
            accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        accuracy.set_ylim(top=min(1.01, accuracy.get_ylim()[1]))
        _draw_rate(rate, epochs)
        for axes in (loss, accuracy, rate):
            _draw_epochs(axes, epochs)
        _name_phases(rate, epochs)
        # Beside the panels, where no curve can run through it.
        figure.legend(*loss.get_legend_handles_labels(), loc="upper center", ncols=3)
        return figure


def phases(epochs: Rows) -> list[tuple[str, int, int]]:
    """(name, first epoch, last epoch) of each run of rows with the same phase."""
    groups = [(name, list(rows)) for name, rows in groupby(epochs, key=lambda row: row.get("phase", 1))]
    named = [(f"phase {name}" if isinstance(name, int) else str(name), rows) for name, rows in groups]
    return [(name, rows[0]["epoch"], rows[-1]["epoch"]) for name, rows in named]


def best_row(epochs: Rows) -> Mapping[str, Any] | None:
    """The last row marked best, since each mark says "best so far"."""
    return next((row for row in reversed(epochs) if row.get("best")), None)


def _series(epochs: Rows, key: str) -> NDArray[np.float64]:
    """Values of a key, NaN where there is none: that is what None becomes."""
    return np.array([row.get(key) for row in epochs], dtype=np.float64)


def _draw_pair(axes: Axes, epochs: Rows, key: str, title: str = "") -> None:
    """Training and validation values of `loss`, `accuracy` or `map`, as far as there are, and a star at the best."""
    at, few = _series(epochs, "epoch"), len(epochs) <= _MOST_WITH_MARKERS
    thick = 1.6 if few else 1.0
    # Dashes and marker shapes too: the pair must survive a black-and-white print.
    for split, line, shape, colour in (("train", "--", "s", TRAIN), ("val", "-", "o", VAL)):
        label = {"train": "training", "val": "validation"}[split]
        marker = shape if few else ""
        axes.plot(at, _series(epochs, f"{split}_{key}"), line, marker=marker, ms=4, lw=thick, c=colour, label=label)
    best = best_row(epochs)
    if best is not None:
        value = np.nan if best.get(f"val_{key}") is None else best[f"val_{key}"]
        axes.plot(best["epoch"], value, "*", ms=14, c=BEST, mec="#222222", mew=0.8, zorder=5, label=_praise(best))
    axes.set_title(title or key.capitalize(), loc="left")


def _praise(best: Mapping[str, Any]) -> str:
    if (precision := best.get("val_map")) is not None:
        return f"best: epoch {best['epoch']}, mAP {precision:.4f}"
    accuracy = best.get("val_accuracy")
    return f"best: epoch {best['epoch']}" + (f", {percent(accuracy)} right" if accuracy is not None else "")


def _draw_rate(axes: Axes, epochs: Rows) -> None:
    rates, few = _series(epochs, "lr"), len(epochs) <= _MOST_WITH_MARKERS
    axes.plot(_series(epochs, "epoch"), rates, marker="." if few else "", c=UNKNOWN, lw=1.2)
    axes.set_title("Learning rate", loc="left", pad=20 if len(phases(epochs)) > 1 else None)
    axes.set(xlabel="epoch")
    lowest, highest = _peaks(epochs)
    if lowest > 0 and highest > 10 * lowest:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(lowest / 20, highest * 2)
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif highest > 0:
        axes.set_ylim(0, highest * 1.15)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))


def _peaks(epochs: Rows) -> tuple[float, float]:
    """The lowest and the highest of the phases' peak rates.

    Of the peaks, not of all rates: a cosine's end near zero belongs near zero, on a linear axis.
    """
    at, rates = _series(epochs, "epoch"), np.nan_to_num(_series(epochs, "lr"))
    peaks = [float(rates[(at >= first) & (at <= last)].max()) for _, first, last in phases(epochs)]
    return min(peaks), max(peaks)


def _draw_epochs(axes: Axes, epochs: Rows) -> None:
    """What the panels share: whole epochs along x, and a line wherever a phase begins."""
    axes.set_xlim(epochs[0]["epoch"] - 0.5, epochs[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)
    for _, first, _ in phases(epochs)[1:]:
        axes.axvline(first - 0.5, color=FAINT, linestyle=":", linewidth=1.2)


def _name_phases(axes: Axes, epochs: Rows) -> None:
    """The phases' names above their stretch of the axis, as far as there is room."""
    spans = phases(epochs)
    if len(spans) < 2:
        return
    faces = faces_for(())
    for name, first, last in spans:
        room = (last - first + 1) / (epochs[-1]["epoch"] - epochs[0]["epoch"] + 1) * (_WIDTH - 1) * POINTS
        if room > 20:
            axes.text(
                (first + last) / 2,
                1.04,
                faces[0].fit(name, 8, room - 4),
                transform=axes.get_xaxis_transform(),
                ha="center",
                fontproperties=faces[0].properties(8),
                color=UNKNOWN,
                parse_math=False,
            )
