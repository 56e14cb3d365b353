"""Accuracy by epoch, or mean average precision, averaged over the seeds of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from xfer.plots.style import TRAIN, VAL, empty_figure, new_figure, settings
from xfer.studies.statistics import mean_band

Accuracies = NDArray[np.float64]
"""(seeds, epochs, 2): training and validation accuracy, in [0, 1].

Of any number of labels (seeds, epochs, 1): mean average precision on validation pictures.
"""

_SIDES = ("Training accuracy", "Validation accuracy")
_RANKED = ("Mean average precision on validation pictures",)


# Dashes and markers too: lines that cross must survive a black-and-white print.
_DASHES = ("-", "--", ":", "-.", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_SHAPES = "os^DvP"
_COLOURS = (TRAIN, VAL, "#009e73", "#8a5a00", "#7b3294", "#333333")
_MARKERS = 10  # of a line; further epochs have none
_ROOM = 14  # characters of a legend in an inch
_LONGEST = 50  # characters of a label


def figure_accuracies(accuracies: Mapping[str, Accuracies]) -> Figure:
    """Training accuracy on the left and validation accuracy on the right, a line for each label.

    Mean average precision has axes of its own and no other side.
    """
    with settings():
        if not accuracies:
            return empty_figure("no finished runs")
        figure = new_figure(9.5, 4.6 + 0.2 * (len(accuracies) // 3))
        titles = _RANKED if _ranked(accuracies) else _SIDES
        (sides,) = figure.subplots(1, len(titles), sharey=True, squeeze=False)
        for side, (axes, title) in enumerate(zip(sides, titles, strict=True)):
            for place, (name, values) in enumerate(accuracies.items()):
                _draw(axes, values[:, :, side], name, place)
            axes.set_title(title, loc="left")
        for axes in sides:  # once both are drawn, whose limits are shared
            _finish(axes, list(accuracies.values()), percent=len(titles) > 1)
        _explain(figure, sides[0], list(accuracies.values()))
        return figure


def figure_mode(mode: str, accuracies: Mapping[str, Accuracies]) -> Figure:
    """Training and validation accuracy of one mode, or its mean average precision, for each backend."""
    with settings():
        figure = new_figure(6.5, 4.6)
        axes, ranked = figure.add_subplot(), _ranked(accuracies)
        for place, (backend, values) in enumerate(accuracies.items()):
            suffix = f", {backend}" if len(accuracies) > 1 else ""
            splits = ("validation",) if ranked else ("training", "validation")
            for side, split in enumerate(splits):
                _draw(axes, values[:, :, side], split + suffix, len(splits) * place + side)
        _finish(axes, list(accuracies.values()), percent=not ranked)
        title = "Mean average precision" if ranked else "Accuracy"
        axes.set_title(f"{title} of {mode}", loc="left", parse_math=False)
        _explain(figure, axes, list(accuracies.values()))
        return figure


def _draw(axes: Axes, values: NDArray[np.float64], name: str, place: int) -> None:
    """The mean of `values` (seeds, epochs), in a band where there are several seeds; `place` counts lines from 0."""
    mean, low, high = mean_band(values)
    epochs, kinds = np.arange(1, len(mean) + 1), len(_DASHES)
    dashes, colour = _DASHES[place % kinds], _COLOURS[place % kinds]
    marker = _SHAPES[(place + place // kinds) % kinds]
    if len(values) > 1:
        axes.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0)
        for edge in (low, high):
            axes.plot(epochs, edge, linestyle=dashes, color=colour, linewidth=0.6, alpha=0.7)
    if len(values) > 1 == len(mean):
        axes.vlines(epochs, low, high, color=colour, linewidth=1)  # a band of one epoch has no width
    step = max(1, len(mean) // _MARKERS)
    at = (place % step, step)  # apart from those of the others, where lines run together
    label = f"{_short(name)} (n = {len(values)})"
    axes.plot(epochs, mean, linestyle=dashes, marker=marker, markevery=at, ms=5, lw=1.7, c=colour, label=label)


def _short(name: str) -> str:
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}...{name[-half:]}"


def _ranked(accuracies: Mapping[str, Accuracies]) -> bool:
    return any(values.shape[-1] == 1 for values in accuracies.values())


def _finish(axes: Axes, accuracies: Sequence[Accuracies], percent: bool) -> None:
    axes.set(xlabel="epoch", xlim=(0.5, max(values.shape[1] for values in accuracies) + 0.5))
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(1.02, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.grid(True)


def _explain(figure: Figure, axes: Axes, accuracies: Sequence[Accuracies]) -> None:
    """The legend above, and what a band means below."""
    handles, labels = axes.get_legend_handles_labels()
    columns = int(_ROOM * figure.get_figwidth()) // (max(map(len, labels)) + 8)
    legend = figure.legend(handles, labels, loc="outside upper center", ncols=min(max(1, columns), 3, len(labels)))
    for text in legend.get_texts():
        text.set_parse_math(False)
    if any(len(values) > 1 for values in accuracies):
        figure.supxlabel("mean over n seeds; band: 95 % interval of the mean", fontsize=9, color="#444444")
