"""The ways to break a backend from outside: replace a method, change what a step gets, or what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from xfer.backend import Backend, Batch, Lazy, LossSpec, Model, OptimizerSpec, ParamGroups, PredictStep, TrainStep
from xfer.testing.delegate import Delegate
from xfer.testing.kit import Law

Array = NDArray[Any]
Rates = Sequence[float]
Maker = Callable[[Backend], Backend]


@dataclass(frozen=True)
class Breakage:
    """`make(backend)` gives a backend for which each of `laws` fails, where it applies."""

    what: str
    make: Maker
    laws: tuple[Law, ...]


def replacing(**members: Callable[..., Any]) -> Maker:
    """Replace methods. Each replacement gets the healthy backend first, then what the method gets."""

    def make(inner: Backend) -> Backend:
        broken = Delegate(inner)
        for name, member in members.items():
            setattr(broken, name, partial(member, inner))
        return broken

    return make


def arguments(
    optimizer: Callable[[OptimizerSpec], OptimizerSpec] = lambda o: o,
    loss: Callable[[LossSpec], LossSpec] = lambda s: s,
    groups: Callable[[ParamGroups], ParamGroups] = lambda g: g,
) -> Maker:
    """Change what a train step is made of."""

    def make(inner: Backend, model: Model, o: OptimizerSpec, s: LossSpec, g: ParamGroups, start: str) -> TrainStep:
        return inner.make_train_step(model, optimizer(o), loss(s), groups(g), start)

    return replacing(make_train_step=make)


@dataclass(frozen=True)
class Step:
    """A healthy train step, and what it was made for. A subclass breaks it."""

    inner: TrainStep
    backend: Backend
    model: Model
    groups: ParamGroups
    start: str

    def __call__(self, batch: Batch, lrs: Rates) -> Lazy:
        return self.inner(batch, lrs)

    def export_state(self) -> dict[str, Array]:
        return self.inner.export_state()

    def import_state(self, state: Mapping[str, Array]) -> None:
        self.inner.import_state(state)


def steps(kind: type[Step]) -> Maker:
    """Put another kind of step in place of the healthy one."""

    def make(inner: Backend, model: Model, o: OptimizerSpec, s: LossSpec, g: ParamGroups, start: str) -> TrainStep:
        return kind(inner.make_train_step(model, o, s, g, start), inner, model, g, start)

    return replacing(make_train_step=make)


def calls(
    batch: Callable[[Step, Batch], Batch] = lambda step, b: b, rates: Callable[[Step, Rates], Rates] = lambda step, r: r
) -> Maker:
    """Change what each call of a train step gets."""

    class Changed(Step):
        def __call__(self, b: Batch, lrs: Rates) -> Lazy:
            return self.inner(batch(self, b), rates(self, lrs))

    return steps(Changed)


def predictions(change: Callable[[PredictStep, Array, str, str], Array]) -> Maker:
    """Change what a predict step does; `change` gets the healthy one, its inputs, and its two boundaries."""

    def make(inner: Backend, model: Model, start: str, stop: str) -> PredictStep:
        healthy = inner.make_predict_step(model, start, stop)
        return lambda inputs: change(healthy, inputs, start, stop)

    return replacing(make_predict_step=make)
