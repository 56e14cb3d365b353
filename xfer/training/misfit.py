"""Whether a state is one that this run could have left: its point, its history, and every array in it.

The seal of the file says that nothing happened to it by chance. This is about states of other versions, and by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.errors import CheckpointError
from xfer.metrics import Epoch, evaluation
from xfer.nets.weights import unusable
from xfer.recipe import meaning
from xfer.recipe.endings import phases_of
from xfer.recipe.phases import PlannedPhase
from xfer.results.records import figures_of, history_faults
from xfer.training.average import SLOT
from xfer.training.loop import Point
from xfer.training.prepared import Prepared
from xfer.training.state import CURE, State, moved_until

_FRESH = Point().digest
SMALLEST, LARGEST = 1e-30, 1e30  # of the scale of a loss
Shapes = Mapping[str, tuple[int, ...]]
Arrays = Mapping[str, NDArray[Any]]


def refuse_misfit(p: Prepared, state: State, name: str) -> None:
    """Raises CheckpointError, with the `name` of the file, for the first field that is not what the run leaves."""
    for fault in _faults(p, state):
        raise CheckpointError(f"{name}: {fault}. {CURE}")


def _faults(p: Prepared, state: State) -> Iterator[str]:
    """In an order in which each may rely on what was looked at before."""
    phases = phases_of(p.recipe, figures_of(state.history))
    yield from _at(p, state.point, phases[-1].end)
    yield from _epochs(p, state.history, state.point)
    phase = _left_in(phases, state.point)
    moved = moved_until(p, phase.number)
    shapes = {name: p.net.shapes[name] for name in moved}
    yield from _named("weights", state.weights, shapes)
    yield from _optimizer(p, state, phase)
    n_val, classes = len(p.data.val.labels), len(p.data.classes)
    best = state.best_weights or {}
    if state.history:
        yield from _named("best_weights", best, shapes)
        logits = {"logits": state.logits, "best_logits": state.best_logits}
        present = {key: array for key, array in logits.items() if array is not None}
        yield from _named("", present, dict.fromkeys(logits, (n_val, classes)))
        yield from _evaluations(p, state)
    elif best or state.logits is not None or state.best_logits is not None:
        yield "holds best_weights or logits, and no epoch in its history"


def _at(p: Prepared, point: Point, epochs: int) -> Iterator[str]:
    """`epochs`: of all phases, as its history says."""
    count, size = len(p.data.train.labels), meaning.step_size(p.recipe)
    steps, done = math.ceil(count / size), min(count, point.step * size)
    if (point.epoch, point.step) < (0, 1) or point.epoch > epochs:
        yield f"point.epoch = {point.epoch}, expected at most {epochs}, and above 0 where no step was done"
    if point.step > (0 if point.epoch == epochs else steps):
        yield f"point.step = {point.step}, expected at most {steps}, and 0 behind the last epoch"
    if point.right > done:
        yield f"point.right = {point.right}, expected at most {done}, the pictures of {point.step} steps"
    if point.step == 0 and point.loss_sum:
        yield f"point.loss_sum = {point.loss_sum:g}, expected 0 where an epoch begins"
    if point.step and point.digest == _FRESH:
        yield "point.digest is that of a run without a step"


def _epochs(p: Prepared, history: Sequence[Epoch], point: Point) -> Iterator[str]:
    if len(history) != point.epoch:
        yield f"history has {len(history)} epochs, expected {point.epoch}, as point.epoch says"
    yield from (f"history.{fault}" for fault in history_faults(history, p.recipe))
    if history and point.step == 0 and point.digest != history[-1].batches_digest:
        yield f"history.{len(history) - 1}.batches_digest is not that of point"


def _left_in(phases: Sequence[PlannedPhase], point: Point) -> PlannedPhase:
    """The phase of the last step that was done."""
    last = point.epoch if point.step else point.epoch - 1
    return next(phase for phase in phases if last < phase.end)


def _named(part: str, arrays: Arrays, wanted: Shapes) -> Iterator[str]:
    """Names, shapes, types and numbers of float32 arrays."""
    label = f"{part}/" if part else ""
    for name in sorted(wanted.keys() - arrays.keys()):
        yield f"{label}{name} is missing"
    for name in sorted(arrays.keys() - wanted.keys()):
        yield f"unknown {label}{name}"
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.shape != wanted[name]:
            yield f"{label}{name} is {array.dtype} {array.shape}, expected float32 {wanted[name]}"
    if fault := unusable(arrays):
        yield f"{label}{fault}"


def _optimizer(p: Prepared, state: State, phase: PlannedPhase) -> Iterator[str]:
    rule, slots = meaning.optimizer_spec(p.recipe), dict(state.optimizer)
    steps = math.ceil(len(p.data.train.labels) / meaning.step_size(p.recipe))
    taken = (state.point.epoch - phase.first_epoch) * steps + state.point.step
    step = slots.pop("step", None)
    if step is None or step.dtype != np.int64 or step.shape != () or int(step) != taken:
        yield f"optimizer/step is {_received(step)}, expected int64 {taken}"
    if p.net.spec.precision == "float16":
        yield from _scaling(slots, taken)
    groups = p.groups[phase.number]
    wanted = {f"{kind}:{name}": p.net.shapes[name] for kind in rule.slots for name in groups.trainable_names}
    if p.recipe.train.ema is not None:
        wanted |= {SLOT + name: p.net.shapes[name] for name in groups.moving}
    yield from _named("optimizer", slots, wanted)
    for key, array in slots.items():
        if key.startswith("v:") and (array < 0).any():
            yield f"optimizer/{key} holds values below 0: it is a mean of squares"


def _scaling(slots: dict[str, NDArray[Any]], taken: int) -> Iterator[str]:
    """What a step in float16 has besides; it is taken out of the slots."""
    for key, kind, low, high in (
        ("loss_scale", np.float32, SMALLEST, LARGEST),
        ("growth", np.int64, 0, taken),
        ("skipped", np.int64, 0, taken),
    ):
        value = slots.pop(key, None)
        if value is None or value.dtype != kind or value.shape != () or not low <= value <= high:
            yield f"optimizer/{key} is {_received(value)}, expected {np.dtype(kind)} of {low:g} to {high:g}"


def _received(array: NDArray[Any] | None) -> str:
    """A number with its type, or whatever stands there in place of one."""
    if array is None:
        return "missing"
    return f"{array.dtype} {array.tolist() if array.size == 1 else array.shape}"


def _evaluations(p: Prepared, state: State) -> Iterator[str]:
    """The figures of the last epoch and the best one are those of the logits that go with them."""
    assert state.logits is not None, "looked at before"
    assert state.best_logits is not None, "looked at before"
    best = max(i for i, epoch in enumerate(state.history) if epoch.best)
    last = len(state.history) - 1
    for i, name, logits in ((last, "logits", state.logits), (best, "best_logits", state.best_logits)):
        epoch, result = state.history[i], evaluation(logits, p.data.val.labels)
        for key, value in result.figures.items():
            had = getattr(epoch, key)
            if had is None or not math.isclose(had, value, rel_tol=1e-6, abs_tol=1e-9):
                yield f"history.{i}.{key} = {had}, and {name} say {value:g}"
