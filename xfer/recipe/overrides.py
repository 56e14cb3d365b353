"""What is laid over a recipe from Python: keywords with types, and the cure for those of other trainers."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Container, Mapping
from typing import Any, Literal, TypedDict

from xfer.data.leaks import OnLeak
from xfer.errors import ConfigError, expected
from xfer.recipe.complaints import places
from xfer.recipe.names import FLAGS, MEANT, NEEDLESS, OTHER_VALUES, meant_value, spelt
from xfer.recipe.recipe import Recipe
from xfer.recipe.toml import parse_value

_KEYWORDS = {"--config": "recipe", "--quiet": "progress=False"}
"""Flag of `xfer train` -> what it is in Python, where that is not the flag's own name."""
_LONGEST = 80  # characters of a value that is repeated in a cure


class StudyOverrides(TypedDict, total=False):
    """What can be laid over every recipe of a study, by the flags' names: `FLAGS` has their keys in the recipe.

    Data, weights and seeds are other arguments of a study.
    """

    on_leak: OnLeak
    arch: str
    size: int
    train_from: str
    epochs: int
    batch_size: int
    views: int | Literal["fresh", "auto"]
    lr: float
    fast: bool


class Overrides(StudyOverrides, total=False):
    """What can be laid over a recipe, by the flags' names."""

    data: str | os.PathLike[str]
    weights: str | os.PathLike[str]
    seed: int


def overrides_of(
    verb: Callable[..., Any], keywords: Mapping[str, Any], more: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The overrides by plain name or dotted key: the keywords that a verb was called with, and `more` of its `set`.

    Raises ConfigError for a keyword that is no override, with the argument of the verb, or the key, that is meant.
    """
    parameters = inspect.signature(verb).parameters.values()
    arguments = dict.fromkeys([*(p.name for p in parameters if p.kind != p.VAR_KEYWORD), *FLAGS])
    for name, value in keywords.items():
        if name in FLAGS or "." in name or (name in Recipe.model_fields and isinstance(value, Mapping | list | tuple)):
            continue
        if why := NEEDLESS.get(spelt(name)):
            raise ConfigError(f"{name}: no argument of xfer.{verb.__name__}. Cure: leave it out, as {why}")
        if cure := _cure(name, value, arguments):
            raise ConfigError(f"{name}: no argument of xfer.{verb.__name__}. Cure: {cure}")
        raise ConfigError(expected(f"argument of xfer.{verb.__name__}", name, arguments))
    return {**keywords, **(more or {})}


def _cure(name: str, value: Any, arguments: Container[str]) -> str:
    """What stands for this keyword and its value; "" for nothing."""
    meant = MEANT.get(spelt(name))
    text = "" if value is None else str(value)
    if meant and meant.flag:
        keyword = _KEYWORDS.get(meant.flag, meant.flag[2:].replace("-", "_"))
        given = _shown(meant_value(meant.flag, meant.value, text), value, OTHER_VALUES.get(meant.flag, ""))
        argument = keyword if "=" in keyword else f"{keyword}={given}"
        if keyword == "folds" and keyword not in arguments:  # several runs are another verb
            return f"xfer.cross_validate(..., {argument})"
        return argument if argument.partition("=")[0] in arguments else ""
    keys = places(name)
    if meant and not keys:
        return f"set={{{meant.key!r}: {_shown(meant_value(meant.key, meant.value, text), value)}}}"
    return " or ".join(f"set={{{key!r}: {_shown(text, value)}}}" for key in keys)


def _shown(text: str, value: Any, otherwise: str = "") -> str:
    """A value in Python: the one that was given, where its text is that; `...` where there is no telling."""
    if not text:
        return repr(otherwise) if otherwise else "..."
    value = value if text == str(value) else parse_value(text, "")
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    shown = repr(value)
    plain = isinstance(value, str | int | float | tuple | list)
    return shown if plain and len(shown) <= _LONGEST and shown.isprintable() else "..."
