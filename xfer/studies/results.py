"""What the runs of a study show: a row for each mode and backend, and each pair of rows tested on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from pathlib import Path

import numpy as np

from xfer.comparison.compare import verdict
from xfer.comparison.labelled import RANKED, label_figures
from xfer.comparison.macro import macro_figures
from xfer.comparison.predicted import Predicted, pooled
from xfer.comparison.whole import predicted_by
from xfer.errors import CheckpointError
from xfer.multilabel import differ, several
from xfer.results.read import ENV, METRICS, read_environment
from xfer.results.run import Run
from xfer.studies.plan import Planned
from xfer.studies.ranked import Kept, ranked_difference
from xfer.studies.record import OF_CLASSES, OF_LABELS, Failed, Finished, Group, PairedTest, Row, Study, Unpaired
from xfer.studies.splits import Validated, differences_of, unlike
from xfer.studies.statistics import Difference, difference_interval, holm, seed_interval, sign_flip


def gather(planned: Sequence[Planned], parent: Path, folds: int | None = None) -> list[Group]:
    """The finished runs of a study, grouped by mode and backend in the order of the plan.

    Of a seed some of whose folds are missing there are none: it did not predict every picture.
    """
    groups = []
    for key, runs in groupby(planned, key=lambda run: (run.mode, run.backend)):
        seeds: dict[int, tuple[Run, ...]] = {}
        for run in runs:
            seeds[run.seed] = (*seeds.get(run.seed, ()), Run.load(parent / run.name))
        whole = {seed: each for seed, each in seeds.items() if len(each) == (folds or 1)}
        groups += [Group(*key, whole)] if whole else []
    return groups


def summarise(
    name: str, groups: Sequence[Group], failed: Sequence[Failed], margin: float, seed: int = 0, folds: int | None = None
) -> Study:
    """Rows and tests. `margin` as of a comparison, `seed` of the bootstrap. Raises CheckpointError for a broken run."""
    parts = [{s: [predicted_by(run) for run in runs] for s, runs in group.runs.items()} for group in groups]
    predicted = [{s: each[0] if folds is None else pooled(each) for s, each in row.items()} for row in parts]
    counts = [len(each.names) for row in predicted for each in row.values()]
    finished = [
        {s: [_finished(group, s, *pair, folds) for pair in zip(runs, parts[i][s], strict=True)] for s, runs in
         group.runs.items()}
        for i, group in enumerate(groups)
    ]  # fmt: skip
    return Study(
        name=name,
        margin=margin,
        n_val=(min(counts, default=0), max(counts, default=0)),
        splits=len({each.names for row in predicted for each in row.values()}),
        folds=folds,
        rows=tuple(_row(runs, shown) for runs, shown in zip(finished, predicted, strict=True)),
        pairs=tuple(_pairs(groups, predicted, margin, seed)),
        runs=tuple(run for row in finished for runs in row.values() for run in runs),
        failed=tuple(failed),
    )


def _finished(group: Group, seed: int, run: Run, predicted: Predicted, folds: int | None) -> Finished:
    environment, history = read_environment(run.path), run.history
    if environment is None or not history:
        missing = ENV if environment is None else METRICS
        raise CheckpointError(f"{run.path} lacks what a run leaves ({missing}). Cure: delete it, and repeat")
    figures = _figures(predicted)
    return Finished(
        mode=group.mode,
        backend=group.backend,
        seed=seed,
        fold=None if folds is None else run.recipe.data.fold,
        folder=f"{run.path.parent.name}/{run.path.name}",
        device=run.result["device"],
        accuracy=run.result.get("val_accuracy"),
        last_accuracy=history[-1].get("val_accuracy"),
        best_epoch=run.result["best_epoch"],
        n_val=run.result["n_val"],
        macro_f1=figures["macro_f1"],
        seconds=run.result["seconds_total"],
        peak_memory=run.result.get("peak_memory"),
        jobs=environment.jobs,
        mean_average_precision=figures.get(RANKED),
        last_mean_average_precision=history[-1].get("val_map"),
    )


def _figures(predicted: Predicted) -> dict[str, float]:
    return label_figures(predicted) if several(predicted.labels) else macro_figures(predicted)


def _row(seeds: Mapping[int, Sequence[Finished]], predicted: Mapping[int, Predicted]) -> Row:
    runs = [run for folds in seeds.values() for run in folds]
    figures = [_figures(predicted[seed]) for seed in seeds]
    macro = [each["macro_f1"] for each in figures]
    many = RANKED in figures[0]
    if many:  # of folds the pictures are ranked together; what the last epochs predicted is not kept
        best = [each[RANKED] for each in figures]
        last = [_of_all(folds, OF_LABELS[1]) for folds in seeds.values() if folds[0].fold is None]
    else:
        best, last = ([_of_all(folds, key) for folds in seeds.values()] for key in OF_CLASSES)
    means = float(np.mean(best)), float(np.mean(last)) if last else None
    accuracies, precisions = ((None, None), means) if many else (means, (None, None))
    memory = [run.peak_memory for run in runs if run.peak_memory is not None]
    return Row(
        mode=runs[0].mode,
        backend=runs[0].backend,
        devices=tuple(sorted({run.device for run in runs})),
        seeds=tuple(seeds),
        accuracy=accuracies[0],
        interval=seed_interval(best),
        last_accuracy=accuracies[1],
        last_interval=seed_interval(last),
        best=max(best),
        macro_f1=float(np.mean(macro)),
        macro_f1_interval=seed_interval(macro),
        seconds=float(np.mean([sum(run.seconds for run in folds) for folds in seeds.values()])),
        peak_memory=float(np.mean(memory)) if memory else None,
        shared_machine=any(run.jobs > 1 for run in runs),
        mean_average_precision=precisions[0],
        last_mean_average_precision=precisions[1],
    )


def _of_all(folds: Sequence[Finished], key: str) -> float:
    """A figure over the pictures of all folds, each fold's by its own network."""
    if len(folds) == 1:
        return float(getattr(folds[0], key))
    return float(np.average([getattr(run, key) for run in folds], weights=[run.n_val for run in folds]))


