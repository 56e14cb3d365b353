"""Loggers by their names, and a run's own: what one of them raises is said once, and ends nothing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from xfer.errors import AbsentError, ConfigError, expected
from xfer.tracking.logger import Factory, Logger, Started

GROUP = "xfer.loggers"
VARIABLE = "XFER_LOGGERS"
"""Of the environment: names, between commas or blanks, for runs that are asked for without any."""


def declared() -> dict[str, EntryPoint]:
    """Name -> entry point of every logger that an installed package declares, importable or not."""
    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load_loggers(asked: Sequence[str | Factory] = ()) -> dict[str, Factory]:
    """Name -> what makes it, imported. Of none that are asked for, those that the environment names.

    Raises ConfigError for a name that no package declares, and AbsentError for one whose package is not there.
    """
    names = asked or os.environ.get(VARIABLE, "").replace(",", " ").split()
    return dict(map(_loaded, names))


def _loaded(name: str | Factory) -> tuple[str, Factory]:
    if not isinstance(name, str):
        return getattr(name, "__name__", type(name).__name__), name
    known = declared()
    if name not in known:
        raise ConfigError(expected("logger", name, known))
    try:
        factory: Factory = known[name].load()
    except ImportError as error:
        reason, cure = " ".join(str(error).split()), f"pip install '{_package(known[name])}'"
        raise AbsentError(f"logger '{name}' cannot be imported ({reason}). Cure: {cure}") from error
    return name, factory


def _package(entry: EntryPoint) -> str:
    if entry.dist is None:
        return entry.module.partition(".")[0]
    extras = entry.dist.metadata.get_all("Provides-Extra") or ()
    return f"{entry.dist.name}[{entry.name}]" if entry.name in extras else entry.dist.name


class Loggers:
    """Those of one run. Each that raises is dropped, with one warning."""

    def __init__(self, factories: Mapping[str, Factory], started: Started) -> None:
        self.loggers: dict[str, Logger] = {}
        for name, make in factories.items():
            self._try(name, partial(self._open, name, make, started))

    def epoch(self, record: Mapping[str, Any]) -> None:
        for name, logger in list(self.loggers.items()):
            self._try(name, partial(logger.epoch, record))

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Once: later calls do nothing."""
        for name, logger in list(self.loggers.items()):
            self._try(name, partial(logger.end, result))
        self.loggers.clear()

    def _open(self, name: str, make: Factory, started: Started) -> None:
        self.loggers[name] = make(started)

    def _try(self, name: str, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # a stranger's code, or a server that is gone
            self.loggers.pop(name, None)
            reason = " ".join(str(error).split())
            warnings.warn(f"logger '{name}' hears no more of this run: {type(error).__name__}: {reason}", stacklevel=2)


@contextmanager
def followed(factories: Mapping[str, Factory], started: Started) -> Iterator[Loggers]:
    """At the end, loggers that were not told how the run ended hear that it was left."""
    loggers = Loggers(factories, started)
    try:
        yield loggers
    finally:
        loggers.end(None)
