"""Commands that hold runs, or whole frameworks, against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xfer.cli.flags import Command
from xfer.cli.options import data_option, device_option, json_option, overwrite_option, quiet_option


@click.command(
    help="How two or more runs differ, and how sure that is.\n\n"
    "The first is the reference: the others are tested against it on the same validation images."
)
@click.argument("sources", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--margin", type=float, default=0.01, show_default=True, help="Differences below this share are none.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write compare.json and pictures to this folder.")
@overwrite_option
@json_option
def compare(sources: tuple[Path, ...], margin: float, output: Path | None, overwrite: bool, json_: bool) -> None:
    from xfer.cli import comparison_text, console
    from xfer.comparison.compare import compare as compare_runs
    from xfer.comparison.pictures import save
    from xfer.results.run import Run

    runs = [Run.load(source) for source in sources]
    comparison = compare_runs(runs, margin)
    written = [] if output is None else save(comparison, runs, output, overwrite)
    if json_:
        console.as_json(comparison.as_json())
        return
    comparison_text.compared(comparison)
    console.say(*(f"written       {path}" for path in written))


@click.command(
    "parity",
    help="Hold two backends against each other, stage by stage and, where that goes wrong, node by node.\n\n"
    "Exit code 0 when everything judged is within the tolerance or what rounding does, else 1, with the first stage "
    "and the first node that differ.",
)
@click.option(
    "--arch", required=True, metavar="NAME|FILE", help="One that `xfer models` lists, or what `xfer port` wrote."
)
@click.option("--weights", default="imagenet", show_default=True, metavar="imagenet|random|FILE")
@click.option("--weights-other", metavar="FILE", help="The second backend's own file, .ckpt beside .pth say.")
@click.option("--backends", default="torch,mindspore", show_default=True, help="Two, each NAME or NAME:DEVICE.")
@click.option("--images", multiple=True, metavar="DIR|FILE|GLOB", help="May be repeated. Default: smooth noise.")
@click.option("--size", default=224, show_default=True, help="Side of the images, in pixels.")
@click.option("--classes", type=int, help="A fresh head from the seed. Default: the head of the weights.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--steps", default=10, show_default=True, help="Training steps to report on.")
@click.option("--seed", default=0, show_default=True)
@click.option("--tolerance", default=1e-4, show_default=True, help="Largest relative difference that passes.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Also write the report to this JSON file.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write it as a page that needs no other file.")
@overwrite_option
@quiet_option
@json_option
def parity_(
    backends: str, output: Path | None, html: Path | None, overwrite: bool, quiet: bool, json_: bool, **flags: Any
) -> None:
    from xfer.cli import console
    from xfer.errors import ConfigError
    from xfer.porting import page
    from xfer.porting import text as parity_text
    from xfer.porting.parity import parity
    from xfer.system.files import write_json
    from xfer.system.outputs import read_record, refuse_foreign_file

    if html is not None and output is not None and html.absolute() == output.absolute():
        raise ConfigError(f"--html {html}: is the file of --output too. Cure: another name for one of them")
    if output is not None:
        own = {"passes", "first_difference", "rows", "sides"} <= read_record(output).keys()
        refuse_foreign_file(output, "report of parity", own, overwrite)
    if html is not None:
        refuse_foreign_file(html, "report of parity", page.is_report(html), overwrite, "--html")
    with console.progress_bars(quiet) as progress:
        report = parity(backends=backends.split(","), progress=progress, **flags)
    if output is not None:
        write_json(output, report.as_json())
    if html is not None:
        page.write_report(report, html)
    if json_:
        console.as_json(report.as_json())
    else:
        if not quiet:
            console.say(*parity_text.table(report), "")
        console.say(*parity_text.summary(report))
    if not report.passes:
        raise click.exceptions.Exit(1)


@click.command(
    "study",
    cls=Command,
    help="Train recipes on several backends and seeds, and test which differences are real.\n\n"
    "Runs that are done are not repeated. Exit code 0 when every run is there, 1 when some run failed.",
)
@click.argument("source", metavar="STUDY.toml|NAME", type=click.Path(path_type=Path))
@click.option("--backend", "-b", "backends", multiple=True, metavar="NAME", help="May be repeated; instead of its own.")
@click.option("--seeds", type=int, metavar="N", help="The seeds 0 to N-1, instead of its own.")
@click.option("--folds", type=int, metavar="K", help="Cross-validate: K runs for each seed, of another part each.")
@data_option
@click.option("--weights", metavar="FILE", help="For the recipes that start from imagenet weights, not from random.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A key of every recipe; may be repeated.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: studies/<name>.")
@click.option("--overwrite", is_flag=True, help="Replace finished runs of other recipes; other files stay.")
@click.option("--jobs", "-j", default=1, show_default=True, help="Runs at a time. Their times are not comparable.")
@device_option
@click.option("--margin", type=float, default=0.01, show_default=True, help="Differences below this share are none.")
@quiet_option
@json_option
def study_(
    source: Path, backends: tuple[str, ...], seeds: int | None, folds: int | None, data: str | None,
    weights: str | None, sets: tuple[str, ...], output: Path | None, quiet: bool, json_: bool, **flags: Any,
) -> None:  # fmt: skip
    from xfer.cli import console
    from xfer.recipe.load import parse_override
    from xfer.studies import text as study_text
    from xfer.studies.study import Study, events, read_plan

    overrides = ({} if data is None else {"data": data}) | dict(map(parse_override, sets))
    plan = read_plan(source, backends=backends, seeds=seeds, folds=folds, weights=weights, overrides=overrides)
    output = output or Path("studies", plan.name)
    for event in events(plan, output, **flags):
        if isinstance(event, Study):
            results = event
        elif not (quiet or json_):
            console.say(study_text.ended(event))
    if json_:
        console.as_json(results.as_json())
    else:
        console.say("", *study_text.markdown(results).split("\n"), f"report        {output / 'report.html'}")
    if results.failed:
        raise click.exceptions.Exit(1)
