"""The validation accuracy of several runs, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xfer.plots.curves import Rows
from xfer.plots.style import FAINT, TRAIN, VAL, new_figure, percent, settings

_LINES = (("-", "o", TRAIN), ("--", "s", VAL), (":", "^", "#009e73"), ("-.", "D", "#8a5a00"))


def figure_comparison(runs: Mapping[str, Rows], chance: float) -> Figure:
    """A curve for each run, by its label; rows as in metrics.jsonl.

    chance  the share that always guessing one class would get right, in [0, 1]
    """
    with settings():
        figure = new_figure(7.5, 4.2)
        axes = figure.add_subplot()
        for (label, rows), (line, marker, colour) in zip(runs.items(), cycle(_LINES), strict=False):
            accuracy = [row["val_accuracy"] for row in rows]
            label = f"{label}: best {percent(max(accuracy))}"
            axes.plot([row["epoch"] for row in rows], accuracy, line, marker=marker, ms=4, c=colour, label=label)
        axes.axhline(chance, color=FAINT, linestyle=":", linewidth=1.2, label=f"one class for all: {percent(chance)}")
        axes.set(xlabel="epoch", ylim=(0, 1.02))
        axes.set_title("Validation accuracy", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axes.grid(True)
        axes.legend(loc="lower right")
        return figure
