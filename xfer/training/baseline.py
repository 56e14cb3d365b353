"""The run from random weights that another is compared with, in the folder `from_random` of that one.

What is to come is written down in the first run's `env.json` before it trains, and taken out when both are drawn: a
run that was stopped anywhere on the way is resumed to the end of the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xfer.backend import Backend
from xfer.nets.specs import builds, known_arch
from xfer.recipe.meaning import SMALL, from_random, small_from_random
from xfer.recipe.recipe import Recipe
from xfer.results.read import ENV, LOCK, is_finished, places_of, read_recipe
from xfer.results.run import Run
from xfer.system.files import write_json
from xfer.system.locks import locked
from xfer.system.outputs import read_record
from xfer.training import record
from xfer.training.gallery import draw_against
from xfer.training.pursue import pursue
from xfer.training.record import Events, Watch
from xfer.training.resume import TO_COMPARE, Kind, to_compare
from xfer.training.write import BASELINE, remove_left, writing


def wanted(asked: bool | None, path: Path | None = None) -> Kind | None:
    """What a run is to be compared with: as `asked`, or else as the run in `path` was when it began."""
    if asked is not None or path is None:
        return "same" if asked else None
    return to_compare(path)


def recipe_of(run: Run, kind: Kind, backend: Backend) -> Recipe:
    if kind == "small" and builds(backend, SMALL):
        return small_from_random(run.recipe)
    arch = known_arch(backend, places_of(run.path).network or run.recipe.model.arch)
    return from_random(run.recipe, arch.stage_names[0])


def train(run: Run, recipe: Recipe, backend: Backend, device: str, watch: Watch) -> Events:
    """The run from random weights: it goes on where it was left, or begins. One that is finished is given alone."""
    path = run.path / BASELINE
    if is_finished(path) and read_recipe(path) == recipe:
        return record.resume(path, recipe, backend, device, watch)
    return pursue(recipe, backend, device, path, watch, replace(places_of(run.path), weights=None))


def compare(run: Run, baseline: Run) -> Path:
    """Draw both, also into the report of the first, which is then done. Gives the picture. Raises CheckpointError."""
    with locked(run.path / LOCK), writing(run.path):
        remove_left(run.path)
        picture = draw_against(run.path, baseline.path)
        forget(run.path)
    return picture


def forget(path: Path) -> None:
    """Of the run in `path`, nothing is to be compared any more."""
    known: Mapping[str, object] = read_record(path / ENV)
    if TO_COMPARE in known:
        write_json(path / ENV, {key: value for key, value in known.items() if key != TO_COMPARE})
