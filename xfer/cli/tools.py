"""Commands about an installation and its files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xfer.cli.flags import Command
from xfer.cli.options import json_option, overwrite_option, quiet_option

if TYPE_CHECKING:
    from xfer.system.kept import Kept


@click.command(help="Which backends work here, and on which devices.")
@json_option
def backends(json_: bool) -> None:
    from xfer.cli import console
    from xfer.doctor import survey

    records = survey()
    if json_:
        console.as_json(records)
        return
    for row in records:
        state = ", ".join(row["devices"]) if row["works"] else f"not usable: {row['problem']}"
        console.say(f"{row['name']:10s} {state}")


@click.command(help="What works here, how fast, and the cure for what does not.")
@json_option
def doctor(json_: bool) -> None:
    from xfer.cli import console
    from xfer.doctor import examine

    findings = examine()
    if json_:
        console.as_json([f.__dict__ for f in findings])
    else:
        console.say(*(finding.line() for finding in findings))
    if any(f.level == "problem" for f in findings):
        raise click.exceptions.Exit(1)


@click.command(help="Move weights between .safetensors, .pth and .ckpt. Needs no framework.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace the target.")
def convert(source: Path, target: Path, overwrite: bool) -> None:
    from xfer.cli import console
    from xfer.nets.convert import convert as convert_file

    converted = convert_file(source, target, overwrite)
    if converted.taken_from:
        console.say(f"weights taken from {converted.taken_from}")
    console.say(*map(str, converted.files), ours=False)


@click.group(help="Pictures and their folders.")
def data() -> None:
    pass


@data.command(
    cls=Command,
    help="What is in a data set, and what is wrong with it, before anyone trains on it.\n\n"
    "Exit code 1 for what makes a result wrong: copies in both splits or in two classes, class folders "
    "that differ or are empty, unreadable pictures.",
)
@click.argument("source", metavar="DIR|ARCHIVE|NAME")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write a report, a picture and lists there.")
@overwrite_option
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.")
@quiet_option
@json_option
def check(source: str, output: Path | None, overwrite: bool, sets: tuple[str, ...], quiet: bool, json_: bool) -> None:
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
        console.say(*data_text.lines(report, findings), *(f"written   {path}" for path in written))
    if any(finding.level == "problem" for finding in findings):
        raise click.exceptions.Exit(1)


@click.group(help="What runs share: features of frozen layers, unpacked and drawn sets of pictures, downloads.")
def cache() -> None:
    pass


@cache.command(help="What is kept, least recently used first.")
@json_option
def ls(json_: bool) -> None:
    from xfer.cli import console
    from xfer.features import disk
    from xfer.features.store import entries, open_store
    from xfer.system.download import cache_dir
    from xfer.system.limits import limit

    store, most, known = open_store(), limit("data_cache"), limit("checked")
    there = disk.read_cache(store)
    features, sets, downloads, checked = (
        sum(entry.bytes for entry in kept) for kept in (there.features, there.sets, there.downloads, there.checked)
    )
    if json_:
        rows = [{"key": e.key, "bytes": e.bytes, "used": e.used, **e.about} for e in entries(store)]
        console.as_json(
            {"path": str(store.root), "limit": store.limit, "total": features, "entries": rows}
            | {"sets": {"limit": most, "total": sets, "entries": [_row(entry) for entry in there.sets]}}
            | {"downloads": {"total": downloads, "entries": [_row(entry) for entry in there.downloads]}}
            | {"checked": {"limit": known, "total": checked, "entries": [_row(entry) for entry in there.checked]}}
        )
        return
    for entry in (*there.features, *there.sets, *there.checked, *there.downloads):
        name = entry.path.name if entry in there.downloads else entry.path.name[:12]
        console.say(
            f"{name:12s}  {console.size(entry.bytes):>9s}  {console.local_time(entry.used)}  {entry.about}", ours=False
        )
    console.say(
        f"{len(there.features)} entries, {console.size(features)} of at most {console.size(store.limit)} "
        f"in {store.root}"
    )
    console.say(
        f"{len(there.sets)} sets of pictures, {console.size(sets)} of at most {console.size(most)}, "
        f"and {len(there.downloads)} downloads, {console.size(downloads)}, in {cache_dir()}"
    )
    if there.checked:
        console.say(f"{len(there.checked)} records of checks, {console.size(checked)} of at most {console.size(known)}")


def _row(entry: Kept) -> dict[str, Any]:
    return {"path": str(entry.path), "bytes": entry.bytes, "used": entry.used, "about": entry.about}


@cache.command(
    help="Remove the least recently used, and what killed processes left half written, in runs/ and studies/ here too."
)
@click.option("--to", metavar="SIZE", help="Bytes to leave of all, or 500MB, 20GB, ... Default: the limits.")
@click.option("--all", "all_", is_flag=True, help="Leave nothing, downloads neither.")
def prune(to: str | None, all_: bool) -> None:
    from xfer.cli import console
    from xfer.features import disk
    from xfer.features.store import open_store
    from xfer.porting.parity import EXCHANGE
    from xfer.studies.study import sweep as sweep_studies
    from xfer.system.limits import parse_size
    from xfer.system.parts import parts, parts_below, remove_abandoned
    from xfer.training.write import sweep as sweep_runs

    if all_ and to is not None:
        raise click.UsageError("--to and --all: expected one of them.")
    store = open_store()
    gone = disk.prune_cache(store, 0 if all_ else None if to is None else parse_size("--to", to))
    remove_abandoned(parts_below(store.root))
    remove_abandoned(parts(Path(tempfile.gettempdir()), [EXCHANGE]))
    for parent in (Path("runs"), *Path("studies").glob("*/runs")):
        sweep_runs(parent)
    for study in Path("studies").glob("*"):
        sweep_studies(study)
    there = disk.read_cache(store)
    left = [*there.features, *there.sets, *there.downloads, *there.checked]
    removed = f"{len(gone)} entries removed, {console.size(sum(entry.bytes for entry in gone))}"
    console.say(f"{removed}; {len(left)} left, {console.size(sum(entry.bytes for entry in left))}")
