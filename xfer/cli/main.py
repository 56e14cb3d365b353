"""The command line: the only printer, and the only place that chooses an exit code.

Every command imports what it needs when it runs, so that `xfer --help` is instant.
"""

from __future__ import annotations

import errno
import gc
import signal
import sys
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xfer import __version__
from xfer.cli.compare import compare, parity_, study_
from xfer.cli.options import backend_option, data_option, device_option, json_option, quiet_option
from xfer.cli.tools import backends, cache, convert, data, doctor
from xfer.errors import XferError

if TYPE_CHECKING:
    from xfer.api import Events
    from xfer.progress import Progress
    from xfer.results.run import Run, Which
    from xfer.system.interrupts import Interrupts
    from xfer.training.run import Prepared


LONGEST_LINE = 1500  # characters of an error


class Group(click.Group):
    """Turns what a user can put right into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (XferError, OSError) as error:  # OSError: a disk that is full, a folder that may not be written
            if ctx.params.get("debug") or getattr(error, "errno", None) == errno.EPIPE:  # whoever read has gone
                raise
            click.echo(f"error: {_one_line(error)}", err=True)
            ctx.exit(2)
        except click.UsageError as error:
            words = error.ctx.command_path if error.ctx else "xfer"
            click.echo(f"error: {error.format_message()} Cure: see {words} --help", err=True)
            ctx.exit(2)
        except KeyboardInterrupt as stop:
            run, number = getattr(stop, "run", None), getattr(stop, "number", signal.SIGINT)
            click.echo(f"interrupted. To go on: xfer train --resume {run}" if run else "interrupted", err=True)
            ctx.exit(128 + number)


def _one_line(error: Exception) -> str:
    """Its middle is cut out where it is too long to be read: it may quote a value of any length."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Transfer learning for image classification, on PyTorch or MindSpore."""
    if isinstance(sys.stdout, TextIOWrapper):  # a file may have a name that no encoding has: it is printed as \udcff
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
@click.option("--backend", "-b", envvar="XFER_BACKEND", help="torch (the default) or mindspore.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="A recipe (TOML).")
@data_option
@click.option("--on-leak", type=click.Choice(["warn", "error", "drop"]), help="Copies in both splits or two classes.")
@click.option("--weights", metavar="imagenet|random|FILE", help="What training starts from.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The run folder. Default: a new one in runs/.")
@click.option("--overwrite", is_flag=True, help="Replace the run that is there.")
@click.option("--resume", metavar="auto|RUN", help="Go on with a run that stopped. auto: the newest unfinished one.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="MINUTES",
    help="How often to save inside an epoch; 0: only where epochs end.",
)
@device_option
@click.option("--arch", metavar="NAME", help="resnet18, resnet50, efficientnet_lite0, convnet, ...")
@click.option("--train-from", metavar="STAGE", help="The first stage that is trained: stem, layer1, ..., layer4, head.")
@click.option("--epochs", type=int)
@click.option("--batch-size", type=int)
@click.option("--lr", type=float, help="The base learning rate.")
@click.option("--views", metavar="N|fresh|auto", help="Augmented views of each picture.")
@click.option("--size", type=int, help="Side of the pictures the network sees, in pixels.")
@click.option("--seed", type=int)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.")
@click.option(
    "--against-random/--no-against-random",
    default=None,
    help="Also train from random weights and compare. On when nothing but the demo is asked for.",
)
@quiet_option
@json_option
def train(
    backend: str | None, config: Path | None, output: Path | None, overwrite: bool, resume: str | None,
    checkpoint_every: float, device: str, sets: tuple[str, ...], against_random: bool | None, quiet: bool, json_: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """Train a classifier and keep the best checkpoint.

    Without a recipe and data it trains the demo: pictures that xfer draws itself, and weights that come with it.
    """
    from xfer.system.interrupts import caught

    with caught([signal.SIGINT, signal.SIGTERM]) as interrupts:
        from xfer import api
        from xfer.cli import console
        from xfer.training.gallery import draw_against

        show = not (quiet or json_)
        with console.progress_bars(quiet) as progress:
            how = (progress, checkpoint_every, interrupts)
            prepared, run = _follow(_chosen(backend, config, output, overwrite, resume, device, sets, flags, how), show)
            pictures = [run.path / "plots" / "predictions.png"]
            if against_random is None:
                against_random = config is None and resume is None and run.recipe.data.source == "demo"
            if against_random and prepared:
                baseline = api.from_random(run.recipe, prepared.arch.stage_names[0])
                place = run.path / "from_random"
                _, other = _follow(api.events(baseline, prepared.backend, device, place, True, *how), show)
                pictures.append(draw_against(run.path, other.path, prepared.data.val.labels))
                if not json_:
                    click.echo(console.against(run, other))
    if json_:
        console.as_json({**run.result, "output": str(run.path)})
        return
    if prepared is None:
        click.echo(f"{run.path} is finished: there is nothing to go on with")
    click.echo(console.headline(run, pictures))


def _chosen(
    backend: str | None, config: Path | None, output: Path | None, overwrite: bool, resume: str | None, device: str,
    sets: tuple[str, ...], flags: dict[str, Any], how: tuple[Progress, float, Interrupts],
) -> Events:  # fmt: skip
    """The run that was asked for: a fresh one, or one that goes on."""
    from xfer import api
    from xfer.recipe.load import DEMO, load_recipe, parse_override
    from xfer.training.resume import find_run

    if flags["views"] is not None:
        flags["views"] = parse_override(f"views={flags['views']}")[1]
    overrides = {key: value for key, value in flags.items() if value is not None} | dict(map(parse_override, sets))
    path = None if resume is None else find_run(resume, output, overwrite)
    if path is not None:
        asked = api.asked_of(path, config, overrides) if config or overrides else None
        return api.resumed(path, asked, backend, device, *how)
    recipe = load_recipe(DEMO if config is None and flags["data"] is None else config, overrides)
    return api.events(recipe, backend, device, output, overwrite, *how)


def _follow(events: Events, show: bool) -> tuple[Prepared | None, Run]:
    """Let a run happen, and print it. One that was finished before is given without what was prepared."""
    from xfer.cli import console
    from xfer.results.run import Run
    from xfer.training.run import Prepared

    prepared = run = None
    with closing(events):  # whatever is raised here, it ends its run in good order
        for event in events:
            if isinstance(event, Prepared):
                prepared = event
                if not gc.get_freeze_count():  # once: the framework stays, and need not be looked through for garbage
                    gc.freeze()
            elif isinstance(event, Run):
                run = event
            if show:
                console.show(event)
    assert run, "a run ends with itself"
    return prepared, run


@main.command()
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
        result = predict.evaluate(checkpoint, chosen, used, device, progress)
    right = int((result.predictions == result.labels).sum())
    figures = {"backend": used, "n": len(result.labels), "right": right}
    if json_:
        console.as_json({**figures, "accuracy": result.accuracy, "loss": result.loss})
    else:
        click.echo(
            f"accuracy {result.accuracy:.2%} ({right} of {len(result.labels)}), loss {result.loss:.4f}, on {used}"
        )


@main.command("predict")
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("images", metavar="FILE|FOLDER|GLOB...", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this .csv or .json file.")
@backend_option
@device_option
@quiet_option
@json_option
def predict_(
    source: Path,
    images: tuple[str, ...],
    output: Path | None,
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

    if output is not None and output.suffix not in (".csv", ".json"):
        raise ConfigError(f"--output {output}: expected a name that ends in .csv or .json")
    checkpoint = load_checkpoint(source)
    files = find_images(images)
    with console.progress_bars(quiet) as progress:
        found = predict.predict(checkpoint, files, backend or checkpoint.backend, device, progress)
    if output is not None:
        predict.save(output, found)
    if json_:
        console.as_json(found.rows())
    elif output is None:
        for row in found.rows():
            click.echo(f"{row['predicted']}  {row['probability']:.2%}  {row['file']}")


for command in (backends, cache, data, doctor, convert, compare, parity_, study_):
    main.add_command(command)
