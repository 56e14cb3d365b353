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

from xfer.api import Run
from xfer.archs import Arch
from xfer.backend import ParamGroups
from xfer.checkpoint import BEST
from xfer.folder import epoch_line
from xfer.progress import Progress, silent
from xfer.run import Fitted, Prepared

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
    for number, (phase, groups) in enumerate(zip(p.recipe.plan, p.groups, strict=True)):
        title = f"{p.arch.name}, phase {number + 1} of {len(p.groups)}: {phase.epochs} epochs"
        Console(highlight=False).print(group_table(title, groups, p.arch, p.shapes, phase.lr))


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
