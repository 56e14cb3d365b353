"""A comparison of runs on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from xfer.cli.console import say, table
from xfer.comparison.compare import Comparison, Summary
from xfer.comparison.words import disagreement_line, pair_lines
from xfer.recipe.keys import Setting

MOST_LISTED = 20  # images on which runs disagree; compare.json has them all


def compared(c: Comparison) -> None:
    """The runs, what differs in how they were made, and each against the first."""
    for number, run in enumerate(c.runs, start=1):
        say(f"run {number}: {run.path} ({run.backend} on {run.device}, {run.precision})")
    table(result_table(c.runs))
    if c.settings:
        table(setting_table(c.settings))
    else:
        say("recipes, backends, devices and versions are the same")
    say(f"training batches: {'the same, bit for bit' if c.same_batches else 'not the same'}")
    for pair in c.pairs:
        say(*pair_lines(pair, c.margin))
    if c.disagreements:
        say("images on which runs disagree")
    for image in c.disagreements[:MOST_LISTED]:
        say(f"  {disagreement_line(image)}")
    if (more := len(c.disagreements) - MOST_LISTED) > 0:
        say(f"  and {more} more")


def result_table(runs: Sequence[Summary]) -> Table:
    memory = any(run.peak_memory is not None for run in runs)
    table = Table(title="Validation", title_justify="left")
    ranked = any(run.mean_average_precision is not None for run in runs)
    figures = ("exact match", "95 %", "macro-F1", "mAP") if ranked else ("accuracy", "95 %", "macro-F1", "balanced")
    for column in ("run", *figures, "loss", "epoch", "features", "training", "total"):
        table.add_column(column, justify="right", overflow="fold")
    if memory:
        table.add_column("memory", justify="right", overflow="fold")
    for number, r in enumerate(runs, start=1):
        interval = f"{100 * r.interval.low:.1f}-{100 * r.interval.high:.1f} %"
        second = f"{r.mean_average_precision:.4f}" if r.balanced_accuracy is None else f"{r.balanced_accuracy:.2%}"
        macro = (f"{r.macro_f1:.2%}", second)
        seconds = (f"{s:.1f} s" for s in (r.seconds_features, r.seconds_training, r.seconds_total))
        row = [f"{number}", f"{r.accuracy:.2%}", interval, *macro, f"{r.loss:.4f}", f"{r.best_epoch}", *seconds]
        if memory:
            row.append("" if r.peak_memory is None else f"{r.peak_memory / 2**20:.0f} MiB")
        table.add_row(*row)
    return table


def setting_table(settings: Sequence[Setting]) -> Table:
    table = Table(title="What differs", title_justify="left")
    table.add_column("key", no_wrap=True)
    for number in range(1, len(settings[0].values) + 1):
        table.add_column(f"run {number}", overflow="fold")
    for setting in settings:
        table.add_row(*("-" if cell is None else str(cell) for cell in (setting.key, *setting.values)))
    return table
