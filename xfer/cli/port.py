"""`xfer port`: a person's own classifier becomes a network of xfer's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.cli.flags import Command
from xfer.cli.options import json_option, quiet_option

if TYPE_CHECKING:
    from rich.table import Table

    from xfer.porting.port import Ported, Proof


@click.command(
    "port",
    cls=Command,
    help="Take a PyTorch classifier of your own to xfer: it trains, predicts and converts as any network does, on "
    "every backend.\n\n"
    "TARGET is package.module:factory, a function or class without arguments that gives a torch.nn.Module. It is "
    "imported from here or from what is installed, and run. The file that is written holds the network and its "
    "weights; `xfer train --arch FILE` starts from it, and needs your code no more.\n\n"
    "The logits of your module are held against those of the file on each backend. Where one of them is beyond 1e-4 "
    "the exit code is 1, and the file is called NAME.unproved.safetensors.",
)
@click.argument("target", metavar="TARGET")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), metavar="FILE.safetensors", help="The new file."
)
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Default: those the module has.")
@click.option("--images", multiple=True, metavar="DIR|FILE|GLOB", help="May be repeated. Default: smooth noise.")
@click.option("--size", default=224, show_default=True, help="Side of the pictures that it is for, in pixels.")
@click.option("--mean", nargs=3, type=float, default=IMAGENET_MEAN, show_default=True, metavar="R G B")
@click.option("--std", nargs=3, type=float, default=IMAGENET_STD, show_default=True, metavar="R G B")
@click.option("--backends", default="torch,mindspore", show_default=True, help="For the proof, NAME or NAME:DEVICE.")
@click.option("--source", type=click.Path(path_type=Path), metavar="FILE.py", help="Write it as MindSpore source too.")
@click.option("--overwrite", is_flag=True, help="Replace the files.")
@quiet_option
@json_option
def port_(target: str, output: Path, backends: str, quiet: bool, json_: bool, **flags: Any) -> None:
    from xfer.cli import console
    from xfer.porting.port import port

    with console.progress_bars(quiet) as progress:
        ported = port(target, output, backends=backends.split(","), progress=progress, **flags)
    if json_:
        console.as_json(ported.as_json())
    else:
        console.say(*_about(ported))
        console.table(_proofs(ported.proofs))
        if ported.passes:
            console.say(f"to train on: xfer train PICTURES --arch {ported.file} --size {ported.graph.size[0]}")
        else:
            look = f"xfer parity --arch {ported.file} --size {ported.graph.size[0]}"
            console.say(f"{output} was not written: the proof failed. To look into it: {look}")
    if not ported.passes:
        raise click.exceptions.Exit(1)


def _about(ported: Ported) -> list[str]:
    content = ported.as_json()
    height, width = ported.graph.size
    lines = [
        f"written       {ported.file}: {content['values']:,} values in {content['tensors']} tensors",
        f"traced by     {ported.way}",
        f"stages        {', '.join(ported.arch.stage_names)}",
        f"pictures      {height} x {width} pixels{', and no others' if ported.graph.fixed else ', or others'}",
    ]
    if ported.ending:
        lines.append(f"left out      the last {ported.ending}: training and prediction have their own")
    if ported.unused:
        more = f" and {len(ported.unused) - 3} more" if len(ported.unused) > 3 else ""
        lines.append(f"left out      {', '.join(ported.unused[:3])}{more}: without a part in the logits")
    return lines


def _proofs(proofs: tuple[Proof, ...]) -> Table:
    from rich.table import Table

    table = Table(title="the file against your module", title_justify="left")
    for heading in ("backend", "largest relative difference", "same top-1", "verdict"):
        table.add_column(heading, justify="left" if heading in ("backend", "verdict") else "right")
    for proof in proofs:
        figures = ("", "")
        if proof.relative is not None:
            figures = (f"{proof.relative:.1e}", f"{proof.top1_agree} of {proof.images}")
        table.add_row(proof.backend, *figures, _verdict(proof))
    return table


def _verdict(proof: Proof) -> str:
    if proof.passes:
        return "same"
    return "not installed" if proof.absent else proof.note or "DIFFERS"
