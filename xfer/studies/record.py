"""The results of a study as they are kept and written: its runs, a row for each mode and backend, tests of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xfer.comparison.compare import Verdict
from xfer.comparison.statistics import Interval
from xfer.results.run import Run
from xfer.studies.plan import Planned
from xfer.system.files import json_text

OF_CLASSES = ("accuracy", "last_accuracy")
OF_LABELS = ("mean_average_precision", "last_mean_average_precision")
"""The figures of best and last epochs that runs and rows have, of the one task and of the other."""

FIGURES = ("Accuracy", "Mean average precision")
"""The same in words, by whether pictures have any number of labels."""


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

    accuracy  of the best epoch, which was chosen on the same images; `last_accuracy` of the last epoch. Of any number
              of labels both are None, and there are mean average precisions in their place
    macro_f1  of the best epoch; every class counts the same. Of any number of labels by thresholds out of fold
    fold      that it was validated with, of the study's; None where it has none
    jobs      how many runs shared the machine while this one was trained
    """

    mode: str
    backend: str
    seed: int
    fold: int | None
    folder: str
    device: str
    accuracy: float | None
    last_accuracy: float | None
    best_epoch: int
    n_val: int
    macro_f1: float
    seconds: float
    peak_memory: float | None
    jobs: int
    mean_average_precision: float | None = None
    last_mean_average_precision: float | None = None


@dataclass(frozen=True)
class Failed:
    """A run that failed, and why, in one line."""

    mode: str
    backend: str
    seed: int
    fold: int | None
    reason: str


@dataclass(frozen=True)
class Row:
    """All seeds of a mode on a backend. Means over them, with 95 % intervals where the seeds show any spread.

    accuracy, last_accuracy  None of any number of labels, which have mean average precisions in their place. Of folds
                             that is one ranking of the pictures of all of them, and there is none of last epochs
    interval, last_interval  of either; `best` is that of the best seed
    seconds, peak_memory  means, of a whole run and in bytes
    shared_machine        some of the runs were trained beside others, so that the seconds say little
    """

    mode: str
    backend: str
    devices: tuple[str, ...]
    seeds: tuple[int, ...]
    accuracy: float | None
    interval: Interval | None
    last_accuracy: float | None
    last_interval: Interval | None
    best: float
    macro_f1: float
    macro_f1_interval: Interval | None
    seconds: float
    peak_memory: float | None
    shared_machine: bool
    mean_average_precision: float | None = None
    last_mean_average_precision: float | None = None

    @property
    def several(self) -> bool:
        """Whether pictures have any number of labels."""
        return self.mean_average_precision is not None

    @property
    def figure(self) -> float:
        """What rows are told by: the accuracy, or the mean average precision, of best epochs."""
        found = self.mean_average_precision if self.several else self.accuracy
        assert found is not None, "a row has the figure of its task"
        return found

    @property
    def last_figure(self) -> float | None:
        """The same of last epochs."""
        return self.last_mean_average_precision if self.several else self.last_accuracy


@dataclass(frozen=True)
class PairedTest:
    """Two rows (by their place, from 0) on the same `n` images with the same seeds.

    Where each seed has a split of its own, both rows have it: they are compared seed by seed, and `n` counts the
    images of all splits, each once.

    splits      sets of validation images, 1 where all seeds have the same
    total       predictions that are compared: n x seeds where there is one split
    difference  accuracy of `other` minus that of `first`, with the pigeonhole interval over images and seeds; of any
                number of labels, of mean average precision
    p           of the exact sign-flip test over images; of any number of labels, over seeds. `p_adjusted` by Holm's
                method over all pairs of the study
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

    `folds`: into how many the pictures were parted; all that is said of a seed is then of the predictions that its
    networks made for the folds they were not trained on, and None where there are none.
    `splits`: how many different sets of validation images the runs have, 1 where all were validated on the same.
    """

    name: str
    margin: float
    n_val: tuple[int, int]
    splits: int
    folds: int | None
    rows: tuple[Row, ...]
    pairs: tuple[PairedTest | Unpaired, ...]
    runs: tuple[Finished, ...]
    failed: tuple[Failed, ...]

    @property
    def several(self) -> bool:
        """Whether pictures have any number of labels."""
        return any(row.several for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json_text(asdict(self)))
        for each in (*content["rows"], *content["runs"]):
            for key in OF_CLASSES if self.several else OF_LABELS:
                del each[key]
        return content


@dataclass(frozen=True)
class Group:
    """The runs of a row, by seed: one, or that of each fold in their order."""

    mode: str
    backend: str
    runs: dict[int, tuple[Run, ...]]
