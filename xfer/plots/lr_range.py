"""The loss over the learning rate, while that rises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfer.plots.style import FAINT, TRAIN, VAL, empty_figure, new_figure, settings

Values = Sequence[float] | NDArray[Any]
_MARKERS = "osD^"


def figure_lr_range(rates: Values, losses: Values, smoothed: Values, suggestions: Mapping[str, float]) -> Figure:
    """Rates rise. `suggestions`: rates by name, each one of `rates`, marked on the smoothed curve."""
    with settings():
        if not len(rates):
            return empty_figure("no steps")
        figure = new_figure(7.5, 4.2)
        axes = figure.add_subplot()
        axes.plot(rates, losses, lw=0.8, c=FAINT, label="loss of a batch")
        axes.plot(rates, smoothed, lw=1.8, c=TRAIN, label="smoothed")
        for (name, rate), marker in zip(suggestions.items(), _MARKERS, strict=False):
            place = int(np.argmin(np.abs(np.asarray(rates) - rate)))
            axes.plot(rate, smoothed[place], marker, ms=9, c=VAL, mec="#222222", label=f"{name}: {rate:.2g}", zorder=5)
        axes.set_xscale("log")
        fall = np.asarray(smoothed)[: int(np.argmin(smoothed)) + 1]
        axes.set_ylim(0, 1.5 * float(fall.max()) or None)  # what the last rates do, no page is high enough for
        axes.set_title("Learning-rate range test", loc="left")
        axes.set(xlabel="learning rate", ylabel="loss")
        axes.grid(True)
        axes.legend()
        return figure
