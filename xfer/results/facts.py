"""What a run's files say of it besides its figures: where its weights are from, what was frozen, when and how."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xfer.errors import XferError
from xfer.recipe.strategies import SHARES
from xfer.recipe.toml import read_toml
from xfer.results.read import read_environment
from xfer.system.doors import read_text

_SOURCES = {"imagenet": "ImageNet", "random": "random numbers"}
_FIRST_STAGE = "stem"
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d ", re.MULTILINE)


def facts(run_folder: Path) -> list[tuple[str, str]]:
    """(label, words) of what the resolved recipe, the log and `env.json` tell; what they do not tell is left out."""
    recipe, environment = _read(run_folder / "config.toml"), read_environment(run_folder)
    pairs = [("Weights from", _source(recipe)), ("Frozen", _frozen(recipe)), ("Last epoch at", _time(run_folder))]
    if environment is not None:
        pairs.append(("Made by", _command(environment.command)))
        pairs += [("Resumed by", _command(command)) for command in environment.resumed_by]
    return [(label, words) for label, words in pairs if words]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_toml(path)
    except XferError:
        return {}


def _source(recipe: Mapping[str, Any]) -> str:
    weights = recipe.get("weights", {})
    source = str(weights.get("source", ""))
    return _SOURCES.get(source, source) + (", what fits" if weights.get("partial") else "")


def _frozen(recipe: Mapping[str, Any]) -> str:
    """By phase where there are several that do not freeze the same."""
    default = recipe.get("train", {}).get("train_from")
    if (strategy := recipe.get("train", {}).get("strategy")) in SHARES:
        recipe = {"phases": [{"train_from": start} for start in SHARES[strategy]]}
    starts = [phase.get("train_from", default) for phase in recipe.get("phases", ())] or [default]
    if None in starts:
        return ""
    words = ["nothing" if start == _FIRST_STAGE else f"all stages before {start}" for start in starts]
    if len(set(words)) == 1:
        return words[0]
    return "; ".join(f"{word} in phase {number}" for number, word in enumerate(words, 1))


def _time(run_folder: Path) -> str:
    """Of the last line of the log, in the local time of the machine that trained."""
    try:
        times = _TIME.findall(read_text(run_folder / "log.txt", "metrics", errors="replace"))
    except OSError:
        return ""
    return str(times[-1]) if times else ""


def _command(command: list[str] | str | None) -> str:
    """The words of a command line as a shell takes them; of anything else what was written down, such as a call."""
    return shlex.join(command) if isinstance(command, list) else command or ""
