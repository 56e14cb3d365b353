"""Reading a run folder: its recipe, metrics and result, and whether it is finished."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer.data.dataset import is_there
from xfer.errors import CheckpointError
from xfer.recipe.load import load_recipe
from xfer.recipe.recipe import Recipe
from xfer.system.doors import open_lines, parse_json, read_json
from xfer.system.outputs import read_record

ENV = "env.json"
LOCK = "run.lock"  # held by the one process that writes there


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs of a run, as in `metrics.jsonl`."""
    try:
        with open_lines(path / "metrics.jsonl", "metrics") as lines:
            return [_record(parse_json(line)) for line in lines]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: its metrics.jsonl cannot be read ({error})") from error


def _record(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or any(isinstance(value, list | dict) for value in content.values()):
        raise ValueError("a line holds no record of an epoch")
    return content


def read_result(path: Path) -> Mapping[str, Any]:
    """What `result.json` of a finished run says. Raises CheckpointError where there is none."""
    try:
        result = read_json(path / "result.json")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected the folder of a finished run, with a result.json ({error})") from error
    if not isinstance(result, dict):
        raise CheckpointError(f"{path}: its result.json holds no record of a run")
    return result


def backend_name(path: Path) -> str:
    """The backend that a run was last trained with. Raises CheckpointError."""
    try:
        return str(read_json(path / ENV)["backend"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its env.json names no backend ({error}). Cure: --backend NAME") from error


@dataclass(frozen=True)
class Places:
    """Where the data and the weights lie that a recipe names, from whatever folder it is asked; None: as it says.

    A path in a recipe is as it was given, so that recipes can be compared, and may be relative.
    """

    data: str | None = None
    weights: str | None = None


AS_GIVEN = Places()


def places_of(path: Path) -> Places:
    """What the run in that folder has written down. None for what is no longer where it was.

    A relative path in the recipe then leads to it where a run was moved with what it needs.
    """
    record = read_record(path / ENV)
    data, weights = record.get("data"), record.get("weights")
    return Places(
        data if isinstance(data, str) and is_there(data) else None,
        weights if isinstance(weights, str) and os.path.exists(weights) else None,
    )


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
    return load_recipe(path / "config.toml")


def is_run(path: Path) -> bool:
    return (path / "config.toml").exists()


def is_own(path: Path) -> bool:
    """Whether the files in a folder are those of a run, by what its `env.json` says, which is written first of all."""
    return {"backend", "device", "versions"} <= read_record(path / ENV).keys()


def is_finished(path: Path) -> bool:
    return (path / "result.json").exists() and not (path / STATE).exists()


STATE = "state.safetensors"
