"""The validation accuracy of several runs, or their mean average precision, epoch by epoch, and their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xfer.plots.curves import Rows
from xfer.plots.style import FAINT, TRAIN, VAL, new_figure, percent, settings

_LINES = (("-", "o", TRAIN), ("--", "s", VAL), (":", "^", "#009e73"), ("-.", "D", "#8a5a00"))

_ACCURACY = ("val_accuracy", "Validation accuracy", "one class for all")
_MAP = ("val_map", "Mean average precision on validation pictures", "order by chance")
_ALL = (0.0, 1.02)
_FAR = 0.25  # of accuracy above chance from which curves get axes of their own
_LOW = 0.4  # of accuracy; curves that all stay below it would be flat on axes of 0..1


def figure_comparison(runs: Mapping[str, Rows], chance: float) -> Figure:
    """A curve for each run, by its label; rows as in metrics.jsonl.

    chance  the share that always guessing one class would get right, in [0, 1]; of runs for any number of labels the
            mean average precision of an order by chance
    """
    several = any("val_map" in row for rows in runs.values() for row in rows)
    key, title, low_line = _MAP if several else _ACCURACY
    written = "{:.4f}".format if several else percent
    with settings():
        figure = new_figure(7.5, 4.2)
        axes = figure.add_subplot()
        for (label, rows), (line, marker, colour) in zip(runs.items(), cycle(_LINES), strict=False):
            accuracy = [row[key] for row in rows]
            label = f"{label}: best {written(max(accuracy))}"
            axes.plot([row["epoch"] for row in rows], accuracy, line, marker=marker, ms=4, c=colour, label=label)
        low, high = _limits([row[key] for rows in runs.values() for row in rows], chance)
        axes.axhline(chance, color=FAINT, linestyle=":", linewidth=1.2, label=f"{low_line}: {written(chance)}")
        axes.set(xlabel="epoch", ylim=(low, high))
        axes.set_title(title, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not several:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axes.grid(True)
        axes.legend(loc="lower right" if (low, high) == _ALL else "best")
        return figure


def figure_losses(runs: Mapping[str, Rows]) -> Figure:
    """The validation loss of each run, by its label, and the training loss faintly; rows as in metrics.jsonl."""
    with settings():
        figure = new_figure(7.5, 4.2)
        axes = figure.add_subplot()
        for (label, rows), (line, marker, colour) in zip(runs.items(), cycle(_LINES), strict=False):
            epochs = [row["epoch"] for row in rows]
            losses = [row["val_loss"] for row in rows]
            label = f"{label}: least {min(losses):.4f}"
            axes.plot(epochs, losses, line, marker=marker, ms=4, c=colour, label=label)
            axes.plot(epochs, [row["train_loss"] for row in rows], line, lw=1, c=colour, alpha=0.45)
        axes.set(xlabel="epoch")
        axes.set_title("Validation loss, and training loss (faint)", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(True)
        axes.legend(loc="best")
        return figure


def _limits(accuracies: Sequence[float], chance: float) -> tuple[float, float]:
    """All of 0..1, or as much as lies around the curves, where all keep well above chance, or all are low.

    The legend tells the chance in any case; its line would press curves that differ by a hundredth into one.
    """
    low, high = min(accuracies), max(accuracies)
    if low - chance < _FAR:
        return (0.0, 1.25 * max(high, chance)) if 0 < max(high, chance) < _LOW else _ALL
    room = max(0.25 * (high - low), 0.01)
    return max(0.0, low - room), min(1.02, high + room)
