"""`xfer find-lr`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xfer.cli.flags import Command
from xfer.cli.options import overrides_of, overwrite_option
from xfer.cli.train import name_data, train

if TYPE_CHECKING:
    from rich.table import Table

    from xfer.training.lr_range import LrRange

_OF_RUNS = {"output", "overwrite", "resume", "checkpoint_every", "against_random", "folds", "loggers"}
_ROWS = 15


@click.command(
    "find-lr",
    cls=Command,
    params=[param for param in train.params if param.name not in _OF_RUNS],
    help="Find a learning rate: train for a few steps while the rate rises, and see where the loss falls.\n\n"
    "It takes the flags of `xfer train`, for whose first phase the rate is meant, and leaves nothing behind but what "
    "--output names, and features for that training.",
)
@click.option("--start-lr", type=float, default=1e-7, show_default=True, help="The rate of the first step.")
@click.option("--end-lr", type=float, default=10.0, show_default=True, help="The rate of the last step.")
@click.option("--steps", type=int, help="How many. Default: those of two epochs, 50 to 100.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write a picture, a table and JSON there.")
@overwrite_option
def find_lr(
    folder: str | None, backend: str | None, config: Path | None, device: str, sets: tuple[str, ...], quiet: bool,
    json_: bool, start_lr: float, end_lr: float, steps: int | None, output: Path | None, overwrite: bool, **flags: Any,
) -> None:  # fmt: skip
    from xfer.backends import settle
    from xfer.cli import console
    from xfer.recipe.load import DEMO, load_recipe
    from xfer.training import lr_files
    from xfer.training.lr_range import Ramp, find_range
    from xfer.training.run import prepare

    name_data(folder, flags)
    ramp = Ramp(start_lr, end_lr, steps)
    recipe = load_recipe(DEMO if config is None and flags["data"] is None else config, overrides_of(flags, sets))
    if output is not None:
        lr_files.claim(output, overwrite)
    with console.progress_bars(quiet) as progress:
        prepared = prepare(recipe, backend or "torch", device, progress)
        settle(prepared.net.backend, prepared.net.device)
        found = find_range(prepared, ramp, progress)
    written = [] if output is None else lr_files.write(found, output)
    if json_:
        console.as_json(found.as_json())
        return
    if not quiet:
        console.table(_table(found))
    console.say(found.sentence(), *(f"written   {path}" for path in written))


def _table(found: LrRange) -> Table:
    """Some of the steps, evenly spaced."""
    import numpy as np
    from rich.table import Table

    table = Table()
    for column in ("rate", "loss", "smoothed"):
        table.add_column(column, justify="right")
    for place in np.unique(np.linspace(0, len(found.rates) - 1, _ROWS).astype(int)):
        table.add_row(f"{found.rates[place]:.2g}", f"{found.losses[place]:.4f}", f"{found.smoothed[place]:.4f}")
    return table
