"""Settings by dotted key, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A dotted key, with its value in each of several places; None where a place has no such key."""

    key: str
    values: tuple[Any, ...]


def flat(content: Any, *, lists: bool = True, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested tables by dotted key, such as `train.epochs`.

    lists   whether lists are taken apart too: `augment.train.0.op`
    """
    if lists and isinstance(content, list):
        content = {str(i): value for i, value in enumerate(content)}
    if not isinstance(content, Mapping):
        yield key, content
        return
    for name, value in content.items():
        yield from flat(value, lists=lists, key=f"{key}.{name}" if key else name)


def differing(places: Sequence[Mapping[str, Any]]) -> list[Setting]:
    """The dotted keys whose values are not the same everywhere, in the order in which they are first met."""
    keys = dict.fromkeys(key for place in places for key in place)
    settings = [Setting(key, tuple(place.get(key) for place in places)) for key in keys]
    return [setting for setting in settings if any(a != b for a, b in pairwise(setting.values))]
