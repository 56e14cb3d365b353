"""`xfer evaluate` and `xfer predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xfer.cli.options import backend_option, data_option, device_option, json_option, quiet_option

if TYPE_CHECKING:
    from xfer.backend import Backend
    from xfer.results.predict import Predictions
    from xfer.results.run import Which


def _opened(name: str, device: str) -> tuple[Backend, str]:
    """A backend and its device, in a process that is the command's own."""
    from xfer.backends import load_backend, pick_device, settle

    backend = load_backend(name)
    device = pick_device(backend, device)
    settle(backend, device)
    return backend, device


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@data_option
@click.option("--split", type=click.Choice(["train", "val", "all"]), default="val", show_default=True)
@backend_option
@device_option
@quiet_option
@json_option
def evaluate(
    source: Path, data: str | None, split: Which, backend: str | None, device: str, quiet: bool, json_: bool
) -> None:
    """Loss and accuracy of a checkpoint.

    On either framework, whichever wrote it.
    """
    from xfer.cli import console
    from xfer.results import predict
    from xfer.results.checkpoint import load_checkpoint
    from xfer.results.read import read_recipe
    from xfer.results.run import open_split

    checkpoint = load_checkpoint(source)
    with console.progress_bars(quiet) as progress:
        recipe = read_recipe(source) if (source / "config.toml").exists() else None
        chosen = open_split(checkpoint, data, split, recipe, progress)
        used = backend or checkpoint.backend
        result = predict.evaluate(checkpoint, chosen, *_opened(used, device), progress)
    right = int((result.predictions == result.labels).sum())
    figures = {"backend": used, "n": len(result.labels), "right": right}
    if json_:
        console.as_json({**figures, "accuracy": result.accuracy, "loss": result.loss})
    else:
        click.echo(
            f"accuracy {result.accuracy:.2%} ({right} of {len(result.labels)}), loss {result.loss:.4f}, on {used}"
        )


@click.command("predict")
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("images", metavar="FILE|FOLDER|GLOB...", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this .csv or .json file.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    show_default=True,
    help="The most probable classes of each picture, in lines. CSV and JSON have them all.",
)
@backend_option
@device_option
@quiet_option
@json_option
def predict_(
    source: Path,
    images: tuple[str, ...],
    output: Path | None,
    top: int,
    backend: str | None,
    device: str,
    quiet: bool,
    json_: bool,
) -> None:
    """Classes and probabilities of pictures.

    As lines, CSV or JSON; on either framework, whichever wrote the checkpoint. Pictures that cannot be used are listed
    with the reason behind the others, and the exit code is 1 then.
    """
    from xfer.cli import console
    from xfer.data.find import find_images
    from xfer.errors import ConfigError
    from xfer.results import predict
    from xfer.results.checkpoint import load_checkpoint

    if output is not None and output.suffix not in (".csv", ".json"):
        raise ConfigError(f"--output {output}: expected a name that ends in .csv or .json")
    checkpoint = load_checkpoint(source)
    files = find_images(images)
    with console.progress_bars(quiet) as progress:
        opened = _opened(backend or checkpoint.backend, device)
        predictions = predict.predict(checkpoint, files, *opened, progress, on_bad_image="skip")
    if output is not None:
        predict.save(output, predictions)
    if json_:
        console.as_json(predictions.rows())
    elif output is None:
        _echo(predictions, top)
    if predictions.skipped:
        lost, total = len(predictions.skipped), len(predictions.files) + len(predictions.skipped)
        where = f"in {output}" if output else "above"
        click.echo(f"{lost} of {total} pictures could not be used: the reasons are {where}, in the last rows", err=True)
        sys.exit(1)


def _echo(predictions: Predictions, top: int) -> None:
    for file, best in zip(predictions.files, predictions.top(top), strict=True):
        click.echo("  ".join([*(f"{name}  {probability:.2%}" for name, probability in best), file]))
    for file, reason in predictions.skipped:
        click.echo(f"not used: {reason}  {file}")
