"""`xfer explain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xfer.cli.flags import Command
from xfer.cli.options import backend_option, device_option, overwrite_option, quiet_option


@click.command(
    "explain",
    cls=Command,
    help="What in pictures speaks for a class, by LayerCAM.\n\n"
    "Of pictures, into the folder --output: a page of the first 8, and each with its map over it. Without pictures, of "
    "those validation pictures of a run that it gets most wrong, into its report.",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("images", metavar="[FILE|FOLDER|GLOB]...", nargs=-1)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The folder. Default: explained.")
@click.option(
    "--at",
    metavar="STAGE",
    help="Where in the network: a stage or a cut that maps cross, xfer models NAME --cuts. Default: the last of them.",
)
@click.option("--class", "class_", metavar="NAME", help="What speaks for this class, and not for the predicted one.")
@overwrite_option
@backend_option
@device_option
@quiet_option
def explain_(
    source: Path,
    images: tuple[str, ...],
    output: Path | None,
    at: str | None,
    class_: str | None,
    overwrite: bool,
    backend: str | None,
    device: str,
    quiet: bool,
) -> None:
    from xfer.backends import load_backend, pick_device, settle
    from xfer.cli import console
    from xfer.errors import CheckpointError
    from xfer.pixels.images import SUFFIXES
    from xfer.results import explained
    from xfer.results.checkpoint import load_checkpoint
    from xfer.results.predict import to_predict
    from xfer.results.read import is_finished, is_run, read_recipe

    of_run = not images
    if of_run and not (source.is_dir() and is_run(source) and is_finished(source)):
        raise CheckpointError(f"{source}: which pictures? Only a finished run has its own. Cure: name pictures")
    folder = output or Path("explained")
    if not of_run:
        explained.refuse_others(folder, overwrite)
    elif output is not None:
        raise click.UsageError("--output is for pictures that are named; those of a run go into its report")
    checkpoint = load_checkpoint(source)
    run = source if source.is_dir() else source.parent
    suffixes = read_recipe(run).data.suffixes if is_run(run) else SUFFIXES
    pictures = explained.most_wrong(source) if of_run else to_predict(images, suffixes)
    used = load_backend(backend or checkpoint.backend)
    settle(used, pick_device(used, device))
    with console.progress_bars(quiet) as progress:
        found = explained.explain(checkpoint, pictures, used, device, at, class_, progress)
    written = [explained.into_report(run, found)] if of_run else explained.save(folder, found)
    console.say(f"{len(found.files)} pictures, at {found.explanation.boundary}")
    console.say(*map(str, written), ours=False)
    if found.skipped:
        first = found.skipped[0]
        count = f"{len(found.skipped)} of {len(pictures)} pictures could not be used"
        console.say(f"{count}, the first: {first.path} ({first.reason})", error=True)
        sys.exit(1)
