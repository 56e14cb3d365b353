"""A study: recipes x backends x seeds, trained, tabulated and tested against each other.

read_plan -> train what is not done -> summarise -> study.json, study.md, plots/, report.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from pydantic import ConfigDict

from xfer.errors import CheckpointError, ConfigError, refuse_outside
from xfer.recipe.overrides import StudyOverrides, overrides_of
from xfer.results.read import is_own
from xfer.results.records import check_as
from xfer.results.run import Run
from xfer.section import Section
from xfer.studies import text as study_text
from xfer.studies.plan import Name, Plan, read_plan
from xfer.studies.processes import is_done, is_foreign, log_name, train_all
from xfer.studies.record import Ended, Failed, Group, Study
from xfer.studies.report import draw, names, report
from xfer.studies.results import gather, summarise
from xfer.system.files import write_json, write_text
from xfer.system.locks import locked
from xfer.system.memory import refuse_memory
from xfer.system.outputs import read_record, refuse_foreign
from xfer.system.parts import parts, remove_abandoned, remove_parts

__all__ = ["Ended", "Plan", "Study", "events", "read_plan", "save", "study"]

RUNS = "runs"
LOCK = "study.lock"  # held by the one process that is at the study
MOST_JOBS = 256
PROCESS = 2**28  # bytes that one takes at least, with its framework


def study(
    source: str | Path,
    *,
    backends: Sequence[str] = (),
    seeds: int | Sequence[int] | None = None,
    folds: int | None = None,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    margin: float = 0.01,
    overwrite: bool = False,
    set: Mapping[str, Any] | None = None,
    **overrides: Unpack[StudyOverrides],
) -> Study:
    """Do all runs of a study that are not done, and give its results.

    source           a TOML file
    backends, seeds  in place of those the study says; `seeds` is a count or a list
    folds            runs for each seed, each validated with another part of the pictures: what is said of a seed is
                     then of all pictures
    weights          for the recipes that start from `imagenet`, never for those that start from random weights
    output           default: `studies/<name>`, with the runs in `runs/<mode>-<backend>-<seed>`
    jobs             runs at a time, 1 to MOST_JOBS
    margin           differences in accuracy, or mean average precision, below it count as none, in (0, 1)
    overwrite        do anew a finished run of another recipe that lies where one of these belongs, and write into
                     a folder that holds other things, which stay
    set, overrides   as for `xfer.train`, over every recipe

    Runs that fail are in the result's `failed`. Raises XferError, before anything is trained, for a study, a recipe
    or an output folder that cannot be meant.
    """
    changes = overrides_of(study, overrides, set) | ({} if data is None else {"data": str(data)})
    plan = read_plan(
        Path(source),
        backends=backends,
        seeds=seeds,
        folds=folds,
        weights=None if weights is None else str(weights),
        overrides=changes,
    )
    folder = None if output is None else Path(output)
    *_, results = events(plan, folder, device=device, jobs=jobs, margin=margin, overwrite=overwrite)
    assert isinstance(results, Study)
    return results


def events(
    plan: Plan,
    output: Path | None = None,
    *,
    device: str = "auto",
    jobs: int = 1,
    margin: float = 0.01,
    overwrite: bool = False,
) -> Iterator[Ended | Study]:
    """A study as it happens: each run as it ends, then the results. `study` gives the last alone."""
    refuse_outside("jobs", jobs, 1, MOST_JOBS)
    processes = min(jobs, len(plan.runs))
    refuse_memory(f"{processes} processes that train", processes * PROCESS, "fewer --jobs")
    if not 0 < margin < 1:
        raise ConfigError(f"margin = {margin:g}: expected a share between 0 and 1, for instance 0.01 for one point")
    output = output or Path("studies", plan.name)
    _refuse_foreign(plan, output, jobs, overwrite)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{output}: cannot be written ({error}). Cure: another --output") from error
    with locked(output / LOCK):
        yield from _events(plan, output, device, jobs, margin, overwrite)


def _events(
    plan: Plan, output: Path, device: str, jobs: int, margin: float, overwrite: bool
) -> Iterator[Ended | Study]:
    remove_parts(output, _files(plan))
    ended: dict[str, Ended] = {}
    for event in _run_all(plan, output / RUNS, device, jobs, overwrite):
        ended[event.run.name] = event
        yield event
    groups = gather([run for run in plan.runs if ended[run.name].reason is None], output / RUNS, plan.folds)
    failed = [
        Failed(run.mode, run.backend, run.seed, run.fold, reason)
        for run in plan.runs
        if (reason := ended[run.name].reason) is not None
    ]
    results = summarise(plan.name, groups, failed, margin, folds=plan.folds)
    save(results, groups, output)
    yield results


def _refuse_foreign(plan: Plan, folder: Path, jobs: int, overwrite: bool) -> None:
    """Raises CheckpointError for a folder that holds what is of no study. One that was killed has no `study.json`."""
    foreign: list[str] = []
    if not any(is_own(folder / RUNS / run.name) for run in plan.runs):
        backends = sorted({run.backend for run in plan.runs})
        logs = [f"logs/{log_name(backend, number)}" for backend in backends for number in range(1, jobs + 1)]
        foreign = [name for name in logs if is_foreign(folder / name)]
    ignored = [RUNS, LOCK] if foreign else [RUNS, LOCK, "logs"]
    refuse_foreign(folder, "study", [*_files(plan), *foreign], bool(_earlier_modes(folder)), overwrite, ignored)


def _files(plan: Plan) -> list[str]:
    """Every file that a study leaves, beside its runs and logs."""
    return _names_of(run.mode for run in plan.runs)


def _names_of(modes: Iterable[str]) -> list[str]:
    return ["study.json", "study.md", "report.html", *(f"plots/{name}" for name in names(modes))]


def sweep(folder: Path) -> None:
    """Take away what killed processes have left half written of the study in a folder, if it is one."""
    modes = _earlier_modes(folder)
    if modes or (folder / LOCK).exists():
        remove_abandoned(parts(folder, _names_of(modes)))


class _OfMode(Section):
    model_config = ConfigDict(extra="ignore")
    mode: Name  # names of files are made of it


class _Earlier(Section):
    runs: list[_OfMode]
    failed: list[_OfMode]


def _earlier_modes(folder: Path) -> list[str]:
    """Of the study whose results lie in a folder; none where there is none."""
    record = read_record(folder / "study.json")
    if not {"name", "margin", "rows", "runs", "failed"} <= record.keys():
        return []
    runs = {key: record[key] for key in ("runs", "failed")}
    earlier = check_as(_Earlier, runs, f"{folder / 'study.json'}", "Cure: remove it, and repeat")
    return [run.mode for run in (*earlier.runs, *earlier.failed)]


def _run_all(plan: Plan, parent: Path, device: str, jobs: int, overwrite: bool) -> Iterator[Ended]:
    done = [is_done(run, parent / run.name, device, overwrite) for run in plan.runs]  # refuses before anything starts
    before = [run for run, there in zip(plan.runs, done, strict=True) if there]
    to_do = [run for run, there in zip(plan.runs, done, strict=True) if not there]
    total = len(plan.runs)
    for number, run in enumerate(before, start=1):
        yield Ended(run, number, total, True, Run.load(parent / run.name).result, None)
    for number, (run, reason) in enumerate(train_all(to_do, parent, device, jobs), start=len(before) + 1):
        result = Run.load(parent / run.name).result if reason is None else None
        yield Ended(run, number, total, False, result, reason)


def save(results: Study, groups: Sequence[Group], folder: Path) -> None:
    """Write `study.json`, `study.md`, `plots/` and `report.html`. Raises CheckpointError where that cannot be done."""
    earlier = _earlier_modes(folder)
    try:
        write_json(folder / "study.json", results.as_json())
        write_text(folder / "study.md", study_text.markdown(results))
        report(results, draw(groups, folder / "plots", earlier), folder / "report.html")
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