def _pairs(
    groups: Sequence[Group], predicted: Sequence[Mapping[int, Predicted]], margin: float, seed: int
) -> Iterator[PairedTest | Unpaired]:
    splits = [{s: runs[0].recipe.split_seed for s, runs in group.runs.items()} for group in groups]
    rows = [{s: Validated(runs[s], splits[i][s]) for s in runs} for i, runs in enumerate(predicted)]
    kept = Kept(seed)
    pairs = [_test(i, j, rows[i], rows[j], seed, kept) for i, j in combinations(range(len(groups)), 2)]
    many = any(several(run.labels) for row in predicted for run in row.values())
    adjusted = iter(holm([pair.p for pair in pairs if isinstance(pair, PairedTest)]))
    for pair in pairs:
        if isinstance(pair, PairedTest):
            p = next(adjusted)
            # Of seeds alone no p is below 2 ** (1 - S): rankings are judged by their interval.
            yield replace(pair, p_adjusted=p, verdict=verdict(pair.interval, 0.0 if many else p, margin))
        else:
            yield pair


def _test(
    i: int, j: int, first: Mapping[int, Validated], second: Mapping[int, Validated], seed: int, kept: Kept
) -> PairedTest | Unpaired:
    """The test of two rows, on the seeds that both have; its p is not yet adjusted, and its verdict not yet known."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return Unpaired(i, j, "they share no seed")
    if reason := unlike([first[s] for s in seeds], [second[s] for s in seeds]):
        return Unpaired(i, j, reason)
    a, b = [first[s].predicted for s in seeds], [second[s].predicted for s in seeds]
    found = ranked_difference(a, b, kept) if several(a[0].labels) else _right_difference(a, b, seed)
    return PairedTest(
        first=i,
        other=j,
        seeds=tuple(seeds),
        n=found.n,
        splits=len({run.names for run in a}),
        total=sum(len(run.names) for run in a),
        same=sum(int((~differ(x.predictions, y.predictions)).sum()) for x, y in zip(a, b, strict=True)),
        difference=found.value,
        interval=found.interval,
        p=found.p,
        p_adjusted=found.p,
        verdict="not shown",
    )


def _right_difference(first: Sequence[Predicted], second: Sequence[Predicted], seed: int) -> Difference:
    """In accuracy."""
    differences, validated = differences_of(first, second)
    return Difference(
        n=differences.shape[1],
        value=float(differences[validated].mean()),
        interval=difference_interval(differences, seed, None if validated.all() else validated),
        p=sign_flip(differences.sum(axis=0)),
    )
