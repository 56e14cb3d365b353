"""Broken groups, batches, steps and states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xfer.archs import LOGITS, is_statistic
from xfer.arrays import Float32
from xfer.backend import Backend, Batch, Lazy, ParamGroups
from xfer.testing.broken.mechanics import Array, Rates, Step, arguments, steps

CHANCE = np.random.default_rng()


def statistics_always_follow(g: ParamGroups) -> ParamGroups:
    statistics = frozenset(filter(is_statistic, g.frozen))
    return replace(g, frozen=g.frozen - statistics, updating=g.updating | statistics)


def statistics_never_follow(g: ParamGroups) -> ParamGroups:
    return replace(g, frozen=g.frozen | g.updating, updating=frozenset())


def one_is_forgotten(g: ParamGroups) -> ParamGroups:
    *names, last = g.trainable[0].names
    trainable = (replace(g.trainable[0], names=tuple(names)), *g.trainable[1:])
    return replace(g, trainable=trainable, frozen=g.frozen | {last})


def first_phase_for_ever(inner: Backend) -> Backend:
    seen: list[ParamGroups] = []

    def groups(g: ParamGroups) -> ParamGroups:
        seen.append(g)
        return seen[0]

    return arguments(groups=groups)(inner)


def last_groups_for_all(inner: Backend) -> Backend:
    """What the step made last has frozen, no other one moves."""
    made: list[ParamGroups] = []

    class Held(Step):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            made.append(self.groups)

        def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
            before = self.backend.export_weights(self.model)
            lazy = self.inner(parts, lrs)
            held = {name: before[name] for name in made[-1].frozen}
            self.backend.import_weights(self.model, {**self.backend.export_weights(self.model), **held})
            return lazy

    return steps(Held)(inner)


def all_decays(g: ParamGroups, decay: float) -> ParamGroups:
    return replace(g, trainable=tuple(replace(t, weight_decay=decay) for t in g.trainable))


def with_dropout(step: Step, batch: Batch) -> Batch:
    if batch.masks or step.start == "head":
        return batch
    features = step.backend.make_predict_step(step.model, step.start, "head")(batch.inputs)
    keep = np.random.default_rng(0).integers(0, 2, features.shape) * 2
    return replace(batch, masks={step.graph.head: keep.astype(np.float32)})


def filled_up(step: Step, batch: Batch) -> Batch:
    return _longer(batch, max(0, 8 - len(batch.inputs)))


def _longer(batch: Batch, more: int) -> Batch:
    """The last sample some more times; the loss is a mean over all."""
    inputs, targets = (np.concatenate([a, np.repeat(a[-1:], more, axis=0)]) for a in (batch.inputs, batch.targets))
    return Batch(inputs, targets, np.full(len(inputs), 1 / len(inputs), np.float32))


def twice_where_alone(step: Step, batch: Batch) -> Batch:
    return batch if len(batch.inputs) > 1 else _longer(batch, 1)


def hard_targets(step: Step, batch: Batch) -> Batch:
    classes = batch.targets.shape[1]
    return replace(batch, targets=np.eye(classes, dtype=np.float32)[batch.targets.argmax(axis=1)])


def equal_factors(step: Step, batch: Batch) -> Batch:
    return replace(batch, factors=np.full_like(batch.factors, batch.factors.mean()))


def one_factor(step: Step, batch: Batch) -> Batch:
    """The mean of those of a sample's classes."""
    return replace(batch, factors=batch.factors.reshape(len(batch.factors), -1).mean(axis=1))


class StepsForEachPart(Step):
    """As many updates as there are parts."""

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        lazies = [self.inner([part], lrs) for part in parts]

        def read() -> tuple[float, Float32]:
            losses, logits = zip(*(lazy() for lazy in lazies), strict=True)
            return sum(losses), np.concatenate(logits)

        return read


def scaled_features(step: Step, batch: Batch) -> Batch:
    return batch if batch.inputs.dtype == np.uint8 else replace(batch, inputs=batch.inputs * np.float32(1.01))


