"""The ways to break a backend from outside: replace a method, change what a step gets, or what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from xfer.backend import (
    Backend,
    Batch,
    Lazy,
    LossName,
    Model,
    NetworkSpec,
    OptimizerSpec,
    ParamGroups,
    PredictStep,
    TrainStep,
)
from xfer.graphs.graph import Graph
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
    groups: Callable[[ParamGroups], ParamGroups] = lambda g: g,
) -> Maker:
    """Change what a train step is made of."""

    def make(
        inner: Backend, model: Model, o: OptimizerSpec, s: LossName, g: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        return inner.make_train_step(model, optimizer(o), s, groups(g), start, cut)

    return replacing(make_train_step=make)


@dataclass(frozen=True)
class Step:
    """A healthy train step, and what it was made for. A subclass breaks it."""

    inner: TrainStep
    backend: Backend
    model: Model
    graph: Graph
    groups: ParamGroups
    start: str

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        return self.inner(parts, lrs)

    def export_state(self) -> dict[str, Array]:
        return self.inner.export_state()

    def import_state(self, state: Mapping[str, Array]) -> None:
        self.inner.import_state(state)


def steps(kind: type[Step]) -> Maker:
    """Put another kind of step in place of the healthy one."""

    def make(inner: Backend) -> Backend:
        broken, built = Delegate(inner), list[tuple[Model, Graph]]()

        def build(spec: NetworkSpec, device: str) -> Model:
            built.append((inner.build(spec, device), spec.graph))  # a model itself says nothing of its graph
            return built[-1][0]

        def make_train_step(
            model: Model, o: OptimizerSpec, s: LossName, g: ParamGroups, start: str, cut: str
        ) -> TrainStep:
            graph = next(graph for known, graph in built if known is model)
            return kind(inner.make_train_step(model, o, s, g, start, cut), inner, model, graph, g, start)

        vars(broken).update(build=build, make_train_step=make_train_step)
        return broken

    return make


def calls(
    batch: Callable[[Step, Batch], Batch] = lambda step, b: b, rates: Callable[[Step, Rates], Rates] = lambda step, r: r
) -> Maker:
    """Change what each call of a train step gets, part by part."""

    class Changed(Step):
        def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
            return self.inner([batch(self, part) for part in parts], rates(self, lrs))

    return steps(Changed)


def predictions(change: Callable[[PredictStep, Array, str, str], Array]) -> Maker:
    """Change what a predict step does; `change` gets the healthy one, its inputs, and its two boundaries."""

    def make(inner: Backend, model: Model, start: str, stop: str) -> PredictStep:
        healthy = inner.make_predict_step(model, start, stop)
        return lambda inputs: change(healthy, inputs, start, stop)

    return replacing(make_predict_step=make)
