"""Commands about an installation and its files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from xfer.cli.flags import Command
from xfer.cli.options import json_option, overwrite_option, quiet_option


@click.command()
@json_option
def backends(json_: bool) -> None:
    """Which backends work here, and on which devices."""
    from xfer.cli import console
    from xfer.doctor import survey

    records = survey()
    if json_:
        console.as_json(records)
        return
    for row in records:
        state = ", ".join(row["devices"]) if row["works"] else f"not usable: {row['problem']}"
        click.echo(f"{row['name']:10s} {state}")


@click.command()
@json_option
def doctor(json_: bool) -> None:
    """What works here, how fast, and the cure for what does not."""
    from xfer.cli import console
    from xfer.doctor import examine

    findings = examine()
    if json_:
        console.as_json([f.__dict__ for f in findings])
    else:
        for finding in findings:
            click.echo(finding.line())
    if any(f.level == "problem" for f in findings):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace the target.")
def convert(source: Path, target: Path, overwrite: bool) -> None:
    """Move weights between .safetensors, .pth and .ckpt. Needs no framework."""
    from xfer.nets.convert import convert as convert_file

    converted = convert_file(source, target, overwrite)
    if converted.taken_from:
        click.echo(f"weights taken from {converted.taken_from}")
    for path in converted.files:
        click.echo(path)


@click.group()
def data() -> None:
    """Pictures and their folders."""


@data.command(cls=Command)
@click.argument("source", metavar="DIR|ARCHIVE|NAME")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write a report, a picture and lists there.")
@overwrite_option
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.")
@quiet_option
@json_option
def check(source: str, output: Path | None, overwrite: bool, sets: tuple[str, ...], quiet: bool, json_: bool) -> None:
    """What is in a data set, and what is wrong with it, before anyone trains on it.

    Exit code 1 for what makes a result wrong: copies in both splits or in two classes, class folders that differ or
    are empty, unreadable pictures.
    """
    from xfer.cli import console
    from xfer.inspection import text as data_text
    from xfer.inspection.check import check_data
    from xfer.inspection.findings import find
    from xfer.recipe.load import make_recipe, parse_override

    recipe = make_recipe({}, dict(map(parse_override, sets)), "--set")
    if output is not None:
        data_text.claim(output, overwrite)
    with console.progress_bars(quiet) as progress:
        report = check_data(source, recipe, progress)
    findings = find(report)
    written = data_text.write(report, findings, output) if output else []
    if json_:
        console.as_json(data_text.as_record(report, findings))
    else:
        for line in (*data_text.lines(report, findings), *(f"written   {path}" for path in written)):
            click.echo(line)
    if any(finding.level == "problem" for finding in findings):
        raise click.exceptions.Exit(1)


@click.group()
def cache() -> None:
    """Features that runs share: what frozen layers made of pictures."""


@cache.command()
@json_option
def ls(json_: bool) -> None:
    """What is kept, least recently used first."""
    from xfer.cli import console
    from xfer.features.store import entries, open_store

    store = open_store()
    kept = entries(store)
    total = sum(entry.bytes for entry in kept)
    if json_:
        rows = [{"key": e.key, "bytes": e.bytes, "used": e.used, **e.about} for e in kept]
        console.as_json({"path": str(store.root), "limit": store.limit, "total": total, "entries": rows})
        return
    for entry in kept:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        click.echo(f"{entry.key[:12]}  {_size(entry.bytes):>9s}  {used}  {_about(entry.about)}")
    click.echo(f"{len(kept)} entries, {_size(total)} of at most {_size(store.limit)} in {store.root}")


@cache.command()
@click.option("--to", metavar="SIZE", help="Bytes to leave, or 500MB, 20GB, ... Default: XFER_CACHE_LIMIT.")
@click.option("--all", "all_", is_flag=True, help="Leave nothing.")
def prune(to: str | None, all_: bool) -> None:
    """Remove the least recently used features, and what killed processes left half written.

    That is in the cache, in the folder for temporary files, and in runs/ and studies/ here. What is in use stays.
    """
    from xfer.features import store as feature_store
    from xfer.porting.parity import EXCHANGE
    from xfer.studies.study import sweep as sweep_studies
    from xfer.system.download import cache_dir
    from xfer.system.limits import parse_size
    from xfer.system.parts import parts, parts_below, remove_abandoned
    from xfer.training.write import sweep as sweep_runs

    if all_ and to is not None:
        raise click.UsageError("--to and --all: expected one of them.")
    store = feature_store.open_store()
    limit = 0 if all_ else store.limit if to is None else parse_size("--to", to)
    gone = feature_store.prune(store, limit)
    remove_abandoned(parts_below(cache_dir()))
    remove_abandoned(parts(Path(tempfile.gettempdir()), [EXCHANGE]))
    for parent in (Path("runs"), *Path("studies").glob("*/runs")):
        sweep_runs(parent)
    for study in Path("studies").glob("*"):
        sweep_studies(study)
    left = feature_store.entries(store)
    removed = f"{len(gone)} entries removed, {_size(sum(entry.bytes for entry in gone))}"
    click.echo(f"{removed}; {len(left)} left, {_size(sum(entry.bytes for entry in left))}")


def _size(count: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def _about(facts: Mapping[str, Any]) -> str:
    """`hymenoptera_data val, 153 pictures: resnet18 up to head, torch on cpu, float32`"""
    view = f" view {facts['view']} of seed {facts['seed']}" if {"view", "seed"} <= set(facts) else ""
    try:
        pictures = f"{facts['data']} {facts['split']}{view}, {facts['n']} pictures"
        where = f"{facts['backend']} on {facts['device']}, {facts['dtype']}"
        return f"{pictures}: {facts['arch']} up to {facts['boundary']}, {where}"
    except KeyError:  # it will be computed anew when it is asked for
        return "damaged"