class MovesAFrozenOne(Step):
    """The first of the frozen weights moves with each step."""

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        lazy, weights = self.inner(parts, lrs), self.backend.export_weights(self.model)
        for name in sorted(name for name in self.groups.frozen if not is_statistic(name))[:1]:
            weights[name] += np.float32(0.5)
        self.backend.import_weights(self.model, weights)
        return lazy


class AddsByChance(Step):
    """A weight is in its last bits what no seed decides, as where threads add to it in an order of their own."""

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        lazy, weights = self.inner(parts, lrs), self.backend.export_weights(self.model)
        name = self.groups.trainable_names[0]
        weights[name] *= 1 + CHANCE.integers(-8, 9, weights[name].shape).astype(np.float32) * 2.0**-23
        self.backend.import_weights(self.model, weights)
        return lazy


class ClearsTargets(Step):
    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        lazy = self.inner([replace(part, targets=part.targets.copy()) for part in parts], lrs)
        for part in parts:
            part.targets[:] = 0
        return lazy


class FirstRates(Step):
    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        return self.inner(parts, vars(self).setdefault("rates", lrs))


class ReadsLatest(Step):
    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        vars(self)["latest"] = self.inner(parts, lrs)
        return lambda: vars(self)["latest"]()


class InferenceWhileUpdating(Step):
    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        predict = self.backend.make_predict_step(self.model, self.start, LOGITS)
        logits = np.concatenate([predict(part.inputs) for part in parts])
        lazy = self.inner(parts, lrs)
        return lambda: (lazy()[0], logits)


class _Statistics(Step):
    """Moves each statistic from `before` to something else than `after`."""

    def moved(self, name: str, before: Float32, after: Float32, n: int) -> Array:
        raise NotImplementedError

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        before = self.backend.export_weights(self.model)
        lazy = self.inner(parts, lrs)
        after = self.backend.export_weights(self.model)
        for name in self.groups.updating:
            after[name] = self.moved(name, before[name], after[name], len(parts[0].inputs)).astype(np.float32)
        self.backend.import_weights(self.model, after)
        return lazy


class ReversedMomentum(_Statistics):
    def moved(self, name: str, before: Float32, after: Float32, n: int) -> Array:
        return before + 9 * (after - before)


class BiasedVariance(_Statistics):
    def moved(self, name: str, before: Float32, after: Float32, n: int) -> Array:
        biased = 0.9 * before + (after - 0.9 * before) * (n - 1) / n
        return biased if name.endswith(".running_var") else after


class ForgetsState(Step):
    def import_state(self, state: Mapping[str, Array]) -> None:
        pass


class ForgetsCount(Step):
    def import_state(self, state: Mapping[str, Array]) -> None:
        self.inner.import_state({**state, "step": np.array(0, np.int64)})


class SharesState(Step):
    def export_state(self) -> dict[str, Array]:
        shared: dict[str, Array] = vars(self).setdefault("shared", {})
        state = self.inner.export_state()
        for key, value in state.items():
            shared.setdefault(key, value)[...] = value
        return {key: shared[key] for key in state}


class OwnSign(Step):
    def export_state(self) -> dict[str, Array]:
        return {k: v if k == "step" else -v for k, v in self.inner.export_state().items()}

    def import_state(self, state: Mapping[str, Array]) -> None:
        self.inner.import_state({k: v if k == "step" else -v for k, v in state.items()})


class StateOfFrozen(Step):
    def export_state(self) -> dict[str, Array]:
        return {f"m:{name}": np.zeros(1, np.float32) for name in self.groups.frozen} | self.inner.export_state()


class ReadsItsBatchLate(Step):
    """The loss is that of what stands in the batch when it is read."""

    @staticmethod
    def _sum(parts: Sequence[Batch]) -> float:
        return float(sum(part.inputs.sum() for part in parts))

    def __call__(self, parts: Sequence[Batch], lrs: Rates) -> Lazy:
        lazy, before = self.inner(parts, lrs), self._sum(parts)

        def late() -> tuple[float, Float32]:
            loss, logits = lazy()
            return loss + self._sum(parts) - before, logits

        return late
