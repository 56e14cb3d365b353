"""The state of a run between two steps: plain data, from which the run goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import field_validator

from xfer.arrays import Float32, Int64, Weights
from xfer.backend import TrainStep
from xfer.errors import CheckpointError
from xfer.formats.sealed import read_sealed, write_sealed
from xfer.metrics import Digest, Epoch, Evaluation, NonNegative, better, evaluation
from xfer.nets.net import Net
from xfer.nets.weights import unusable
from xfer.recipe.endings import Figures
from xfer.results.records import Resumed, figures_of, parse_as
from xfer.section import Section
from xfer.system.files import json_text
from xfer.training.loop import Point, Tally
from xfer.training.prepared import Prepared

FORMAT = "xfer-state-1"
CURE = "Cure: start again with --overwrite; best.safetensors, if it is there, still predicts"


@dataclass(frozen=True)
class State:
    """All that decides what follows, besides the recipe, the data and the weights that training started from.

    weights        those that may have changed by now, at the names that some phase so far has not frozen
    optimizer      as `TrainStep.export_state` gives it, by canonical names: any backend goes on from it. With
                   `train.ema` the averages are among it
    history        the epochs so far; the last one marked `best` is the best
    logits         (n_val, C) after the last epoch, and after the best one; None before the first has ended
    best_weights   of the best epoch, at the names of `weights`
    seconds        of the whole run so far, `seconds_features` of these on the boundary cache
    resumed        {epoch, step, backend} of each time the run went on
    """

    point: Point
    weights: Weights
    optimizer: Mapping[str, NDArray[Any]]
    history: tuple[Epoch, ...] = ()
    logits: Float32 | None = None
    best_logits: Float32 | None = None
    best_weights: Mapping[str, Float32] | None = None
    seconds_features: float = 0.0
    seconds: float = 0.0
    resumed: tuple[Mapping[str, Any], ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it is of any use to go on from here."""
        return not unusable(self.weights) and not unusable(self.optimizer)


@dataclass(frozen=True)
class Standing:
    """What a run remembers between epochs. `best_weights` are those of all names."""

    history: tuple[Epoch, ...] = ()
    last: Evaluation | None = None
    best: Evaluation | None = None
    best_weights: Mapping[str, Float32] = field(default_factory=dict)
    seconds_features: float = 0.0

    @property
    def figures(self) -> list[Figures]:
        return figures_of(self.history)

    def after(self, epoch: Epoch, result: Evaluation, export: Callable[[], Weights]) -> Standing:
        """With one more epoch; `export` gives the weights, if it is the best so far."""
        if not better(result, self.best):
            return replace(self, history=(*self.history, epoch), last=result)
        history = (*self.history, epoch.model_copy(update={"best": True}))
        return Standing(history, result, result, export(), self.seconds_features)


BEGINNING = State(Point(), {}, {})
"""Of a run that has not taken a step: its weights are the first ones."""


def moved_until(p: Prepared, phase: int) -> list[str]:
    """The names that some phase up to this one, counted from 0, has not frozen: what a state holds."""
    return sorted({name for groups in p.groups[: phase + 1] for name in groups.moving})


def capture(net: Net, step: TrainStep, names: Collection[str], standing: Standing, at: Tally | Point) -> State:
    """The state between two steps, in copies. `names`: those that were not frozen all the time."""
    point, weights, best = at.point() if isinstance(at, Tally) else at, net.export(), standing.best
    return State(
        point=point,
        weights={name: weights[name] for name in names},
        optimizer=step.export_state(),
        history=standing.history,
        logits=standing.last.logits if standing.last else None,
        best_logits=best.logits if best else None,
        best_weights={name: standing.best_weights[name] for name in names} if best else None,
        seconds_features=standing.seconds_features,
    )


def restore(net: Net, state: State, val_labels: Int64) -> Standing:
    """Give the network, which has its first weights, those of the state; and what the run remembered then."""
    if not state.weights:
        return Standing()
    first = net.export()
    net.load({**first, **state.weights})
    if state.logits is None or state.best_logits is None or state.best_weights is None:
        return Standing(seconds_features=state.seconds_features)
    last, best = (evaluation(logits, val_labels) for logits in (state.logits, state.best_logits))
    return Standing(state.history, last, best, {**first, **state.best_weights}, state.seconds_features)


class _Record(Section):
    """All of a state that is no array."""

    point: Point
    history: tuple[Epoch, ...]
    seconds_features: NonNegative
    seconds: NonNegative
    resumed: tuple[Resumed, ...]

    @field_validator("point")
    @classmethod
    def _whole(cls, point: Point) -> Point:
        if missing := [key for key in Point.model_fields if key not in point.model_fields_set]:
            raise ValueError(f"{missing[0]} is missing")
        return point


class _Identity(Section):
    """As `xfer.training.resume.identity` makes it."""

    recipe: dict[str, Any]
    source_digest: Digest
    data_digest: Digest
    pictures: str
    backend: str
    network: Digest | None = None


_PLAIN = ("seconds_features", "seconds", "resumed")
_NAMED = ("weights", "optimizer", "best_weights")
_SINGLE = ("logits", "best_logits")


def write_state(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write it whole, with what it belongs to. Raises OSError, and then leaves the file that was there."""
    arrays = {f"{part}/{name}": a for part in _NAMED for name, a in (getattr(state, part) or {}).items()}
    arrays |= {part: a for part in _SINGLE if (a := getattr(state, part)) is not None}
    record = {key: getattr(state, key) for key in _PLAIN}
    record |= {"point": state.point.model_dump(), "history": [epoch.model_dump() for epoch in state.history]}
    write_sealed(path, arrays, {"format": FORMAT, "state": json_text(record), "identity": json_text(identity)})


def read_state(path: Path) -> tuple[State, dict[str, Any]]:
    """The state, and what it belongs to. Raises CheckpointError for a file that is damaged, or of another format.

    Whether it is a state of the run in whose folder it lies is not looked at: see `xfer.training.misfit`.
    """
    try:
        arrays, metadata = read_sealed(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}, so that the run cannot go on from it. {CURE}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {str(metadata.get('format'))[:40]!r}, expected {FORMAT!r}. {CURE}")
    if metadata.keys() != {"format", "state", "identity"}:
        keys = ", ".join(metadata)[:200]
        raise CheckpointError(f"{path}: metadata {keys}, expected format, state, identity. {CURE}")
    record = parse_as(_Record, metadata["state"], str(path), CURE)
    identity = parse_as(_Identity, metadata["identity"], f"{path}: identity", CURE)
    parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in _NAMED}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        if key not in _SINGLE and not (part in parts and name):
            raise CheckpointError(f"{path}: unknown array {key!r}. {CURE}")
        if key not in _SINGLE:
            parts[part][name] = array
    state = State(
        point=record.point,
        weights=parts["weights"],
        optimizer=parts["optimizer"],
        history=record.history,
        logits=arrays.get("logits"),
        best_logits=arrays.get("best_logits"),
        best_weights=parts["best_weights"] or None,
        seconds_features=record.seconds_features,
        seconds=record.seconds,
        resumed=tuple(resumed.model_dump() for resumed in record.resumed),
    )
    return state, identity.model_dump()
