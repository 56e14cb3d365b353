"""What pydantic finds wrong in a recipe or a study, as one line with its cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from xfer.errors import expected, nearest
from xfer.recipe.names import MEANT, NEEDLESS, spelt
from xfer.recipe.recipe import Recipe
from xfer.section import Section

_LONGEST = 200  # characters of a value that a complaint repeats


def first(error: ValidationError, kind: type[Section]) -> str:
    """The first complaint, as what, expected, received."""
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one: the misspelling is the better news.
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    where, received = ".".join(map(str, problem["loc"])), problem["input"]
    if problem["type"] == "extra_forbidden":
        return _unknown(problem["loc"], kind)
    if problem["type"] == "union_tag_invalid":
        known = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        return expected(f"{where}.op", problem["ctx"]["tag"], known)
    if problem["type"] == "missing":
        return f"{where} is missing"
    return f"{_key(problem['loc'])} = {_shown(received)}: {_reason(problem)}"


def _key(place: Sequence[str | int]) -> str:
    """`train.views`, without the name of the one of its types that the complaint is about."""
    return ".".join(str(part) for part in place if str(part) != "constrained-int")


def _shown(received: Any) -> str:
    """Its middle is cut out where it is too long to be read."""
    text = repr(received)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"


def _reason(problem: Any) -> str:
    kind, bounds = problem["type"], problem.get("ctx", {})
    if kind in ("less_than_equal", "less_than"):
        most = bounds.get("le", bounds.get("lt"))
        bound = f"{most:,}" if isinstance(most, int) else f"{most:,.15g}"
        return f"expected {'at most' if 'le' in bounds else 'less than'} {bound}. Cure: a smaller number"
    if kind == "too_long":
        return f"{bounds['actual_length']:,} entries, expected at most {bounds['max_length']:,}. Cure: fewer"
    return str(problem["msg"])


def _unknown(place: Sequence[str | int], kind: type[Section]) -> str:
    """`train.lr` is unknown there: the keys that are not, and the one that is meant, wherever it lies."""
    *section, key = place
    known, where = _fields(section, kind), ".".join(map(str, place))
    if not known:
        return where
    where = where if where.isprintable() else repr(where)  # a quoted key may be any text
    complaint = f"unknown key {where}: expected one of {', '.join(known)}."
    return complaint + ((_cure(list(section), str(key)) if kind is Recipe else "") or nearest(key, known))


def _cure(section: list[str | int], key: str) -> str:
    """The key that is meant, in this section or another, by its own name or by that which other trainers give it."""
    meant, why = MEANT.get(spelt(key)), NEEDLESS.get(spelt(key))
    if why:
        return f" Cure: leave it out, as {why}"
    keys = places(key) or ([meant.key] if meant and meant.key else [])
    if keys:
        *meant_section, name = keys[0].split(".")
        if meant_section == section:
            return f" Did you mean {name!r}?"
        value = f" = {meant.value!r}" if meant and meant.value else ""
        return f" Cure: it is {' or '.join(keys)}{value}" + ("" if meant_section else ", before the first section")
    own = meant and meant.flag == f"--{spelt(key)}"  # `name` is --output for a command, and may be anything in a recipe
    return f" Cure: it is no key but a flag of xfer train, --{spelt(key)}" if own else ""


def places(key: str) -> list[str]:
    """The dotted keys that have this name, in whatever section."""
    sections = {name: field.annotation for name, field in Recipe.model_fields.items() if name != "phases"}
    return [f"{name}.{key}" for name, kind in sections.items() if key in _keys(_sections(kind))]


def _fields(section: Sequence[str | int], kind: type[Section]) -> list[str]:
    """The keys that are known at a place in a section of this kind."""
    models: list[type[Section]] = [kind]
    for part in section:
        if isinstance(part, str):
            inside = [m for model in models if (f := model.model_fields.get(part)) for m in _sections(f.annotation)]
            models = inside or [m for m in models if m.__name__ == part]  # an augmentation's place ends in its op
    return _keys(models)


def _keys(models: Sequence[type[Section]]) -> list[str]:
    return [key for model in models for key in model.model_fields]


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections within a type such as `tuple[Phase, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]
