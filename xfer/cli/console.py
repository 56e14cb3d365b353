"""What the command line shows: lines, one table, and progress bars on a terminal."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from xfer.archs import Arch
from xfer.backend import ParamGroups
from xfer.cli.loading import loading_table
from xfer.comparison.compare import Comparison, Disagreement, Pair, Setting, Summary, Unpaired
from xfer.nets.partial import warning
from xfer.progress import Progress, silent
from xfer.results.checkpoint import BEST
from xfer.results.run import Run
from xfer.training.run import Fitted, Prepared
from xfer.training.write import epoch_line

MOST_LISTED = 20  # images on which runs disagree; compare.json has them all
PIPE_WIDTH = 200  # columns of a table that goes into a file or another program
PLAIN_EVERY = 15.0  # seconds between lines of progress where there is no terminal


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """Bars with rate and time left on a terminal; a plain line now and then elsewhere; nothing when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif not console.is_terminal:
        yield _plain()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        with Bars(*columns, console=console, transient=True) as bars:
            yield _drawn(bars)


def _drawn(bars: Bars) -> Progress:
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int | None) -> None:
        if what not in tasks or (done == 1 and bars.tasks[-1].description != what):
            for old in tasks.values():
                bars.remove_task(old)
            tasks.clear()
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return show


def _plain() -> Progress:
    shown = time.monotonic()

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        if time.monotonic() - shown > PLAIN_EVERY:
            shown = time.monotonic()
            click.echo(f"{what}: {done}" + (f" of {total}" if total else ""), err=True)

    return show


def show(event: Prepared | Fitted | Run) -> None:
    """One part of a run as it happens; of its end, nothing: `headline` says that."""
    if isinstance(event, Prepared):
        describe(event)
    elif isinstance(event, Fitted):
        click.echo(epoch_line(event.epoch))


def headline(run: Run, pictures: Sequence[Path]) -> str:
    """How good, how fast, and where everything lies."""
    r = run.result
    right = round(r["val_accuracy"] * r["n_val"])
    lines = [
        f"best epoch {r['best_epoch']}: {r['val_accuracy']:.2%} of {r['n_val']} validation images right ({right}), "
        f"loss {r['val_loss']:.4f}",
        f"{r['seconds_total']:.1f} s in all: features {r['seconds_features']:.1f} s, "
        f"training and validation {r['seconds_training']:.1f} s",
        f"run folder    {run.path}",
        f"checkpoint    {run.path / BEST}",
        f"report        {run.path / 'report.html'}",
        *(f"picture       {picture}" for picture in pictures),
    ]
    return "\n".join(lines)


def against(run: Run, other: Run) -> str:
    """One sentence on transfer against random weights."""
    ours, theirs = run.result, other.result
    return (
        f"from {run.recipe.weights.source} weights {ours['val_accuracy']:.2%} in {ours['seconds_total']:.0f} s, "
        f"from random weights {theirs['val_accuracy']:.2%} in {theirs['seconds_total']:.0f} s"
    )


def describe(p: Prepared) -> None:
    """The data, and once for each phase who moves and how fast."""
    counts = f"{len(p.data.train.labels)} training and {len(p.data.val.labels)} validation images"
    versions = ", ".join(f"{name} {version}" for name, version in p.backend.versions().items())
    click.echo(f"{p.backend.name} on {p.device} ({versions})")
    click.echo(f"{p.data.name}: {counts}, {len(p.data.classes)} classes: {_short(p.data.classes)}")
    if p.data.skipped:
        click.echo(f"{len(p.data.skipped)} files left out, see skipped_images.csv")
    if said := p.data.leaks.warning(p.recipe.data.on_leak):
        click.echo(said)
    if p.loaded is not None:
        _printer().print(loading_table(p.recipe.weights.source, p.loaded, p.arch))
        if line := warning(p.loaded, p.groups, p.arch):
            click.echo(f"warning: {line}")
    for number, (phase, groups) in enumerate(zip(p.recipe.plan, p.groups, strict=True)):
        title = f"{p.arch.name}, phase {number + 1} of {len(p.groups)}: {phase.epochs} epochs"
        _printer().print(group_table(title, groups, p.arch, p.shapes, phase.lr))


