"""What the runs of a study show: a row for each mode and backend, and each pair of rows tested on the same images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np

from xfer.comparison.compare import Verdict, verdict
from xfer.comparison.predicted import Predicted
from xfer.comparison.statistics import Interval
from xfer.comparison.whole import predicted_by
from xfer.errors import CheckpointError
from xfer.results.read import ENV, METRICS, read_environment
from xfer.results.run import Run
from xfer.studies.plan import Planned
from xfer.studies.splits import Validated, differences_of, unlike
from xfer.studies.statistics import difference_interval, holm, seed_interval, sign_flip
from xfer.system.files import json_text


@dataclass(frozen=True)
class Ended:
    """A run of a study that is there: trained just now, `before` (by an earlier call), or failed for a `reason`."""

    run: Planned
    number: int  # from 1, of `total`
    total: int
    before: bool
    result: Mapping[str, Any] | None
    reason: str | None


@dataclass(frozen=True)
class Finished:
    """A run. Accuracies are shares of the validation images; `folder` is relative to the study's.

    accuracy  of the best epoch, which was chosen on the same images; `last_accuracy` of the last epoch
    jobs      how many runs shared the machine while this one was trained
    """

    mode: str
    backend: str
    seed: int
    folder: str
    device: str
    accuracy: float
    last_accuracy: float
    best_epoch: int
    seconds: float
    peak_memory: float | None
    jobs: int


@dataclass(frozen=True)
class Failed:
    """A run that failed, and why, in one line."""

    mode: str
    backend: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Row:
    """All seeds of a mode on a backend. Means over them, with 95 % intervals where the seeds show any spread.

    seconds, peak_memory  means, of a whole run and in bytes
    shared_machine        some of the runs were trained beside others, so that the seconds say little
    """

    mode: str
    backend: str
    devices: tuple[str, ...]
    seeds: tuple[int, ...]
    accuracy: float
    interval: Interval | None
    last_accuracy: float
    last_interval: Interval | None
    best: float
    seconds: float
    peak_memory: float | None
    shared_machine: bool


@dataclass(frozen=True)
class PairedTest:
    """Two rows (by their place, from 0) on the same `n` images with the same seeds.

    Where each seed has a split of its own, both rows have it: they are compared seed by seed, and `n` counts the
    images of all splits, each once.

    splits      sets of validation images, 1 where all seeds have the same
    total       predictions that are compared: n x seeds where there is one split
    difference  accuracy of `other` minus that of `first`, with the pigeonhole interval over images and seeds
    p           of the exact sign-flip test over images; `p_adjusted` by Holm's method over all pairs of the study
    same        predictions that are identical, of `total`
    """

    first: int
    other: int
    seeds: tuple[int, ...]
    n: int
    splits: int
    total: int
    same: int
    difference: float
    interval: Interval
    p: float
    p_adjusted: float
    verdict: Verdict


@dataclass(frozen=True)
class Unpaired:
    """Two rows that cannot be tested against each other, and why."""

    first: int
    other: int
    reason: str


@dataclass(frozen=True)
class Study:
    """A study's results. `n_val`: the smallest and the largest number of validation images of a run.

    `splits`: how many different sets of validation images the runs have, 1 where all were validated on the same.
    """

    name: str
    margin: float
    n_val: tuple[int, int]
    splits: int
    rows: tuple[Row, ...]
    pairs: tuple[PairedTest | Unpaired, ...]
    runs: tuple[Finished, ...]
    failed: tuple[Failed, ...]

    def as_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json_text(asdict(self)))
        return content


@dataclass(frozen=True)
class Group:
    """The runs of a row, by seed."""

    mode: str
    backend: str
    runs: dict[int, Run]


def gather(planned: Sequence[Planned], parent: Path) -> list[Group]:
    """The finished runs of a study, grouped by mode and backend in the order of the plan."""
    grouped = groupby(planned, key=lambda run: (run.mode, run.backend))
    return [Group(*key, {run.seed: Run.load(parent / run.name) for run in runs}) for key, runs in grouped]


def summarise(name: str, groups: Sequence[Group], failed: Sequence[Failed], margin: float, seed: int = 0) -> Study:
    """Rows and tests. `margin` as of a comparison, `seed` of the bootstrap. Raises CheckpointError for a broken run."""
    finished = [[_finished(group, seed, run) for seed, run in group.runs.items()] for group in groups]
    counts = [run.result["n_val"] for group in groups for run in group.runs.values()]
    predicted = [{s: predicted_by(run) for s, run in group.runs.items()} for group in groups]
    return Study(
        name=name,
        margin=margin,
        n_val=(min(counts, default=0), max(counts, default=0)),
        splits=len({run.names for runs in predicted for run in runs.values()}),
        rows=tuple(map(_row, finished)),
        pairs=tuple(_pairs(groups, predicted, margin, seed)),
        runs=tuple(run for row in finished for run in row),
        failed=tuple(failed),
    )


def _finished(group: Group, seed: int, run: Run) -> Finished:
    environment, history = read_environment(run.path), run.history
    if environment is None or not history:
        missing = ENV if environment is None else METRICS
        raise CheckpointError(f"{run.path} lacks what a run leaves ({missing}). Cure: delete it, and repeat")
    return Finished(
        mode=group.mode,
        backend=group.backend,
        seed=seed,
        folder=f"{run.path.parent.name}/{run.path.name}",
        device=run.result["device"],
        accuracy=run.result["val_accuracy"],
        last_accuracy=history[-1]["val_accuracy"],
        best_epoch=run.result["best_epoch"],
        seconds=run.result["seconds_total"],
        peak_memory=run.result.get("peak_memory"),
        jobs=environment.jobs,
    )


def _row(runs: Sequence[Finished]) -> Row:
    best, last = [run.accuracy for run in runs], [run.last_accuracy for run in runs]
    memory = [run.peak_memory for run in runs if run.peak_memory is not None]
    return Row(
        mode=runs[0].mode,
        backend=runs[0].backend,
        devices=tuple(sorted({run.device for run in runs})),
        seeds=tuple(run.seed for run in runs),
        accuracy=float(np.mean(best)),
        interval=seed_interval(best),
        last_accuracy=float(np.mean(last)),
        last_interval=seed_interval(last),
        best=max(best),
        seconds=float(np.mean([run.seconds for run in runs])),
        peak_memory=float(np.mean(memory)) if memory else None,
        shared_machine=any(run.jobs > 1 for run in runs),
    )


def _pairs(
    groups: Sequence[Group], predicted: Sequence[Mapping[int, Predicted]], margin: float, seed: int
) -> Iterator[PairedTest | Unpaired]:
    splits = [{s: run.recipe.split_seed for s, run in group.runs.items()} for group in groups]
    rows = [{s: Validated(runs[s], splits[i][s]) for s in runs} for i, runs in enumerate(predicted)]
    pairs = [_test(i, j, rows[i], rows[j], seed) for i, j in combinations(range(len(groups)), 2)]
    adjusted = iter(holm([pair.p for pair in pairs if isinstance(pair, PairedTest)]))
    for pair in pairs:
        if isinstance(pair, PairedTest):
            p = next(adjusted)
            yield replace(pair, p_adjusted=p, verdict=verdict(pair.interval, p, margin))
        else:
            yield pair


def _test(
    i: int, j: int, first: Mapping[int, Validated], second: Mapping[int, Validated], seed: int
) -> PairedTest | Unpaired:
    """The test of two rows, on the seeds that both have; its p is not yet adjusted, and its verdict not yet known."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return Unpaired(i, j, "they share no seed")
    if reason := unlike([first[s] for s in seeds], [second[s] for s in seeds]):
        return Unpaired(i, j, reason)
    a, b = [first[s].predicted for s in seeds], [second[s].predicted for s in seeds]
    differences, validated = differences_of(a, b)
    p = sign_flip(differences.sum(axis=0))
    return PairedTest(
        first=i,
        other=j,
        seeds=tuple(seeds),
        n=differences.shape[1],
        splits=len({run.names for run in a}),
        total=int(validated.sum()),
        same=sum(int((x.predictions == y.predictions).sum()) for x, y in zip(a, b, strict=True)),
        difference=float(differences[validated].mean()),
        interval=difference_interval(differences, seed, None if validated.all() else validated),
        p=p,
        p_adjusted=p,
        verdict="not shown",
    )
