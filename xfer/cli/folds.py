"""`xfer train --folds`: a run for each fold, and what they show together."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

RECORD = "folds.json"  # as of xfer.crossvalidation, which takes long to import


def cross_validate(
    folds: int | None, resume: Path | None, backend: str | None, config: Path | None, output: Path | None,
    overwrite: bool, checkpoint_every: float, device: str, flags: Mapping[str, Any], sets: Sequence[str],
    command: tuple[str, ...], loggers: Sequence[str], quiet: bool, json_: bool,
) -> None:  # fmt: skip
    """All folds that are not done. `resume`: the folder that says what they are, in the place of all else."""
    from xfer import crossvalidation
    from xfer.backends import settle
    from xfer.cli import console, run_text
    from xfer.cli.options import overrides_of
    from xfer.recipe.load import DEMO, as_recipe, load_recipe
    from xfer.results.run import Run
    from xfer.studies.folds import CrossValidation, first_figure, fold_table, headline
    from xfer.studies.text import as_markdown
    from xfer.system.interrupts import caught
    from xfer.tracking.loggers import load_loggers
    from xfer.training import record
    from xfer.training.prepared import Prepared

    with caught([signal.SIGINT, signal.SIGTERM]) as interrupts, console.progress_bars(quiet) as progress:
        overrides = overrides_of(flags, sets)
        watch = record.Watch(progress, checkpoint_every, interrupts, command, loggers=load_loggers(loggers))
        if resume is None:
            demo = DEMO if config is None and "data" not in overrides else config
            recipe, name = load_recipe(demo, overrides), backend or "torch"
        else:
            own, name = crossvalidation.recorded(resume)
            recipe, name, output = as_recipe(config or own, overrides), backend or name, resume
            folds = folds or own.data.folds
        assert folds is not None, "a record says how many"
        events = crossvalidation.begin(recipe, folds, name, device, output, overwrite, watch)
        with closing(events):
            for event in events:
                if isinstance(event, Prepared):
                    settle(event.net.backend, event.net.device)
                if quiet or json_:
                    continue
                if isinstance(event, crossvalidation.FoldBegins):
                    console.say(f"fold {event.number} of {event.of}{', done before' if event.before else ''}")
                elif not isinstance(event, Run | CrossValidation):
                    run_text.show(event)
    assert isinstance(event, CrossValidation), "folds end with what they show"
    if json_:
        console.as_json({**event.as_json(), "output": str(event.path)})
        return
    console.say(f"{first_figure(event, digits=2)} {headline(event)}")
    if not quiet:
        console.say(*as_markdown(fold_table(event)).split("\n"))
    console.say(f"folder        {event.path}", f"report        {event.path / 'report.html'}")


def refuse_beside(folds: int | None, against_random: bool | None, resume: str | None) -> None:
    """Raises UsageError for what has no meaning with folds."""
    if folds is not None and against_random:
        raise click.UsageError("--folds and --against-random: expected one of them. Cure: leave out one")
    if folds is not None and resume is not None:
        raise click.UsageError(f"--folds and --resume {resume}: a folder says its folds. Cure: leave out --folds")
