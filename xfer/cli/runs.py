"""`xfer runs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from xfer.cli.options import json_option
from xfer.display.language import translated

if TYPE_CHECKING:
    from rich.table import Table

    from xfer.results.listing import Listed

_folders = click.argument("folders", nargs=-1, metavar="[FOLDER]...")
_where = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Those of which it holds; also !=, <, <=, > and >=; may be repeated. Any key of the recipe or of result.json, "
    "metrics.macro_f1, and days since the last change.",
)


@click.group(
    help="The runs in a folder: list, sort, filter, remove.\n\n"
    "FOLDER holds runs, or is one; by default it is runs/. Of a study it is studies/NAME/runs."
)
def runs() -> None:
    pass


@runs.command(help="What there is, the newest last.")
@_folders
@_where
@click.option("--sort", default="written", show_default=True, metavar="[-]KEY", help="With - before it, large first.")
@click.option("--column", "columns", multiple=True, metavar="KEY", help="One column more; may be repeated.")
@json_option
def ls(folders: Sequence[str], conditions: Sequence[str], sort: str, columns: Sequence[str], json_: bool) -> None:
    from xfer.cli import console
    from xfer.results.listing import list_runs, ordered, refuse_unknown, where

    every = list_runs(folders)
    for key in columns:
        refuse_unknown("--column", key, every)
    found = ordered(where(every, conditions), sort)
    if json_:
        console.as_json([{"path": str(run.path), **run.facts, "problem": run.problem} for run in found])
        return
    if found:
        console.table(_table(found, columns))
    console.say(f"{len(found)} of {_count(every)}" if conditions else _count(every))
    console.say(*(run.problem for run in found if run.problem), error=True)


@runs.command(
    help="Remove runs. Files in their folders that are of no run stay, and so does what is being trained.\n\n"
    "Without --yes it asks first."
)
@_folders
@_where
@click.option("--keep-best", type=click.IntRange(min=0), metavar="N", help="Finished ones but the N best of them.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@json_option
def prune(
    folders: Sequence[str], conditions: Sequence[str], keep_best: int | None, yes: bool, dry_run: bool, json_: bool
) -> None:
    from xfer.cli import console
    from xfer.results.listing import all_but_best, list_runs, where

    if not conditions and keep_best is None:
        raise click.UsageError("which runs? Cure: --where state=unfinished, or --keep-best 3")
    chosen = where(list_runs(folders), conditions)
    if keep_best is not None:
        chosen = all_but_best(chosen, keep_best)
    if json_:
        if not (yes or dry_run):
            raise click.UsageError("--json asks nobody. Cure: --yes, or --dry-run")
        removed = [] if dry_run else _removed(chosen)
        about = {"runs": chosen, "removed": removed}
        bytes_ = {"bytes": sum(run.facts["bytes"] for run in chosen)}
        console.as_json({key: [str(run.path) for run in runs] for key, runs in about.items()} | bytes_)
        return
    if not chosen:
        console.say("no such run")
        return
    console.table(_table(chosen, ()))
    size = f"{_count(chosen)}, {console.size(sum(run.facts['bytes'] for run in chosen))}"
    if dry_run:
        console.say(f"would remove {size}")
        return
    if not yes and not _agreed(f"Remove {size}?"):
        console.say("nothing removed")
        return
    console.say(f"{_count(_removed(chosen))} removed")


def _removed(chosen: Sequence[Listed]) -> list[Listed]:
    """Those that were: one that is being trained stays, with a warning."""
    from xfer.cli import console
    from xfer.errors import CheckpointError
    from xfer.training.write import remove_run

    removed = []
    for run in chosen:
        try:
            remove_run(run.path)
            removed.append(run)
        except CheckpointError as error:
            console.say(f"warning: {error}", error=True)
    return removed


def _agreed(question: str) -> bool:
    import sys

    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked. Cure: --yes, or --dry-run")
    return click.confirm(translated(question))


def _table(found: Sequence[Listed], columns: Sequence[str]) -> Table:
    from rich.table import Table

    from xfer.cli import console

    table, ranked = Table(), any("val_map" in run.facts for run in found)
    for heading in (
        "run",
        "state",
        "score" if ranked else "accuracy",
        "loss",
        "best epoch",
        "network",
        "trained from",
        "on",
        "data",
        "written",
    ):
        right = heading in ("accuracy", "score", "loss", "best epoch")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "run")
    for key in (*columns, "bytes"):
        table.add_column("size" if key == "bytes" else key, justify="right")
    for run in found:
        facts = run.facts
        best = f"{facts['best_epoch']} of {facts['epochs']}" if "best_epoch" in facts else ""
        names = (facts.get("arch", ""), facts.get("train.train_from", ""), facts.get("backend", ""))
        about = (*names, facts.get("dataset", ""), console.local_time(facts["written"]))
        precision = facts.get("val_map")
        score = _share(facts.get("val_accuracy")) if precision is None else f"mAP {precision:.4f}"
        figures = (score, _number(facts.get("val_loss")), best)
        more = (str(facts.get(key, "")) for key in columns)
        table.add_row(str(run.path), facts["state"], *figures, *map(str, about), *more, console.size(facts["bytes"]))
    return table


def _count(found: Sequence[Listed]) -> str:
    return f"{len(found)} run{'' if len(found) == 1 else 's'}"


def _share(value: Any) -> str:
    return "" if value is None else f"{value:.2%}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
