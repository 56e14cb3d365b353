"""What the records in a run folder are to say, and how one that was read is held against that.

A key that is unknown may change the meaning of others, so it is refused like one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from xfer.backend import Precision
from xfer.errors import CheckpointError
from xfer.metrics import Count, Digest, Epoch, NonNegative, Place, Share, refuse_mixed
from xfer.recipe.complaints import first
from xfer.recipe.endings import Figures, ended_early, phases_of
from xfer.recipe.recipe import Recipe
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Scores
from xfer.section import Section
from xfer.system.doors import refuse_objects

RESULT_FIGURES = ("val_accuracy", "val_map", "val_exact_match", "val_loss", "train_accuracy", "train_exact_match")
"""What `result.json` repeats of the best epoch, as far as that has it."""

CURE = "Cure: the version of xfer that wrote it, or train again"
Kind = TypeVar("Kind", bound=Section)


class Resumed(Section):
    """One time that a run went on: where, and with which backend. Epochs count from 1, `step` those that were done."""

    epoch: Place
    step: Count
    backend: str


class Parent(Section):
    """The file that training started from, and what became of its head."""

    path: str
    weights_digest: Digest
    head: str


class EndedEarly(Section):
    """A phase that ended before its epochs were over, and the epoch of the run after which it did. Both from 1."""

    phase: Place
    epoch: Place


class Result(Section):
    """`result.json`. Accuracies are fractions, those of the best epoch; `peak_memory` in bytes, where it is known.

    precision     what was computed in; None of before it was written down: what the recipe says
    metrics       what `predictions.csv` shows, with intervals; None of before they were written down
    val_map       and what else an epoch has in place of accuracies where pictures have any number of labels, with
                  `label_metrics`, and the `thresholds` from which probability on a picture has each label
    ended_early   by `train.patience`; of before there was that, nothing
    """

    backend: str
    device: str
    precision: Precision | None = None
    arch: str
    dataset: str
    classes: Annotated[list[str], Field(min_length=1)]
    n_train: Place
    n_val: Annotated[int, Field(ge=1, le=2**53)]
    unvalidated: list[str]
    seed: Count
    epochs: Place
    ended_early: Annotated[list[EndedEarly], Field(default_factory=list)]
    best_epoch: Place
    val_accuracy: Share | None = None
    val_map: Share | None = None
    val_exact_match: Share | None = None
    val_loss: NonNegative
    train_accuracy: Share | None = None
    train_exact_match: Share | None = None
    metrics: Scores | None = None
    label_metrics: LabelScores | None = None
    thresholds: Annotated[list[Annotated[float, Field(gt=0, lt=1)]] | None, Field(min_length=1)] = None
    seconds_total: NonNegative
    seconds_features: NonNegative
    seconds_training: NonNegative
    peak_memory: Count | None
    images_per_second: Annotated[float, Field(gt=0)]
    parent: Parent | None
    batches_digest: Digest
    weights_digest: Digest
    versions: dict[str, str]
    resumed: list[Resumed]

    @model_validator(mode="after")
    def _best_is_one_of_them(self) -> Self:
        if self.best_epoch > self.epochs:
            raise ValueError(f"best_epoch is {self.best_epoch}, of {self.epochs} epochs")
        return self

    @model_validator(mode="after")
    def _metrics_are_of_the_same_pictures(self) -> Self:
        if self.metrics is not None and self.metrics.n != self.n_val:
            raise ValueError(f"metrics.n is {self.metrics.n}, of {self.n_val} validation pictures")
        if self.metrics is not None and len(self.metrics.by_class.support) != len(self.classes):
            raise ValueError(f"metrics.by_class has other classes than the {len(self.classes)} of classes")
        return self

    @model_validator(mode="after")
    def _of_one_task(self) -> Self:
        refuse_mixed(self)
        labels = self.label_metrics
        if self.val_map is None and (labels or self.thresholds):
            raise ValueError("unknown label_metrics or thresholds beside val_accuracy")
        if self.val_map is not None and (labels is None or self.thresholds is None or self.metrics is not None):
            raise ValueError("expected label_metrics and thresholds beside val_map, and no metrics")
        if labels is not None and labels.n != self.n_val:
            raise ValueError(f"label_metrics.n is {labels.n}, of {self.n_val} validation pictures")
        counts = [len(of) for of in (self.thresholds, labels.by_label.support if labels else None) if of is not None]
        if other := [count for count in counts if count != len(self.classes)]:
            raise ValueError(f"thresholds or label_metrics have {other[0]} labels, of {len(self.classes)} classes")
        return self


class Environment(Section):
    """`env.json`: what made a run, and where what it needs was found.

    command     the words of a command line, or else what made it; `resumed_by` the same of each that went on
    jobs        how many runs of a study shared the machine
    to_compare  which run from random weights has still to be made, and drawn beside this one
    """

    backend: str
    device: str
    precision: Precision | None = None
    versions: dict[str, str]
    data: str | None = None
    weights: str | None = None
    network: str | None = None
    python: str = ""
    platform: str = ""
    processors: Place | None = None
    oneDNN: str | None = None  # noqa: N815
    command: list[str] | str | None = None
    resumed_by: Annotated[list[list[str] | str | None], Field(default_factory=list)]
    jobs: Place = 1
    to_compare: Literal["small", "same"] | None = None


def figures_of(history: Sequence[Epoch]) -> list[Figures]:
    return [(epoch.score, epoch.val_loss) for epoch in history]


def early_ends(history: Sequence[Epoch], recipe: Recipe) -> list[dict[str, int]]:
    """What `result.json` says under `ended_early`."""
    return [{"phase": phase, "epoch": epoch} for phase, epoch in ended_early(recipe, figures_of(history))]


def history_faults(history: Sequence[Epoch], recipe: Recipe) -> Iterator[str]:
    """Where epochs are not as a run with this recipe counts and marks them: field, value, and what was expected."""
    gone_through = phases_of(recipe, figures_of(history))
    phases = [phase.number + 1 for phase in gone_through for _ in range(phase.epochs)]
    if len(history) > len(phases):
        yield f"{len(phases)}.epoch = {history[len(phases)].epoch}, expected at most {len(phases)}, as the recipe says"
    best = (-1.0, 0.0)
    for i, (epoch, phase) in enumerate(zip(history, phases, strict=False)):
        figures = epoch.score, -epoch.val_loss
        for key, value in {"epoch": i + 1, "phase": phase, "best": figures > best}.items():
            if getattr(epoch, key) != value:
                yield f"{i}.{key} = {getattr(epoch, key)}, expected {value}"
        best = max(best, figures)


def parse_as(kind: type[Kind], text: str, name: str, cure: str = CURE) -> Kind:
    """JSON. Raises CheckpointError with the `name` of what holds it, the first field that is wrong, and the cure."""
    try:
        refuse_objects(text.encode("utf-8", "surrogatepass"))
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise _complaint(error, kind, name, cure) from None
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}. {cure}") from None


def check_as(kind: type[Kind], content: Any, name: str, cure: str = CURE) -> Kind:
    """As `parse_as`, for what was read already."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _complaint(error, kind, name, cure) from None


def _complaint(error: ValidationError, kind: type[Section], name: str, cure: str) -> CheckpointError:
    problem = error.errors(include_url=False)[0]
    words = first(error, kind) if problem["loc"] else problem["msg"]
    return CheckpointError(f"{name}: {' '.join(words.split()).rstrip('.')}. {cure}")
