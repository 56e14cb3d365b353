"""Runs that are part of a larger whole: of a study, or of a comparison."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from xfer.backend import Backend
from xfer.errors import CheckpointError
from xfer.recipe.meaning import as_begun
from xfer.recipe.recipe import Recipe
from xfer.results.read import AS_GIVEN, STATE, Places, is_run, read_recipe
from xfer.training import record
from xfer.training.record import Events, Watch


def pursue(
    recipe: Recipe,
    backend: str | Backend,
    device: str,
    path: Path,
    watch: Watch | None = None,
    places: Places = AS_GIVEN,
) -> Events:
    """The run of this recipe in `path`: it goes on where it was left, or begins.

    Any other run that lies there is replaced, and so is one that cannot go on; not where only the disk is at fault.
    """
    if (path / STATE).exists() and is_run(path) and as_begun(recipe, own := read_recipe(path)) == own:
        with closing(record.resume(path, recipe, backend, device, watch)) as events:
            try:
                first = next(events)
            except CheckpointError as error:
                if isinstance(error.__cause__, OSError):
                    raise
            else:
                yield first
                yield from events
                return
    yield from record.begin(recipe, backend, device, path, overwrite=True, watch=watch, places=places)
