"""Whether the head in a file of weights is one for the classes of the data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from xfer.arrays import Float32, Weights
from xfer.errors import WeightsError
from xfer.formats.sealed import FORMAT
from xfer.nets.weights import Shapes

HeadPolicy = Literal["auto", "fresh", "keep"]


@dataclass(frozen=True)
class Head:
    """What becomes of the head.

    rows   of the file's head, in the order of the data's classes; None: it is made anew
    note   a line for the user, where there was a choice; else empty
    """

    rows: tuple[int, ...] | None = None
    note: str = ""

    @property
    def fate(self) -> Literal["kept", "fresh"]:
        return "fresh" if self.rows is None else "kept"

    def in_order(self, weights: Mapping[str, Float32], names: Sequence[str]) -> Weights:
        """The weights, those of the head in the order of the data's classes."""
        if self.rows is None:
            return dict(weights)
        return {**weights, **{name: weights[name][list(self.rows)] for name in names}}


FRESH = Head()


def choose_head(
    policy: HeadPolicy,
    weights: Mapping[str, Float32] | None,
    metadata: Mapping[str, str],
    names: Sequence[str],
    shapes: Shapes,
    classes: Sequence[str],
    source: str,
) -> Head:
    """The head of the file where its classes are those of the data by name, in any order, and `policy` allows it.

    weights   of the source; None where they are random
    names     of the head's weight and bias
    classes   of the data, in the order of their labels

    Raises WeightsError where `policy` is "keep" and there is no such head.
    """
    if policy == "fresh":
        return FRESH
    known = _classes(metadata)
    reason = ""
    if known is None:
        reason = "it does not name the classes of its head"
    elif sorted(known) != sorted(classes):
        reason = f"its head {_differences(known, classes)}"
    elif any(weights is None or name not in weights or weights[name].shape != shapes[name] for name in names):
        reason = "its head does not fit the network"
    if not reason and known is not None:
        order = "" if known == list(classes) else ", its rows in the order of the data"
        rows = {name: row for row, name in enumerate(known)}
        return Head(tuple(rows[name] for name in classes), f"head kept: {source} knows the {len(known)} classes{order}")
    if policy == "keep":
        raise WeightsError(f"weights.head = 'keep', but of {source}: {reason}. Cure: weights.head = 'fresh'")
    return Head(None, "" if known is None else f"head made anew: of {source}, {reason}")


def _classes(metadata: Mapping[str, str]) -> list[str] | None:
    """The classes in the metadata of a checkpoint of xfer's; None where there are none, or where one occurs twice."""
    if metadata.get("format") != FORMAT:
        return None
    try:
        classes = json.loads(metadata["classes"])
    except (KeyError, ValueError, RecursionError):
        return None
    whole = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return classes if whole and len(set(classes)) == len(classes) else None


def _differences(known: Sequence[str], classes: Sequence[str], most: int = 3) -> str:
    """The classes that only one of them has, in words."""
    missing, extra = ([repr(n) for n in a if n not in b] for a, b in ((classes, known), (known, classes)))
    parts = [f"lacks {_first(missing, most)}"] * bool(missing) + [f"has {_first(extra, most)} besides"] * bool(extra)
    return " and ".join(parts)


def _first(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
