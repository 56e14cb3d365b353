"""A comparison of runs on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from xfer.cli.console import say, table
from xfer.comparison.compare import Comparison, Disagreement, Pair, Summary, Unpaired
from xfer.comparison.statistics import Interval
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


def pair_lines(pair: Pair | Unpaired, margin: float) -> list[str]:
    """A run against the first, in words. Differences are in points of accuracy, this run minus the first."""
    if isinstance(pair, Unpaired):
        return [f"run {pair.run} against run 1: not the same validation images ({pair.reason}), so no paired tests"]
    low, high = (100 * end for end in pair.interval)
    share = f"{pair.same_predictions} of {pair.n} images ({pair.same_predictions / pair.n:.1%})"
    identical = pair.same_predictions == pair.n
    same = f"identical predictions on {pair.n} images" if identical else f"the same prediction for {share}"
    gap = f"probabilities at most {pair.gap:.2g} apart ({pair.gap_at})" if pair.gap else "the same probabilities"
    what = "accuracy" if pair.mean_average_precision is None else "exact match"
    lines = [
        f"run {pair.run} against run 1, on the same {pair.n} validation images",
        f"  {same}; {gap}",
        f"  right in run 1 alone {pair.only_first}, in run {pair.run} alone {pair.only_this}; "
        f"McNemar's exact test: p = {pair.p:.3g}",
        f"  {what} differs by {100 * pair.difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}",
    ]
    others = (("balanced accuracy", pair.balanced_accuracy), ("mean average precision", pair.mean_average_precision))
    for name, figure in (("macro-F1", pair.macro_f1), *others):
        if figure is None:
            continue
        words = _ends(figure.interval)
        lines.append(f"  {name} differs by {100 * figure.value:+.1f} points{words}")
    if pair.only_first == pair.only_this == 0:
        lines.append(
            f"  (no image of {pair.n} is right in one run alone: with 95 % confidence, at most {high:.1f} % of all are)"
        )
    return [*lines, f"  {verdict_line(pair, margin)}"]


def _ends(interval: Interval | None) -> str:
    return f", 95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}" if interval else ""


def verdict_line(pair: Pair, margin: float) -> str:
    points = f"+-{100 * margin:.1f} points"
    if pair.verdict == "equivalent":
        return f"equivalent: the difference lies within {points} with 95 % confidence"
    if pair.verdict == "different":
        return f"different: run {pair.run} is {'better' if _decisive(pair) > 0 else 'worse'} than run 1"
    return f"not shown: neither that they differ, nor that the difference lies within {points}"


def _decisive(pair: Pair) -> float:
    """The difference that the verdict is of."""
    return pair.difference if pair.mean_average_precision is None else pair.mean_average_precision.value


def disagreement_line(image: Disagreement) -> str:
    predictions = (
        f"run {number} {name}" + ("" if probability is None else f" ({probability:.0%})")
        for number, (name, probability) in enumerate(zip(image.predicted, image.probabilities, strict=True), start=1)
        if name is not None
    )
    return f"{image.name}: {', '.join(predictions)}; true {image.label}"
