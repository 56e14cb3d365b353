"""`xfer evaluate` and `xfer predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xfer.cli.options import backend_option, data_option, device_option, json_option, overwrite_option, quiet_option

if TYPE_CHECKING:
    from xfer.backend import Backend
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
    from xfer.results.read import data_of, read_recipe
    from xfer.results.run import open_split

    checkpoint = load_checkpoint(source)
    with console.progress_bars(quiet) as progress:
        recipe = read_recipe(source) if (source / "config.toml").exists() else None
        data = data_of(source) if data is None else data
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
@overwrite_option
@backend_option
@device_option
@quiet_option
@json_option
def predict_(
    source: Path,
    images: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
    backend: str | None,
    device: str,
    quiet: bool,
    json_: bool,
) -> None:
    """Classes and probabilities of pictures.

    As lines, CSV or JSON; on either framework, whichever wrote the checkpoint.
    """
    from xfer.cli import console
    from xfer.data.find import find_images
    from xfer.errors import ConfigError
    from xfer.results import predict
    from xfer.results.checkpoint import load_checkpoint
    from xfer.system.outputs import refuse_foreign_file

    if output is not None and output.suffix not in (".csv", ".json"):
        raise ConfigError(f"--output {output}: expected a name that ends in .csv or .json")
    if output is not None:
        refuse_foreign_file(output, "predictions", predict.is_own(output), overwrite)
    checkpoint = load_checkpoint(source)
    files = find_images(images)
    with console.progress_bars(quiet) as progress:
        predictions = predict.predict(checkpoint, files, *_opened(backend or checkpoint.backend, device), progress)
    if output is not None:
        predict.save(output, predictions)
    if json_:
        console.as_json(predictions.rows())
    elif output is None:
        for row in predictions.rows():
            click.echo(f"{row['predicted']}  {row['probability']:.2%}  {row['file']}")
