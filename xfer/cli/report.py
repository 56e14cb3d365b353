"""`xfer report`."""

from __future__ import annotations

from pathlib import Path

import click

from xfer.cli.flags import Command
from xfer.cli.options import overwrite_option


@click.command(
    "report",
    cls=Command,
    help="The page of a run anew; or with --compare a page with several runs side by side.\n\n"
    "Side by side are recipes, curves, figures with intervals and the pictures on which the runs disagree; the others "
    "are tested against the first. A page is one HTML file that needs nothing else.",
)
@click.argument("sources", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--compare", is_flag=True, help="Two or more runs on one page.")
@click.option("--margin", type=float, default=0.01, show_default=True, help="Differences below this share are none.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Of --compare. Default: comparison.html."
)
@overwrite_option
def report_(sources: tuple[Path, ...], compare: bool, margin: float, output: Path | None, overwrite: bool) -> None:
    from xfer.cli import console
    from xfer.comparison.compare import compare as compare_runs
    from xfer.comparison.page import refuse_others, write_comparison
    from xfer.results.report import write_report
    from xfer.results.run import Run

    if not compare:
        if output is not None:
            raise click.UsageError("--output is of --compare. Cure: leave it out: the page of a run lies in its folder")
        if len(sources) > 1:
            raise click.UsageError(f"{len(sources)} runs. Cure: --compare, or one of them")
        console.say(f"report        {write_report(Run.load(sources[0]).path)}")
        return
    path = output or Path("comparison.html")
    refuse_others(path, overwrite)
    runs = [Run.load(source) for source in sources]
    write_comparison(compare_runs(runs, margin), runs, path)
    console.say(f"report        {path}")
