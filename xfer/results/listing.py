"""The runs in a folder, with what is known of each: for a list that is sorted and filtered."""

from __future__ import annotations

import operator
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer.errors import CheckpointError, ConfigError, XferError, nearest
from xfer.results.read import METRICS, backend_name, is_finished, is_own, is_run, read_metrics, read_recipe, read_result
from xfer.results.records import RESULT_FIGURES
from xfer.tracking.logger import flat

FINISHED, UNFINISHED, DAMAGED = "finished", "unfinished", "damaged"
RUNS = "runs"  # where `xfer train` makes new ones
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_SAME = (operator.eq, operator.ne)
_DAY = 24 * 60 * 60  # seconds
_CONDITION = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*")


@dataclass(frozen=True)
class Listed:
    """A run in its folder.

    facts   by key: `state`, `written` (seconds since 1970, of its newest file), `days` since then, `bytes` of all its
            files; what `result.json` says, and each figure of it, `metrics.macro_f1`, or of one that is unfinished its
            best epoch so far; and each key of its recipe, `optimizer.lr`
    problem why it cannot be read, of a damaged one
    """

    path: Path
    facts: Mapping[str, Any]
    problem: str = ""


def list_runs(folders: Iterable[str | Path] = ()) -> list[Listed]:
    """The runs in these folders, or that are these folders themselves, oldest first; by default those in `runs`.

    Raises CheckpointError for a folder that is not there.
    """
    named = list(map(Path, folders))
    for folder in named:
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder}: there is no such folder, expected one with runs. Cure: xfer runs ls {RUNS}"
            )
    found = {path.resolve(): path for folder in named or [Path(RUNS)] for path in _runs_in(folder)}
    return sorted(map(_listed, found.values()), key=lambda run: (run.facts["written"], str(run.path)))


def _runs_in(folder: Path) -> Iterator[Path]:
    if _is_any(folder):
        yield folder
        return
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        inside = [Path(entry.path) for entry in entries if entry.is_dir()]
        yield from (path for path in inside if _is_any(path))


def _is_any(path: Path) -> bool:
    return is_run(path) and is_own(path)


def _listed(path: Path) -> Listed:
    facts = {"name": path.name, "state": FINISHED if is_finished(path) else UNFINISHED, **_files(path)}
    try:
        facts |= flat(read_recipe(path).model_dump(mode="json"))
        return Listed(path, facts | (_of_result(path) if is_finished(path) else _so_far(path, facts)))
    except XferError as error:
        return Listed(path, facts | {"state": DAMAGED}, str(error))


def _of_result(path: Path) -> dict[str, Any]:
    result = read_result(path)
    figures = (result.get("metrics") or {}).items()
    return result | {f"metrics.{name}": figure["value"] for name, figure in figures if _is_figure(figure)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, Mapping) and "value" in value


def _so_far(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run that has not ended, by the keys of a result."""
    history = read_metrics(path) if (path / METRICS).exists() else []
    known = {"backend": backend_name(path), "arch": facts["model.arch"], "dataset": facts["data.source"]}
    known |= {"epochs": len(history), "seed": facts["seed"]}
    for best in [epoch for epoch in history if epoch["best"]][-1:]:
        known |= {"best_epoch": best["epoch"]}
        known |= {key: best[key] for key in RESULT_FIGURES if key in best}
    return known


def _files(path: Path) -> dict[str, Any]:
    newest, size = 0.0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # it was half written
                status = os.lstat(os.path.join(folder, name))
                newest, size = max(newest, status.st_mtime), size + status.st_size
    return {"written": newest, "days": (time.time() - newest) / _DAY, "bytes": size}


def where(runs: Sequence[Listed], conditions: Iterable[str]) -> list[Listed]:
    """Those of which every condition holds: `backend=torch`, `val_accuracy>=0.9`, `optimizer.lr!=0.01`.

    Numbers are compared as such, anything else as texts; none is larger or smaller than one of the other kind, or than
    `none`. A run that does not know the key is not among them. Raises ConfigError for what is no condition, and for a
    key that none of the runs has.
    """
    left = list(runs)
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise ConfigError(f"--where {condition!r}: expected KEY=VALUE, or !=, <, <=, > or >= between them")
        key, sign, value = match.groups()
        refuse_unknown("--where", key, runs)
        left = [run for run in left if key in run.facts and _holds(run.facts[key], _COMPARE[sign], value)]
    return left


def refuse_unknown(flag: str, key: str, runs: Sequence[Listed]) -> None:
    """Raises ConfigError for a key that none of these runs has; where there are none, any key will do."""
    known = {name for run in runs for name in run.facts}
    if runs and key not in known:
        raise ConfigError(f"{flag} {key}: none of these runs has it.{nearest(key, known)} Cure: xfer runs ls --json")


def _holds(fact: Any, compare: Callable[[Any, Any], bool], value: str) -> bool:
    number, wanted = isinstance(fact, int | float) and not isinstance(fact, bool), _number(value)
    if number and wanted is not None:
        return compare(fact, wanted)
    if compare not in _SAME and (fact is None or number or wanted is not None):
        return False
    text = str(fact).lower() if isinstance(fact, bool) or fact is None else str(fact)
    return compare(text, value)


def _number(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    return None


def ordered(runs: Sequence[Listed], key: str) -> list[Listed]:
    """By a key, small before large, or the other way round with `-` before it. Runs that lack it come first.

    Raises ConfigError for a key that none of the runs has.
    """
    name = key.removeprefix("-")
    refuse_unknown("--sort", name, runs)
    lacking = [run for run in runs if run.facts.get(name) is None]
    having = [run for run in runs if run.facts.get(name) is not None]
    return lacking + sorted(having, key=lambda run: _rank(run.facts[name]), reverse=key != name)


def _rank(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, str(value))


def _score(facts: Mapping[str, Any]) -> float:
    """The figure by which runs are better: of one task they are all of one kind."""
    return float(facts.get("val_accuracy", facts.get("val_map", 0.0)))


def all_but_best(runs: Sequence[Listed], keep: int) -> list[Listed]:
    """The finished ones but for the `keep` best by validation accuracy or mAP, the lower loss where those are equal."""
    finished = [run for run in runs if run.facts["state"] == FINISHED]
    ranked = sorted(finished, key=lambda run: (-_score(run.facts), run.facts["val_loss"]))
    return ranked[keep:]
