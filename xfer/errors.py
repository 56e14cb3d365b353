"""The one family of errors, and findings. A message says what was found, what was expected, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal


class XferError(Exception):
    """Anything a user can put right. The CLI prints it on one line and exits with code 2."""


class ConfigError(XferError):
    """A recipe, an override or a flag that cannot be meant."""


class DataError(XferError):
    """Pictures, folders, archives or downloads that cannot be used."""


class BackendError(XferError):
    """A framework or device that is absent, or that cannot do what was asked."""


class AbsentError(BackendError):
    """A framework that is not installed."""


class WeightsError(XferError):
    """A weights file that is missing, damaged, or of another network."""


class CheckpointError(XferError):
    """A run folder or checkpoint that cannot be read or written."""


@dataclass(frozen=True)
class Finding:
    """Something to be said that stops nothing: what is as it should be, what is for a look, or what is wrong."""

    level: Literal["ok", "warning", "problem"]
    text: str
    cure: str = ""

    def line(self, width: int = 8) -> str:
        """The level, in a column of this width, then the text and the cure."""
        return f"{self.level:{width}s}{self.text}" + (f". Cure: {self.cure}" if self.cure else "")


def expected(what: str, received: object, known: Iterable[str]) -> str:
    """The sentence for a name that is not among the known ones, with the nearest of them.

    >>> expected("train_from", "layer5", ["stem", "layer4", "head"])
    "train_from = 'layer5': expected one of stem, layer4, head. Did you mean 'layer4'?"
    """
    names = [str(k) for k in known]
    return f"{what} = {received!r}: expected one of {', '.join(names)}.{nearest(received, names)}"


def refuse_outside(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError for a number that is not in [low, high]; what is no number at all is in no range."""
    if low <= value <= high:
        return
    cure = "a larger number" if value < low else "a smaller number" if value > high else "a number"
    raise ConfigError(f"{name} = {value}: expected {low:,} to {high:,}. Cure: {cure}")


def nearest(received: object, known: Iterable[str]) -> str:
    """` Did you mean 'layer4'?`, or nothing where no known name is near."""
    near = get_close_matches(str(received), list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
