"""Commands about an installation and its files."""

from __future__ import annotations

from pathlib import Path

import click

from xfer.options import json_option


@click.command()
@json_option
def backends(json_: bool) -> None:
    """Which backends work here, and on which devices."""
    from xfer import console
    from xfer.doctor import survey

    found = survey()
    if json_:
        console.as_json(found)
        return
    for row in found:
        state = ", ".join(row["devices"]) if row["works"] else f"not usable: {row['problem']}"
        click.echo(f"{row['name']:10s} {state}")


@click.command()
@json_option
def doctor(json_: bool) -> None:
    """What works here, how fast, and the cure for what does not."""
    from xfer import console
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
    from xfer.convert import convert as convert_file

    for path in convert_file(source, target, overwrite):
        click.echo(path)