def group_table(title: str, groups: ParamGroups, arch: Arch, shapes: dict[str, tuple[int, ...]], lr: float) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("weights of")
    for column in ("tensors", "parameters", "rate", "decay"):
        table.add_column(column, justify="right")
    for group in groups.trainable:
        table.add_row(*_row(group.names, arch, shapes), f"{lr * group.lr_mult:g}", f"{group.weight_decay:g}")
    if groups.updating:
        table.add_row(*_row(sorted(groups.updating), arch, shapes), "statistics", "")
    if groups.frozen:
        table.add_row(*_row(sorted(groups.frozen), arch, shapes), "frozen", "")
    moved, every = _size(groups.trainable_names, shapes), _size(list(shapes), shapes)
    table.caption = f"trainable: {moved:,} of {every:,} values ({moved / every:.2%})"
    return table


def _row(names: Sequence[str], arch: Arch, shapes: dict[str, tuple[int, ...]]) -> tuple[str, str, str]:
    inside = {arch.stage_of(name) for name in names}
    stages = ", ".join(stage for stage in arch.stage_names if stage in inside)
    return stages, f"{len(names)}", f"{_size(names, shapes):,}"


def _size(names: Sequence[str], shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shapes[name]) for name in names)


def _short(classes: Sequence[str], most: int = 8) -> str:
    return ", ".join(classes[:most]) + (f" and {len(classes) - most} more" if len(classes) > most else "")


def as_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _printer() -> Console:
    """Standard output. Where nobody watches, tables take the room they need: a cut figure is a lost one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def compared(c: Comparison) -> None:
    """The runs, what differs in how they were made, and each against the first."""
    console = _printer()
    for number, run in enumerate(c.runs, start=1):
        click.echo(f"run {number}: {run.path} ({run.backend} on {run.device})")
    console.print(result_table(c.runs))
    if c.settings:
        console.print(setting_table(c.settings))
    else:
        click.echo("recipes, backends, devices and versions are the same")
    click.echo(f"training batches: {'the same, bit for bit' if c.same_batches else 'not the same'}")
    for pair in c.pairs:
        click.echo("\n".join(pair_lines(pair, c.margin)))
    if c.disagreements:
        click.echo("images on which runs disagree")
    for image in c.disagreements[:MOST_LISTED]:
        click.echo(f"  {disagreement_line(image)}")
    if (more := len(c.disagreements) - MOST_LISTED) > 0:
        click.echo(f"  and {more} more")


def result_table(runs: Sequence[Summary]) -> Table:
    memory = any(run.peak_memory is not None for run in runs)
    table = Table(title="Validation", title_justify="left")
    for column in ("run", "accuracy", "95 %", "loss", "epoch", "features", "training", "total"):
        table.add_column(column, justify="right", overflow="fold")
    if memory:
        table.add_column("memory", justify="right", overflow="fold")
    for number, r in enumerate(runs, start=1):
        interval = f"{100 * r.interval.low:.1f}-{100 * r.interval.high:.1f} %"
        seconds = (f"{s:.1f} s" for s in (r.seconds_features, r.seconds_training, r.seconds_total))
        row = [f"{number}", f"{r.accuracy:.2%}", interval, f"{r.loss:.4f}", f"{r.best_epoch}", *seconds]
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
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in (setting.key, *setting.values)))
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
    lines = [
        f"run {pair.run} against run 1, on the same {pair.n} validation images",
        f"  {same}; {gap}",
        f"  right in run 1 alone {pair.only_first}, in run {pair.run} alone {pair.only_this}; "
        f"McNemar's exact test: p = {pair.p:.3g}",
        f"  accuracy differs by {100 * pair.difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}",
    ]
    if pair.only_first == pair.only_this == 0:
        lines.append(
            f"  (no image of {pair.n} is right in one run alone: with 95 % confidence, at most {high:.1f} % of all are)"
        )
    return [*lines, f"  {verdict_line(pair, margin)}"]


def verdict_line(pair: Pair, margin: float) -> str:
    points = f"+-{100 * margin:.1f} points"
    if pair.verdict == "equivalent":
        return f"equivalent: the difference lies within {points} with 95 % confidence"
    if pair.verdict == "different":
        return f"different: run {pair.run} is {'better' if pair.difference > 0 else 'worse'} than run 1"
    return f"not shown: neither that they differ, nor that the difference lies within {points}"


def disagreement_line(image: Disagreement) -> str:
    said = (
        f"run {number} {name} ({probability:.0%})"
        for number, (name, probability) in enumerate(zip(image.predicted, image.probabilities, strict=True), start=1)
        if name is not None
    )
    return f"{image.name}: {', '.join(said)}; true {image.label}"
