"""What hears of a run while it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias


@dataclass(frozen=True)
class Started:
    """A run whose first step is to come; or one that goes on.

    path     its folder, which is there
    recipe   as its `config.toml` says, in plain values: sections, and keys in them
    backend  and `device`: their names
    history  the records of the epochs that are done, of a run that goes on. A logger may have heard of later ones
             before the run was stopped: they come again
    """

    path: Path
    recipe: Mapping[str, Any]
    backend: str
    device: str
    history: Sequence[Mapping[str, Any]] = ()


class Logger(Protocol):
    """Two methods. What either raises is said once, the logger hears no more, and training goes on."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """After each epoch, the record that `metrics.jsonl` has of it: plain values by name, `epoch` from 1."""
        ...

    def end(self, result: Mapping[str, Any] | None) -> None:
        """At the end, when all files of the run are written, what `result.json` says.

        None: the run was stopped or has failed, and may go on later.
        """
        ...


Factory: TypeAlias = Callable[[Started], Logger]
"""What a package declares in the entry-point group `xfer.loggers`."""


def figures(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record that can be drawn against its epoch."""
    numbers = {key: value for key, value in record.items() if isinstance(value, int | float)}
    return {key: float(value) for key, value in numbers.items() if key != "epoch" and not isinstance(value, bool)}


def flat(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The keys of a recipe as `--set` has them, `optimizer.lr`, with their values."""
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found
