"""What a study says: recipes x backends x seeds, read from TOML and laid out as the runs that it asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from xfer.backends import declared
from xfer.errors import BackendError, ConfigError, expected
from xfer.nets.pretrained import IMAGENET
from xfer.recipe.keys import flat
from xfer.recipe.load import make_recipe, validated
from xfer.recipe.names import FLAGS
from xfer.recipe.recipe import MOST_FOLDS, Recipe, Seed
from xfer.recipe.shipped import find_recipe, shipped
from xfer.recipe.toml import read_toml
from xfer.section import Section

MOST_RUNS, MOST_MODES = 10_000, 1_000
"""Of a study; a mode, a seed and a backend make at least one run, so that neither has a bound of its own."""

SPLIT_SEED = 0
"""What all runs of a study split off their validation images with, where neither study nor recipe gives a number."""


def _file_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError("expected letters, digits, '.', '_' and '-', as it becomes part of the names of files")
    return name


def _each_once(values: Any) -> Any:
    if isinstance(values, tuple) and not 0 < len(set(values)) == len(values):
        raise ValueError("expected one or more, each of them once")
    if isinstance(values, int) and values < 1:
        raise ValueError("expected a number above 0, or a list of seeds")
    if isinstance(values, int) and values > MOST_RUNS:
        raise ValueError(f"expected at most {MOST_RUNS:,}. Cure: fewer seeds")
    return values


Name = Annotated[str, AfterValidator(_file_name)]
Names = Annotated[tuple[Name, ...], AfterValidator(_each_once)]
Seeds = Annotated[int | tuple[Seed, ...], AfterValidator(_each_once)]


class Mode(Section):
    """A recipe of a study, with nothing left out. `recipe`: a file, relative to the study's, or a shipped name."""

    recipe: str
    backends: Names
    seeds: Seeds
    set: dict[str, Any] = Field(default_factory=dict)

    @property
    def numbers(self) -> Sequence[int]:
        """The seeds one by one."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds


class StudyFile(Section):
    """A study as it is written. What a mode leaves out is as here.

    seeds  a count, 4 for the seeds 0 to 3, or a list
    folds  parts of the pictures: each seed is then a run for each of them, validated with it; None: one run
    set    overrides for every run; a mode's own go over them
    """

    name: Name
    recipe: str | None = None
    backends: Names = ("torch",)
    seeds: Seeds = 1
    folds: Annotated[int, Field(ge=2, le=MOST_FOLDS)] | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    modes: Annotated[dict[Name, dict[str, Any]], Field(min_length=1, max_length=MOST_MODES)]


@dataclass(frozen=True)
class Planned:
    """A run that a study asks for."""

    mode: str
    backend: str
    seed: int
    recipe: Recipe
    fold: int | None = None

    @property
    def name(self) -> str:
        fold = "" if self.fold is None else f"-fold-{self.fold}"
        return f"{self.mode}-{self.backend}-{self.seed}{fold}"


@dataclass(frozen=True)
class Plan:
    """A study's runs in the order of its file: by mode, backend, seed and fold. `folds`: how many, None for none."""

    name: str
    runs: tuple[Planned, ...]
    folds: int | None = None


def read_plan(
    path: Path,
    *,
    backends: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    weights: str | None = None,
    folds: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a study, or one that comes with xfer by its name, and all its recipes.

    backends, seeds, folds  in place of all that the study says
    weights          for the recipes that start from `imagenet`; never for those that start from random weights
    overrides        by dotted key, over the recipe, the study's `set` and the mode's `set`. Here and there,
                     `data.split_seed = "seed"` gives each seed its own split; otherwise all runs have the same

    Raises ConfigError, in one line, for whatever in the study or in a recipe cannot be meant, and BackendError for a
    backend that is not known.
    """
    path = find_recipe(path, "study")
    content = read_toml(path, "study")
    asked_folds = {} if folds is None else {"folds": folds}
    study = validated(StudyFile, {"name": path.stem} | content | asked_folds, str(path))
    defaults = study.model_dump(mode="json", include={"recipe", "backends", "seeds"}, exclude_none=True)
    arguments = {"backends": list(backends) or None, "seeds": seeds if isinstance(seeds, int | None) else list(seeds)}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    places = {name: f"{path}: modes.{name}" for name in study.modes}
    modes = {name: validated(Mode, defaults | study.modes[name] | arguments, places[name]) for name in study.modes}
    asked = (study.folds or 1) * sum(len(mode.backends) * len(mode.numbers) for mode in modes.values())
    if asked > MOST_RUNS:
        raise ConfigError(
            f"{path}: {asked:,} runs, expected at most {MOST_RUNS:,}. Cure: fewer seeds, folds, modes or backends"
        )
    runs: list[Planned] = []
    for name, mode in modes.items():
        changes = _dotted(study.set, f"{path}: set") | _dotted(mode.set, f"{places[name]}: set")
        changes |= _dotted(overrides or {}, "overrides")
        runs.extend(_runs(name, mode, _place(path, mode.recipe), changes, weights, study.folds))
    if len({run.name for run in runs}) < len(runs):
        raise ConfigError(f"{path}: two of its runs would have the same name. Cure: rename a mode")
    of_task = {run.recipe.data.task: run.mode for run in runs}
    if len(of_task) > 1:
        raise ConfigError(
            f"{path}: mode {of_task['classification']} tells classes apart, mode {of_task['multilabel']} any number of "
            "labels (data.task): they have no figure in common. Cure: a study for each task"
        )
    return Plan(study.name, tuple(runs), study.folds)


def _place(study: Path, recipe: str) -> Path:
    """The file of a mode's recipe. What is there goes before what comes with xfer under that name."""
    own = study.parent / recipe
    return own if os.path.isfile(own) else shipped().get(recipe, own)


def _runs(
    name: str, mode: Mode, path: Path, changes: dict[str, Any], weights: str | None, folds: int | None
) -> Iterator[Planned]:
    content, known = read_toml(path), declared()
    for framework in mode.backends:
        if framework not in known:
            raise BackendError(expected(f"backend of mode {name}", framework, known))
    changes = changes | {"seed": mode.numbers[0]}
    recipe = make_recipe(content, changes, f"mode {name} ({path})")
    by_seed = "data.split_seed" not in changes and recipe.data.split_seed == "seed"
    if weights is not None and recipe.weights.source == IMAGENET:
        recipe = make_recipe(content, changes | {"weights.source": weights})
    fixed = recipe.data.model_copy(update={"split_seed": SPLIT_SEED})
    for framework in mode.backends:
        for seed in mode.numbers:  # they differ in nothing else: what a thousand share is read and checked once
            data = fixed if by_seed and seed != SPLIT_SEED else recipe.data
            for fold in range(1, folds + 1) if folds else (None,):
                own = data.model_copy(update={"folds": folds, "fold": fold}) if folds else data
                yield Planned(name, framework, seed, recipe.model_copy(update={"seed": seed, "data": own}), fold)


def _dotted(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Overrides by dotted key, whether they were written as `"train.epochs" = 3` or as `train.epochs = 3`."""
    entries = dict(flat(table, lists=False))
    if "seed" in entries:
        raise ConfigError(f"{where}: seed cannot be set, as a study gives the seeds. Cure: seeds = [{entries['seed']}]")
    return {FLAGS.get(key, key): value for key, value in entries.items()}
