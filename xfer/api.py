"""The public Python interface: `train` a recipe, and `Run.load` what it left."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import Any

from xfer.backend import Backend
from xfer.display.show import shown
from xfer.progress import Progress
from xfer.recipe.load import as_recipe
from xfer.recipe.recipe import Recipe
from xfer.results.run import Run
from xfer.system.interrupts import caught
from xfer.training import record
from xfer.training.resume import asked_of, find_run
from xfer.training.run import EpochEnd
from xfer.training.write import epoch_line


def train(
    recipe: Recipe | str | Path | None = None,
    backend: str | Backend | None = None,
    *,
    device: str = "auto",
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: str | Path | None = None,
    checkpoint_every: float = record.CHECKPOINT_EVERY,
    progress: Progress | bool = True,
    **overrides: Any,
) -> Run:
    """Train and give the finished run.

    recipe     a Recipe, a TOML file, the name of one that comes with xfer, `ants_bees_frozen`, or None for the defaults
    backend    a name or an object; None: torch, or that of the run which is resumed
    resume     the folder of a run to go on with: no recipe is needed then, and another one is refused. Or `auto`: the
               run in `output`, or else the newest unfinished one below `runs/`; where there is none, a fresh run
    checkpoint_every   minutes between saved states inside an epoch; 0: only where epochs end
    progress   True: epochs and a bar on a terminal or in a notebook, and elsewhere, on standard error, a line every ten
               seconds at most. False: nothing. Or a function that is told of it, see `xfer.progress`
    overrides  plain names (`data`, `weights`, `arch`, `epochs`, `batch_size`, `lr`, `seed`, `train_from`, `size`,
               `views`), or dotted keys of the recipe: `**{"optimizer.momentum": 0.8}`

    Raises XferError, in one line with its cure, for whatever a user can put right. Ctrl-C ends the step, saves the
    state and then raises KeyboardInterrupt; a second one raises it at once.
    """
    target = None if output is None else Path(output)
    with shown(progress) as display, caught([signal.SIGINT]) as interrupts:
        watch = record.Watch(display.progress, checkpoint_every, interrupts)
        path = None if resume is None else find_run(resume, target, overwrite)
        if path is None:
            events = record.begin(as_recipe(recipe, overrides), backend or "torch", device, target, overwrite, watch)
        else:
            asked = None if recipe is None and not overrides else asked_of(path, recipe, overrides)
            events = record.resume(path, asked, backend, device, watch)
        with closing(events):  # whatever is raised here, it ends its run in good order
            for event in events:
                if isinstance(event, EpochEnd):
                    display.say(epoch_line(event.epoch))
    assert isinstance(event, Run), "a run ends with itself"
    return event
