"""Recipes from TOML and overrides. What is not meant is refused in one line, with the nearest known key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from xfer.errors import ConfigError, expected
from xfer.recipe import complaints
from xfer.recipe.keys import flat
from xfer.recipe.names import FLAGS
from xfer.recipe.published import as_published
from xfer.recipe.recipe import Recipe
from xfer.recipe.shipped import find_recipe
from xfer.recipe.sizes import refuse_other_size
from xfer.recipe.toml import parse_value, read_toml
from xfer.section import Section

S = TypeVar("S", bound=Section)
DEMO = Path(__file__).with_name("demo.toml")
"""The recipe of those who ask for nothing in particular."""


def load_recipe(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a TOML recipe, or a shipped one by name (None: the defaults), and lay `overrides`, by dotted key, over it.

    Raises ConfigError, in one line, for a missing or broken file, an unknown key, a wrong type or a bad value.
    """
    name = "demo" if path == DEMO else str(path or "recipe")
    return make_recipe({} if path is None else read_toml(find_recipe(Path(path))), overrides or {}, name)


def as_recipe(recipe: Recipe | str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe, a TOML file, the name of a shipped one or (None) the defaults, with `overrides` laid over it."""
    if isinstance(recipe, Recipe):
        content = recipe.model_dump(mode="json", exclude_none=True)
        if "size" not in recipe.augment.model_fields_set:  # nobody asked for it: a network may have its own
            del content["augment"]["size"]
        return make_recipe(content, overrides)
    return load_recipe(recipe, overrides)


def make_recipe(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str = "recipe") -> Recipe:
    """Validate a parsed recipe with overrides by dotted key, or by a plain flag's name."""
    merged = json.loads(_as_json(content, name))
    for key, value in overrides.items():
        _put(merged, FLAGS.get(key, key), value)
    if merged.get("phases") and any(FLAGS.get(k, k) == "train.epochs" for k in overrides):
        raise ConfigError(f"{name}: epochs cannot be overridden, as each of its phases gives its own")
    recipe = validated(Recipe, merged, name)
    if (augment := as_published(recipe)) is not None:
        recipe = validated(Recipe, merged | {"augment": augment}, name)
    _ = recipe.augment.normalize
    if any(FLAGS.get(key, key) == "augment.size" for key in overrides):
        refuse_other_size(recipe.augment, name)
    return recipe


def validated(kind: type[S], content: Mapping[str, Any], name: str) -> S:
    """A section from what was parsed. Raises ConfigError, in one line that begins with `name`."""
    try:
        return kind.model_validate_json(_as_json(content, name))
    except ValidationError as error:
        raise ConfigError(f"{name}: {complaints.first(error, kind)}") from None


def as_recorded(content: Mapping[str, Any], name: str) -> Recipe:
    """The recipe that a run wrote down, with all its keys. One of before `train.precision` computed in float32."""
    recipe = make_recipe(content, {}, name)
    if "precision" in recipe.train.model_fields_set:
        return recipe
    return make_recipe(content, {"train.precision": "float32"}, name)


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=c` -> ("a.b", c), with c read as a TOML value, or as a plain string where it is none."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: expected key=value, for instance train.epochs=3")
    return key.strip(), parse_value(value, f"--set {key.strip()}")


def to_toml(recipe: Recipe) -> str:
    """The recipe with everything said, as TOML that gives the same recipe when it is read."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _as_json(content: Mapping[str, Any], name: str) -> str:
    # JSON is pydantic's strict mode with lists for tuples; what JSON lacks (dates) no recipe needs.
    try:
        text = json.dumps(content, ensure_ascii=False)
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:  # a name of a file may hold any bytes
        key, value = next((key, str(value)) for key, value in flat(content) if not _is_utf8(f"{key}{value}"))
        raise ConfigError(
            f"{name}: {key} = {value!r} is not UTF-8, as a recipe has to be. "
            "Cure: rename it, or use a link with another name"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: a value of a kind that no recipe needs ({error})") from None


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _put(content: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a key, such as `train.epochs` or, in a list that is there, `augment.train.0.size`."""
    *parents, last = dotted.split(".")
    place: Any = content
    for parent in parents:
        place = place[_index(place, parent, dotted)] if isinstance(place, list) else place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"{dotted}: {parent!r} is not a section of the recipe")
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    place[_index(place, last, dotted) if isinstance(place, list) else last] = value


def _index(entries: Sequence[Any], part: str, dotted: str) -> int:
    numbers = [str(number) for number in range(len(entries))]
    if part not in numbers:
        raise ConfigError(expected(f"{dotted}: number in the list", part, numbers or ["(it is empty)"]))
    return int(part)
