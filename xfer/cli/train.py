"""`xfer train`."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xfer.cli.flags import WORDS, Command
from xfer.cli.options import data_option, device_option, json_option, quiet_option

if TYPE_CHECKING:
    from xfer.results.run import Run
    from xfer.training.prepared import Prepared
    from xfer.training.record import Events, Watch
    from xfer.training.resume import Kind


def _backend(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    if name is not None and name.isdecimal():
        raise click.UsageError(f"--backend {name}: expected the name of one. Cure: --batch-size {name}", ctx)
    return name


def _folder(ctx: click.Context, param: click.Parameter, folder: str | None) -> str | None:
    if folder is not None and folder.endswith(".toml"):
        raise click.UsageError(f"{folder} is a recipe, expected pictures. Cure: -c {shlex.quote(folder)}", ctx)
    if folder is not None and "=" in folder and not os.path.exists(folder):  # as Ultralytics and Hydra have it
        name, _, value = folder.partition("=")
        if isinstance(ctx.command, Command) and (cure := ctx.command.cure(f"--{name}", value)):
            raise click.UsageError(f"{folder}: expected pictures. Cure: {cure}", ctx)
    return folder


@click.command(
    cls=Command,
    help="Train a classifier and keep the best checkpoint.\n\n"
    "The pictures are named first or by --data: class folders, an archive, or a named set.\n\n"
    "Without a recipe and data it trains the demo: pictures that xfer draws itself, and weights that come "
    "with it.",
)
@click.argument("folder", metavar="[DIR|ARCHIVE|NAME]", required=False, callback=_folder)
@click.option("--backend", "-b", envvar="XFER_BACKEND", callback=_backend, help="torch (the default) or mindspore.")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    metavar="FILE|NAME",
    help="A recipe (TOML), or the name of one that comes with xfer: ants_bees_frozen, ...",
)
@data_option
@click.option("--on-leak", type=click.Choice(["warn", "error", "drop"]), help="Copies in both splits or two classes.")
@click.option("--weights", metavar="imagenet|random|FILE|RUN", help="What training starts from.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The run folder. Default: a new one in runs/.")
@click.option("--overwrite", is_flag=True, help="Replace the run that is there; other files stay.")
@click.option("--resume", metavar="auto|RUN", help="Go on with a run. auto: the newest unfinished one.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="MINUTES",
    help="How often to save inside an epoch; 0: only where epochs end.",
)
@device_option
@click.option("--arch", metavar="NAME|FILE", help="One that `xfer models` lists, timm/NAME, or what `xfer port` wrote.")
@click.option(
    "--train-from",
    metavar="STAGE",
    help="The first stage that is trained: stem, layer1, ..., layer4, head; or a cut: xfer models NAME --cuts.",
)
@click.option("--epochs", type=int, help="Passes over the training pictures.")
@click.option("--batch-size", type=int, help="Pictures of a batch.")
@click.option("--lr", type=float, help="The base learning rate.")
@click.option("--views", metavar="N|fresh|auto", help="Augmented views of each picture.")
@click.option("--size", type=int, help="Side of the pictures the network sees, in pixels.")
@click.option("--seed", type=int, help="Of the order, the crops, the first weights and the split.")
@click.option("--fast", is_flag=True, default=None, help="On a GPU: faster, and not the same bits each time.")
@click.option("--folds", type=int, metavar="K", help="Cross-validate: K runs, each validated on another part.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any key of the recipe; may be repeated.")
@click.option(
    "--against-random/--no-against-random",
    default=None,
    help="Also train from random weights and compare. On when nothing but the demo is asked for.",
)
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    metavar="tensorboard|mlflow|csv|NAME",
    help="Who else hears of each epoch; may be repeated. Default: those that XFER_LOGGERS names.",
)
@quiet_option
@json_option
def train(
    folder: str | None, backend: str | None, config: Path | None, output: Path | None, overwrite: bool,
    resume: str | None, checkpoint_every: float, device: str, sets: tuple[str, ...], against_random: bool | None,
    loggers: tuple[str, ...], folds: int | None, quiet: bool, json_: bool, **flags: Any,
) -> None:  # fmt: skip
    from xfer.cli.folds import RECORD, cross_validate, refuse_beside
    from xfer.system.interrupts import caught

    refuse_beside(folds, against_random, resume)
    name_data(folder, flags)
    folded = Path(resume) if resume is not None and Path(resume, RECORD).exists() else None
    if folds is not None or folded is not None:
        words = click.get_current_context().meta[WORDS]
        cross_validate(
            folds, folded, backend, config, output, overwrite, checkpoint_every, device, flags, sets, words, loggers,
            quiet, json_,
        )  # fmt: skip
        return
    with caught([signal.SIGINT, signal.SIGTERM]) as interrupts:
        from xfer.cli import console, run_text
        from xfer.tracking.loggers import load_loggers
        from xfer.training import record
        from xfer.training.baseline import forget

        show = not (quiet or json_)
        with console.progress_bars(quiet) as progress:
            command = click.get_current_context().meta[WORDS]
            watch = record.Watch(progress, checkpoint_every, interrupts, command, loggers=load_loggers(loggers))
            events, kind = _chosen(
                backend, config, output, overwrite, resume, device, sets, flags, against_random, watch
            )
            prepared, run = _follow(events, show)
            pictures = [run.path / "plots" / "predictions.png"]
            if against_random is False:
                forget(run.path)
            if kind is not None:
                baseline, picture = _compare(run, kind, backend, device, watch, show)
                pictures.append(picture)
                if not json_:
                    console.say(run_text.against(run, baseline))
    if json_:
        console.as_json({**run.result, "output": str(run.path)})
        return
    if prepared is None and kind is None:
        console.say(f"{run.path} is finished: there is nothing to go on with. More --epochs train on, as a new run")
    console.say(*run_text.headline(run, [picture for picture in pictures if picture.exists()]))


def name_data(folder: str | None, flags: dict[str, Any]) -> None:
    """Take the argument for `--data`."""
    if folder is not None:
        if flags["data"] is not None:
            raise click.UsageError(f"{folder} and --data {flags['data']}: expected one of them. Cure: leave out one")
        flags["data"] = folder


def _compare(run: Run, kind: Kind, name: str | None, device: str, watch: Watch, show: bool) -> tuple[Run, Path]:
    """Train from random weights, and draw both runs. What is interrupted goes on with the first of them."""
    from xfer.backends import load_backend
    from xfer.cli import console, run_text
    from xfer.results.read import backend_name
    from xfer.system.interrupts import Interrupted
    from xfer.training import baseline

    backend = load_backend(name or backend_name(run.path))
    recipe = baseline.recipe_of(run, kind, backend)
    if show:
        console.say(run_text.announced(recipe))
    try:
        _, other = _follow(baseline.train(run, recipe, backend, device, watch), show)
    except Interrupted as stop:
        raise Interrupted(stop.number, stop.between, run.path) from None
    return other, baseline.compare(run, other)


def _chosen(
    backend: str | None, config: Path | None, output: Path | None, overwrite: bool, resume: str | None, device: str,
    sets: tuple[str, ...], flags: dict[str, Any], against_random: bool | None, watch: Watch,
) -> tuple[Events, Kind | None]:  # fmt: skip
    """The run that was asked for, a fresh one or one that goes on, and what it is to be compared with afterwards."""
    from xfer.cli.options import overrides_of
    from xfer.recipe.load import DEMO, load_recipe
    from xfer.training import baseline, record
    from xfer.training.resume import asked_of, find_run

    overrides = overrides_of(flags, sets)
    path = None if resume is None else find_run(resume, output, overwrite)
    if path is not None:
        asked = asked_of(path, config, overrides) if config or overrides else None
        kind = baseline.wanted(against_random, path)
        return record.go_on(path, asked, backend, device, output, replace(watch, to_compare=kind)), kind
    recipe = load_recipe(DEMO if config is None and flags["data"] is None else config, overrides)
    of_demo = config is None and recipe.data.source == "demo"
    kind = baseline.wanted(against_random) or ("small" if of_demo and against_random is None else None)
    return record.begin(recipe, backend or "torch", device, output, overwrite, replace(watch, to_compare=kind)), kind


def _follow(events: Events, show: bool) -> tuple[Prepared | None, Run]:
    """Let a run happen, and print it. One that was finished before is given without what was prepared."""
    from xfer.backends import settle
    from xfer.cli import run_text
    from xfer.results.run import Run
    from xfer.training.prepared import Prepared

    prepared = run = None
    with closing(events):  # whatever is raised here, it ends its run in good order
        for event in events:
            if isinstance(event, Prepared):
                prepared = event
                settle(event.net.backend, event.net.device)
            elif isinstance(event, Run):
                run = event
            if show:
                run_text.show(event)
    assert run, "a run ends with itself"
    return prepared, run
