"""Reading a run folder: its recipe, metrics and result, and whether it is finished."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer.data.locate import is_there
from xfer.errors import CheckpointError
from xfer.metrics import Epoch
from xfer.recipe.load import as_recorded
from xfer.recipe.recipe import Recipe
from xfer.recipe.toml import read_toml
from xfer.results.records import CURE, Environment, Result, parse_as
from xfer.system import doors
from xfer.system.outputs import read_record

ENV, RESULT, METRICS = "env.json", "result.json", "metrics.jsonl"
LOCK = "run.lock"  # held by the one process that writes there


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs of a run, as in `metrics.jsonl`. Raises CheckpointError, naming line and field."""
    file, epochs = path / METRICS, list[Epoch]()
    try:
        with doors.open_lines(file, "metrics") as lines:
            for number, line in enumerate(lines, start=1):
                epochs.append(epoch := parse_as(Epoch, line, f"{file}, line {number}"))
                if epoch.epoch != number:
                    raise CheckpointError(f"{file}, line {number}: epoch = {epoch.epoch}, expected {number}. {CURE}")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    return [epoch.model_dump() for epoch in epochs]


def read_result(path: Path) -> dict[str, Any]:
    """What `result.json` of a finished run says. Raises CheckpointError where there is none, or of another form."""
    text = read_file(path / RESULT)
    return parse_as(Result, text, str(path / RESULT)).model_dump(exclude_unset=True)


def read_file(file: Path) -> str:
    """The text of a record of a finished run. Raises CheckpointError."""
    try:
        return doors.read_text(file, "json")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{file.parent}: expected the folder of a finished run, with a {file.name} ({error})")


def read_environment(path: Path) -> Environment | None:
    """What `env.json` says, or None where there is none. Raises CheckpointError."""
    try:
        text = doors.read_text(path / ENV, "json")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: its {ENV} cannot be read ({error})") from error
    return parse_as(Environment, text, str(path / ENV))


def backend_name(path: Path) -> str:
    """The backend that a run was last trained with. Raises CheckpointError."""
    environment = read_environment(path)
    if environment is None:
        raise CheckpointError(f"{path}: has no {ENV}, which names the backend. Cure: --backend NAME")
    return environment.backend


@dataclass(frozen=True)
class Places:
    """Where the data, the weights and the file of the network lie that a recipe names; None: as it says.

    From whatever folder it is asked: a path in a recipe is as it was given, so that recipes can be compared, and may be
    relative.
    """

    data: str | None = None
    weights: str | None = None
    network: str | None = None


AS_GIVEN = Places()


def places_of(path: Path) -> Places:
    """What the run in that folder has written down. None for what is no longer where it was.

    A relative path in the recipe then leads to it where a run was moved with what it needs.
    """
    environment = read_environment(path)
    if environment is None:
        return AS_GIVEN
    data = environment.data
    weights, network = (p if p and os.path.exists(p) else None for p in (environment.weights, environment.network))
    return Places(data if data and is_there(data) else None, weights, network)


def located(recipe: Recipe, path: Path) -> Recipe:
    """The recipe of the run in `path`, with its data where they lie, see `Places`."""
    source = places_of(path).data or recipe.data.source
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def read_located(path: Path) -> Recipe:
    return located(read_recipe(path), path)


def read_recipe(path: Path) -> Recipe:
    """The resolved recipe of a run folder."""
    if not (path / "config.toml").exists():
        raise CheckpointError(f"{path}: expected the folder of a run, with a config.toml")
    file = path / "config.toml"
    return as_recorded(read_toml(file), str(file))


def is_run(path: Path) -> bool:
    return (path / "config.toml").exists()


def is_own(path: Path) -> bool:
    """Whether the files in a folder are those of a run, by what its `env.json` says, which is written first of all."""
    return {"backend", "device", "versions"} <= read_record(path / ENV).keys()


def is_finished(path: Path) -> bool:
    return (path / "result.json").exists() and not (path / STATE).exists()


STATE = "state.safetensors"
