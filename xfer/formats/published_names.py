"""Names that others than torchvision publish the weights of a network under, as data: `published_names.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from xfer.formats.mindspore_names import renamed

T = TypeVar("T")


@dataclass(frozen=True)
class Naming:
    """Of one family of networks.

    published_by  whose names they are, for messages
    told_by       what a name begins with where a file holds weights of this family
    begins        (regular expression of what a name begins with, what torchvision's begins with): the first that fits
    """

    published_by: str
    told_by: str
    begins: tuple[tuple[str, str], ...]

    def canonical(self, name: str) -> str:
        for pattern, canonical in self.begins:
            if match := re.match(pattern, name):
                return match.expand(canonical) + name[match.end() :]
        return name


@cache
def namings() -> tuple[Naming, ...]:
    rows = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(
        Naming(row["published_by"], row["told_by"], tuple((old, new) for old, new in row["begins"])) for row in rows
    )


def from_published_names(arrays: Mapping[str, T]) -> tuple[dict[str, T], str]:
    """torchvision's names for those of a naming, and who publishes under it; all as they are, and "", for others.

    WeightsError if two names become one.
    """
    for naming in namings():
        if any(name.startswith(naming.told_by) for name in arrays):
            found = renamed(arrays, naming.canonical)
            return found, naming.published_by if found.keys() != arrays.keys() else ""
    return dict(arrays), ""
