"""Two or more runs side by side: what differs in how they were made, how good each is, and how sure that is.

The first run is the reference. Every other one is tested against it on the same validation images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from xfer.comparison.labelled import RANKED, label_differences, label_figures
from xfer.comparison.macro import Difference, macro_differences, macro_figures
from xfer.comparison.predicted import Predicted, mismatch
from xfer.comparison.statistics import Interval, mcnemar, paired_difference, wilson
from xfer.comparison.whole import predicted_by
from xfer.errors import CheckpointError, ConfigError, refuse_outside
from xfer.multilabel import NO_LABEL, differ, several, written
from xfer.recipe.keys import Setting, differing, flat
from xfer.recipe.recipe import MOST_SEED, Recipe
from xfer.results.records import CURE, Result, check_as
from xfer.results.run import Run

Verdict = Literal["equivalent", "different", "not shown"]
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Summary:
    """One run. Accuracy is a share in [0, 1] with its Wilson 95 % interval; `peak_memory` in bytes, where known.

    Of pictures with any number of labels it is that of whole pictures, with every label right (exact match), and there
    is `mean_average_precision` in place of `balanced_accuracy`.

    `precision` is what was computed in, whoever chose it.
    """

    path: str
    backend: str
    device: str
    precision: str
    accuracy: float
    interval: Interval
    macro_f1: float
    balanced_accuracy: float | None
    n_val: int
    loss: float
    best_epoch: int
    seconds_features: float
    seconds_training: float
    seconds_total: float
    peak_memory: float | None
    batches_digest: str
    mean_average_precision: float | None = None


@dataclass(frozen=True)
class Pair:
    """A run against the first on the same `n` images. `run` counts from 1, as they were given.

    difference  accuracy of this run minus that of the first, with its 95 % interval
    macro_f1, balanced_accuracy, mean_average_precision  the same of these; None where there is no such figure
    verdict     of the accuracy; of any number of labels, of the mean average precision
    p           of McNemar's exact test on the `only_first` and `only_this` images that one alone gets right
    gap         the largest difference of a class probability, at the image `gap_at`
    """

    run: int
    n: int
    same_predictions: int
    gap: float
    gap_at: str
    only_first: int
    only_this: int
    p: float
    difference: float
    interval: Interval
    macro_f1: Difference
    balanced_accuracy: Difference | None
    verdict: Verdict
    mean_average_precision: Difference | None = None


@dataclass(frozen=True)
class Unpaired:
    """A run that was validated on other images than the first, and why that is known."""

    run: int
    reason: str


@dataclass(frozen=True)
class Disagreement:
    """An image that some run takes for another class than the first does; None for a run validated on other images.

    `probabilities` are those of the predicted classes, `files` where each run read the image. Of any number of labels
    the texts have `|` between them, and there are no probabilities.
    """

    name: str
    label: str
    predicted: tuple[str | None, ...]
    probabilities: tuple[float | None, ...]
    files: tuple[str | None, ...]


@dataclass(frozen=True)
class Comparison:
    """`same_batches`: whether all runs were trained on the same batches, bit for bit and in the same order."""

    runs: tuple[Summary, ...]
    settings: tuple[Setting, ...]
    same_batches: bool
    margin: float
    pairs: tuple[Pair | Unpaired, ...]
    disagreements: tuple[Disagreement, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(runs: Sequence[Run], margin: float = 0.01, seed: int = 0) -> Comparison:
    """Compare runs with the first of them.

    margin  differences in accuracy below it count as none, in (0, 1)
    seed    of the bootstrap

    Raises ConfigError for fewer than two runs, a margin out of range or runs with other classes, CheckpointError for
    a run folder that lacks something, or whose files
    contradict each other.
    """
    if len(runs) < 2:
        raise ConfigError(f"compare: received {len(runs)} run, expected two or more. Cure: name another run folder")
    if not 0 < margin < 1:
        raise ConfigError(f"margin = {margin:g}: expected a share between 0 and 1, for instance 0.01 for one point")
    refuse_outside("seed", seed, 0, MOST_SEED)
    results = [check_as(Result, dict(run.result), f"{run.path}/result.json") for run in runs]
    first, *others = predicted = [predicted_by(run) for run in runs]
    summaries = tuple(map(_summary, runs, results, predicted))
    for run, candidate in zip(runs[1:], others, strict=True):
        if several(candidate.labels) != several(first.labels):
            raise ConfigError(
                f"{run.path} and {runs[0].path}: one tells classes apart, the other any number of labels (data.task). "
                "Cure: compare runs of one task"
            )
        if candidate.classes != first.classes:
            raise ConfigError(
                f"{run.path} knows the classes {', '.join(candidate.classes)}; {runs[0].path} knows "
                f"{', '.join(first.classes)}. Cure: compare runs on the same classes"
            )
    return Comparison(
        summaries,
        tuple(differing([_settings(run) for run in runs])),
        len({summary.batches_digest for summary in summaries}) == 1,
        margin,
        tuple(
            _explained(pair(number, first, candidate, margin, seed), runs[0].recipe, run.recipe)
            for number, (run, candidate) in enumerate(zip(runs[1:], others, strict=True), start=2)
        ),
        tuple(_disagreements(predicted)),
    )


def _summary(run: Run, r: Result, predicted: Predicted) -> Summary:
    many = several(predicted.labels)
    figures = label_figures(predicted) if many else macro_figures(predicted)
    right = int(predicted.right.sum()) if r.val_accuracy is None else round(r.val_accuracy * r.n_val)
    return Summary(
        path=str(run.path),
        backend=r.backend,
        device=r.device,
        precision=_precision(run),
        accuracy=right / r.n_val if r.val_accuracy is None else r.val_accuracy,
        interval=wilson(right, r.n_val),
        macro_f1=figures["macro_f1"],
        balanced_accuracy=figures.get("balanced_accuracy"),
        n_val=r.n_val,
        loss=r.val_loss,
        best_epoch=r.best_epoch,
        seconds_features=r.seconds_features,
        seconds_training=r.seconds_training,
        seconds_total=r.seconds_total,
        peak_memory=r.peak_memory,
        batches_digest=r.batches_digest,
        mean_average_precision=figures.get(RANKED),
    )


def _settings(run: Run) -> dict[str, Any]:
    """All that is said about how a run was made, by dotted key."""
    recipe = run.recipe.model_dump(mode="json", exclude_none=True)
    recipe["train"]["precision"] = _precision(run)
    environment = {key: run.result.get(key) for key in ("backend", "device", "versions")}
    return dict(flat(recipe | environment))


def _precision(run: Run) -> str:
    """What was computed in. Raises CheckpointError where the recipe left that to the device, and nothing says more."""
    used = str(run.result.get("precision") or run.recipe.train.precision)
    if used == "auto":
        raise CheckpointError(f"{run.path}/result.json: precision is missing, and its recipe says 'auto'. {CURE}")
    return used


def pair(run: int, first: Predicted, candidate: Predicted, margin: float, seed: int) -> Pair | Unpaired:
    """The paired statistics of run number `run` against the first."""
    if reason := mismatch(first, candidate):
        return Unpaired(run, reason)
    differences = candidate.right.astype(np.int64) - first.right
    only_first, only_this = int((differences < 0).sum()), int((differences > 0).sum())
    gaps = np.abs(candidate.probabilities - first.probabilities).max(axis=1)
    p, interval = mcnemar(only_first, only_this), paired_difference(differences, seed)
    between = label_differences if several(first.labels) else macro_differences
    figures = between(first, candidate, seed)
    ranked = figures.get(RANKED)
    return Pair(
        run=run,
        n=len(first.names),
        same_predictions=int((~differ(first.predictions, candidate.predictions)).sum()),
        gap=float(gaps.max()),
        gap_at=first.names[gaps.argmax()],
        only_first=only_first,
        only_this=only_this,
        p=p,
        difference=float(differences.mean()),
        interval=interval,
        macro_f1=figures["macro_f1"],
        balanced_accuracy=figures.get("balanced_accuracy"),
        mean_average_precision=ranked,
        verdict=verdict(interval, p, margin) if ranked is None else _of_ranking(ranked, margin),
    )


def _explained(pair: Pair | Unpaired, first: Recipe, recipe: Recipe) -> Pair | Unpaired:
    """With the seeds of the splits, where they are why the images are not the same."""
    seeds = first.split_seed, recipe.split_seed
    if isinstance(pair, Pair) or seeds[0] == seeds[1] or first.data.source != recipe.data.source:
        return pair
    why = f"split off with seed {seeds[0]} and with seed {seeds[1]}; cure: the same data.split_seed for both"
    return replace(pair, reason=f"{pair.reason}, {why}")


def verdict(interval: Interval, p: float, margin: float) -> Verdict:
    """What the interval of a difference shows. That a difference is not significant shows nothing.

    "different" also needs the exact test to agree: the bootstrap alone excludes 0 as soon as four images are right in
    one run only, and four fall to the same side by chance in one case of eight.
    """
    if -margin < interval.low and interval.high < margin:
        return "equivalent"
    excludes_zero = interval.low > 0 or interval.high < 0
    return "different" if excludes_zero and p < SIGNIFICANT else "not shown"


def _of_ranking(difference: Difference, margin: float) -> Verdict:
    """The same of a difference that no exact test is for. Without an interval nothing is shown, but of equal ones."""
    if difference.interval is None:
        return "equivalent" if difference.value == 0 else "not shown"
    return verdict(difference.interval, 0.0, margin)


def _disagreements(predicted: Sequence[Predicted]) -> Iterator[Disagreement]:
    first = predicted[0]
    paired = [run if mismatch(first, run) is None else None for run in predicted]
    guesses = np.stack([run.predictions for run in paired if run is not None])
    many = several(first.labels)

    def name(label: Any) -> str:
        return (written(label, first.classes) or NO_LABEL) if many else first.classes[label]

    def chance(run: Predicted, i: int) -> float | None:
        return None if many else float(run.probabilities[i, run.predictions[i]])

    for i in np.flatnonzero(np.any([differ(other, guesses[0]) for other in guesses], axis=0)):
        yield Disagreement(
            first.names[i],
            name(first.labels[i]),
            tuple(name(run.predictions[i]) if run else None for run in paired),
            tuple(chance(run, i) if run else None for run in paired),
            tuple(run.files[i] if run else None for run in paired),
        )
