"""A run on the command line: what was prepared, a line for each epoch, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from xfer.backend import ParamGroups
from xfer.cli.console import say, table
from xfer.cli.loading import loading_table
from xfer.formats.sealed import BEST
from xfer.multilabel import in_words, several
from xfer.nets import partial
from xfer.nets.net import Net
from xfer.recipe.phases import epochs, plan
from xfer.recipe.recipe import Recipe
from xfer.results.run import Run
from xfer.training.epoch_text import epoch_lines
from xfer.training.prepared import Prepared
from xfer.training.run import EpochEnd


def show(event: Prepared | EpochEnd | Run) -> None:
    """One part of a run as it happens; of its end, nothing: `headline` says that."""
    if isinstance(event, Prepared):
        describe(event)
    elif isinstance(event, EpochEnd):
        for line in epoch_lines(event):
            say(line)


def headline(run: Run, pictures: Sequence[Path]) -> list[str]:
    """How good, how fast, and where everything lies."""
    r = run.result
    return [
        _best(r),
        f"{r['seconds_total']:.1f} s in all: features {r['seconds_features']:.1f} s, "
        f"training and validation {r['seconds_training']:.1f} s",
        *([f"started from  {r['parent']['path']}, head {r['parent']['head']}"] if r.get("parent") else []),
        f"run folder    {run.path}",
        f"checkpoint    {run.path / BEST}",
        f"report        {run.path / 'report.html'}",
        *(f"picture       {picture}" for picture in pictures),
    ]


def _best(r: Mapping[str, Any]) -> str:
    if "val_map" in r:
        f1 = " ".join(f"{key.removesuffix('_f1')} {r['label_metrics'][key]['value'] or 0:.4f}" for key in _F1)
        return (
            f"best epoch {r['best_epoch']}: mean average precision {r['val_map']:.4f} on {r['n_val']} validation "
            f"images, F1 {f1} (thresholds out of fold), loss {r['val_loss']:.4f}"
        )
    right = round(r["val_accuracy"] * r["n_val"])
    return (
        f"best epoch {r['best_epoch']}: {r['val_accuracy']:.2%} of {r['n_val']} validation images right ({right}), "
        f"loss {r['val_loss']:.4f}"
    )


_F1 = ("micro_f1", "macro_f1")


def _score(r: Mapping[str, Any]) -> str:
    return f"mAP {r['val_map']:.4f}" if "val_map" in r else f"{r['val_accuracy']:.2%}"


def announced(baseline: Recipe) -> str:
    """Before the run from random weights begins: what it is, and how to do without it."""
    return (
        f"to compare: {baseline.model.arch} from random weights, {epochs(baseline)} epochs at {baseline.augment.size} "
        "pixels. --no-against-random leaves it out"
    )


def against(run: Run, baseline: Run) -> str:
    """One sentence on transfer against random weights."""
    ours, theirs = run.result, baseline.result
    first, second = map(_score, (ours, theirs))
    network = "" if ours["arch"] == theirs["arch"] else f" in {theirs['arch']}"
    return (
        f"from {run.recipe.weights.source} weights {first} in {ours['seconds_total']:.0f} s, "
        f"from random weights{network} {second} in {theirs['seconds_total']:.0f} s"
    )


def describe(p: Prepared) -> None:
    """The data, and once for each phase who moves and how fast."""
    counts = f"{len(p.data.train.labels)} training and {len(p.data.val.labels)} validation images"
    versions = ", ".join(f"{name} {version}" for name, version in p.net.backend.versions().items())
    say(f"{p.net.backend.name} on {p.net.device} ({versions})")
    if p.net.spec.precision != "float32":
        say(f"computes in {p.net.spec.precision}; train.precision = 'float32' is exact")
    if p.recipe.train.ema is not None:
        say(f"train.ema = {p.recipe.train.ema:g}: an average of the weights is evaluated and kept")
    if p.net.spec.fast:
        say("train.fast: on a GPU, the same run may end with other bits the next time")
    kind = "labels" if several(p.data.train.labels) else "classes"
    say(f"{p.data.name}: {counts}, {len(p.data.classes)} {kind}: {_short(p.data.classes)}")
    if several(p.data.train.labels):
        say(in_words(p.data.train.labels, p.data.val.labels))
    if p.data.test is not None:
        say(f"{p.data.test} is kept for xfer evaluate --split test: training does not look at it")
    if p.data.train.groups is not None:
        say("pictures of one group, by a column of the table, stay together where a part is split off")
    if (weights := p.data.train.weights) is not None:
        say(f"training pictures count by their weights in the table, {weights.min():g} to {weights.max():g}; "
            "in validation each counts 1")  # fmt: skip
    if p.data.unvalidated:
        names = _short(p.data.unvalidated)
        say(f"warning: no validation pictures of {names}: no figure says how well. Cure: add some to val")
    if p.data.levels:
        say(p.data.levels.text())
    if p.data.skipped:
        say(f"{len(p.data.skipped)} files left out, see skipped_images.csv")
    for warning in p.data.warnings():
        say(warning)
    if warning := p.data.leaks.warning(p.recipe.data.on_leak):
        say(warning)
    for note in p.notes:
        say(note)
    if p.loaded is not None:
        table(loading_table(p.recipe.weights.source, p.loaded, p.net.arch))
        if line := partial.warning(p.loaded, p.groups, p.net.arch):
            say(f"warning: {line}")
    for phase, groups in zip(plan(p.recipe), p.groups, strict=True):
        most = "at most " if p.recipe.train.patience else ""
        title = f"{p.net.arch.name}, phase {phase.number + 1} of {len(p.groups)}: {most}{phase.epochs} epochs"
        table(group_table(title, groups, p.net, phase.lr))


def group_table(title: str, groups: ParamGroups, net: Net, lr: float) -> Table:
    """Who moves, and how fast, with counts of tensors and of their values."""
    table = Table(title=title, title_justify="left")
    table.add_column("weights of")
    for column in ("tensors", "parameters", "rate", "decay"):
        table.add_column(column, justify="right")
    for group in groups.trainable:
        table.add_row(*_row(group.names, net), f"{lr * group.lr_mult:g}", f"{group.weight_decay:g}")
    if groups.updating:
        table.add_row(*_row(sorted(groups.updating), net), "statistics", "")
    if groups.frozen:
        table.add_row(*_row(sorted(groups.frozen), net), "frozen", "")
    moved, every = _size(groups.trainable_names, net), _size(list(net.shapes), net)
    table.caption = f"trainable: {moved:,} of {every:,} values ({moved / every:.2%})"
    return table


def _row(names: Sequence[str], net: Net) -> tuple[str, str, str]:
    inside = {net.arch.stage_of(name) for name in names}
    stages = ", ".join(stage for stage in net.arch.stage_names if stage in inside)
    return stages, f"{len(names)}", f"{_size(names, net):,}"


def _size(names: Sequence[str], net: Net) -> int:
    return sum(math.prod(net.shapes[name]) for name in names)


def _short(classes: Sequence[str], most: int = 8) -> str:
    return ", ".join(classes[:most]) + (f" and {len(classes) - most} more" if len(classes) > most else "")
