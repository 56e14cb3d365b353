"""`xfer export`: a run as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xfer.cli.flags import Command
from xfer.cli.options import backend_option, data_option, device_option, json_option, quiet_option

if TYPE_CHECKING:
    from xfer.export.network import Input

FORMATS = ("onnx", "torchscript", "torch-export", "mindir", "safetensors")


@click.command(
    "export",
    cls=Command,
    help="A run or a checkpoint as a file for other programs.\n\n"
    "ONNX is written without a framework; TorchScript, torch.export and MindIR are written by theirs. The file is read "
    "back and has to predict the run's validation pictures as the run does; else it is not kept, and the exit code is "
    "1. docs/export.md says what is in it.",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, metavar="FILE", help="To be written.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Default: what the name of the file ends as.")
@click.option(
    "--input",
    "enters",
    type=click.Choice(["normalised", "pixels", "pictures"]),
    default="normalised",
    show_default=True,
    help="What an ONNX model takes: float32 (batch, 3, H, W) that the caller has normalised, or uint8 pixels "
    "(batch, H, W, 3), normalised inside; or pictures of any size, resized and cropped inside too.",
)
@click.option("--opset", type=int, default=17, show_default=True, help="Of ONNX, 13 to 23.")
@data_option
@click.option(
    "--pictures", type=int, default=256, show_default=True, metavar="N", help="Validation pictures to check it with."
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@backend_option
@device_option
@quiet_option
@json_option
def export_(
    source: Path,
    output: Path,
    format_: str | None,
    enters: Input,
    opset: int,
    data: str | None,
    pictures: int,
    overwrite: bool,
    backend: str | None,
    device: str,
    quiet: bool,
    json_: bool,
) -> None:
    from xfer.cli import console
    from xfer.export.export import RejectedError, export

    with console.progress_bars(quiet) as progress:
        try:
            done = export(
                source,
                output,
                format=format_,
                enters=enters,
                opset=opset,
                data=data,
                pictures=pictures,
                overwrite=overwrite,
                backend=backend,
                device=device,
                progress=progress,
            )
        except RejectedError as error:
            console.say(f"error: {error}", error=True)
            raise click.exceptions.Exit(1) from None
    if json_:
        check = {key: getattr(done.check, key) for key in ("kind", "pictures", "same", "difference")}
        console.as_json({"path": str(done.path), "format": done.format, "bytes": done.bytes, "check": check})
        return
    console.say(f"written   {done.path}, {done.bytes / 1e6:.1f} MB")
    if not quiet:
        console.say(f"checked   {done.check}")
