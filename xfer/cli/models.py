"""`xfer models`: the networks that there are, and the stages of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xfer.cli.options import json_option

if TYPE_CHECKING:
    from rich.table import Table

    from xfer.graphs.overview import Facts


@click.command(
    help="The networks that are data, or those whose names hold PATTERN; of a single one, or of the one in FILE, "
    "its stages.\n\n"
    "`--train-from` takes the name of a stage, and what lies before it is computed once."
)
@click.argument("pattern", default="", metavar="[PATTERN|FILE]")
@json_option
def models(pattern: str, json_: bool) -> None:
    from xfer.cli import console
    from xfer.graphs.overview import facts_of, facts_of_graph, matching
    from xfer.nets.network_file import is_file, read_network

    if is_file(pattern):
        facts = [facts_of_graph(pattern, read_network(pattern).graph)]
    else:
        names = matching(pattern)
        facts = [facts_of(name) for name in ((pattern,) if pattern in names else names)]
    if json_:
        console.as_json([each.as_record() for each in facts])
    elif len(facts) == 1:
        console.table(_stages(facts[0]))
        console.say(_sentence(facts[0]))
    else:
        console.table(_networks(facts))


def _networks(facts: Sequence[Facts]) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("network", "parameters", "GMAC", "pixels", "ImageNet weights"):
        table.add_column(heading, justify="left" if heading in ("network", "ImageNet weights") else "right")
    for each in facts:
        table.add_row(each.name, f"{each.parameters:,}", f"{each.work / 1e9:.2f}", _size(each), ", ".join(each.weights))
    return table


def _stages(facts: Facts) -> Table:
    from rich.table import Table

    table = Table(title=facts.name, title_justify="left")
    for heading in ("stage", "gives", "tensors", "parameters"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in facts.stages:
        gives = " x ".join(map(str, stage.gives))
        table.add_row(stage.name, gives, f"{stage.tensors}", f"{stage.parameters:,}")
    return table


def _sentence(facts: Facts) -> str:
    weights = ", ".join(facts.weights) or "none"
    return (
        f"{facts.parameters:,} parameters, {facts.work / 1e9:.2f} GMAC for a picture of {_size(facts)} pixels"
        f"{', the only size' if facts.fixed else ''}; ImageNet weights: {weights}"
    )


def _size(facts: Facts) -> str:
    return " x ".join(map(str, facts.size))
