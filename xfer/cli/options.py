"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

backend_option = click.option("--backend", "-b", metavar="NAME", help="Default: the one that wrote the checkpoint.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, npu, cuda:1, ...")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but the result, and errors.")
json_option = click.option("--json", "json_", is_flag=True, help="Give the result as JSON on standard output.")
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Write to --output though something else is there; in a folder it stays.",
)
tta_option = click.option(
    "--tta",
    type=click.Choice(["flip", "five", "ten"]),
    help="Mean of the probabilities over views of each picture: with its mirror image, four corners and the middle, or "
    "both.",
)
data_option = click.option(
    "--data", metavar="DIR|ARCHIVE|NAME", help="Class folders, an archive, a table, a named set, or an address."
)


def overrides_of(flags: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """What the flags of a recipe's keys that were given, and `--set`, lay over it."""
    from xfer.recipe.load import parse_override

    given = {key: value for key, value in flags.items() if value is not None}
    if "views" in given:
        given["views"] = parse_override(f"views={given['views']}")[1]
    return given | dict(map(parse_override, sets))
