"""`xfer models`: the networks that there are, and the stages or all boundaries of one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from xfer.cli.options import json_option

if TYPE_CHECKING:
    from rich.table import Table

    from xfer.graphs.overview import CutFacts, Facts

Records = Sequence[Mapping[str, Any]]
"""Of `xfer.doctor.survey`, one for each declared backend."""


@click.command(
    help="All networks, or those whose names hold PATTERN; of a single one, of the one in FILE or of timm/NAME, "
    "its stages.\n\n"
    "`--train-from` takes the name of a stage, or of a cut within one, and what lies before it is computed once."
)
@click.argument("pattern", default="", metavar="[PATTERN|FILE]")
@click.option("--cuts", is_flag=True, help="Of a single network: every boundary, with what training from there takes.")
@click.option(
    "--backends", is_flag=True, help="Which backends build them, and what one lacks; imports every framework: seconds."
)
@json_option
def models(pattern: str, cuts: bool, backends: bool, json_: bool) -> None:
    from xfer.cli import console
    from xfer.errors import ConfigError
    from xfer.graphs.overview import facts_of_graph
    from xfer.nets.library import is_of_library, published_as
    from xfer.nets.listing import facts_of, matching
    from xfer.nets.specs import network_held

    if cuts and backends:
        raise ConfigError("--cuts and --backends: expected one of them. Cure: leave one out")
    if (held := network_held(pattern)) is not None:
        facts = [facts_of_graph(pattern, held.graph, published_as(pattern) if is_of_library(pattern) else ())]
    else:
        names = matching(pattern)
        facts = [facts_of(name) for name in ((pattern,) if pattern in names else names)]
    if cuts:
        _say_cuts([each.name for each in facts], json_)
        return
    records = _survey() if backends else []
    if json_:
        of = [{"backends": _builds(each, records)} if backends else {} for each in facts]
        console.as_json([each.as_record() | more for each, more in zip(facts, of, strict=True)])
    elif len(facts) == 1:
        console.table(_stages(facts[0]))
        console.say(_sentence(facts[0]), *_builders(facts[0], records))
    else:
        console.table(_networks(facts, records))
        console.say(*(f"{r['name']}: not usable here: {r['problem']}" for r in records if not r["works"]))


def _survey() -> Records:
    from xfer.doctor import survey

    return survey()


def _builds(facts: Facts, records: Records) -> dict[str, dict[str, Any]]:
    """Name of a backend -> whether it builds the network, the kinds that it lacks, and why it is not usable here."""
    return {
        record["name"]: {
            "builds": record["works"] and not _lacks(facts, record),
            "lacks": _lacks(facts, record),
            "problem": record.get("problem", ""),
        }
        for record in records
    }


def _lacks(facts: Facts, record: Mapping[str, Any]) -> list[str]:
    """Kinds of nodes; none are known of a backend that is not usable."""
    return sorted({*facts.kinds}.difference(record["kinds"])) if record["works"] else []


def _builders(facts: Facts, records: Records) -> Iterator[str]:
    for name, told in _builds(facts, records).items():
        no = f"not usable here: {told['problem']}" if told["problem"] else f"no, it has no {', '.join(told['lacks'])}"
        yield f"{name}: {'yes' if told['builds'] else no}"


def _say_cuts(names: Sequence[str], json_: bool) -> None:
    from xfer.cli import console
    from xfer.errors import ConfigError
    from xfer.graphs.overview import cuts_of
    from xfer.nets.catalogue import graph_named
    from xfer.nets.specs import network_held

    if len(names) > 1:
        raise ConfigError(f"--cuts: expected one network, not {len(names)}. Cure: xfer models {names[0]} --cuts")
    held = network_held(names[0])
    graph = graph_named(names[0]) if held is None else held.graph
    if json_:
        console.as_json([asdict(cut) for cut in cuts_of(graph)])
    else:
        console.table(_cuts(names[0], cuts_of(graph)))


def _networks(facts: Sequence[Facts], records: Records) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("network", "parameters", "GMAC", "pixels", "ImageNet weights"):
        table.add_column(heading, justify="left" if heading in ("network", "ImageNet weights") else "right")
    working = [record for record in records if record["works"]]
    for record in working:
        table.add_column(record["name"])
    for each in facts:
        builds = ("no " + ", ".join(lacks) if (lacks := _lacks(each, record)) else "yes" for record in working)
        numbers = (f"{each.parameters:,}", f"{each.work / 1e9:.2f}", _size(each))
        table.add_row(each.name, *numbers, ", ".join(each.weights), *builds)
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


def _cuts(name: str, cuts: Sequence[CutFacts]) -> Table:
    from rich.table import Table

    table = Table(title=name, title_justify="left")
    for heading in ("stage", "train from", "takes", "kB", "GMAC behind it", "parameters trained"):
        table.add_column(heading, justify="left" if heading in ("stage", "train from") else "right")
    for cut in cuts:
        takes = " x ".join(map(str, cut.takes))
        stage = cut.stage if cut.stage == cut.name else ""
        table.add_row(stage, cut.name, takes, f"{cut.size / 1e3:,.1f}", f"{cut.work / 1e9:.3f}", f"{cut.parameters:,}")
    table.caption = "kB: of what a picture is at the boundary, as the cache of features keeps it in float32"
    return table


def _sentence(facts: Facts) -> str:
    weights = ", ".join(facts.weights) or "none"
    return (
        f"{facts.parameters:,} parameters, {facts.work / 1e9:.2f} GMAC for a picture of {_size(facts)} pixels"
        f"{', the only size' if facts.fixed else ''}; ImageNet weights: {weights}"
    )


def _size(facts: Facts) -> str:
    return " x ".join(map(str, facts.size))
