"""Laws of freezing, of gradients, and of where a batch may enter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import LOGITS, is_statistic
from xfer.arrays import Weights
from xfer.backend import Backend, Batch, OptimizerSpec, ParamGroups
from xfer.losses import LossSpec
from xfer.testing.case import Case, CaseStep
from xfer.testing.kit import (
    CLOSE,
    SGD,
    Bench,
    Law,
    assert_all_close,
    assert_close,
    assert_same,
    changed,
    make_groups,
    needs_norm_layers,
    needs_sight,
    prepare,
)
from xfer.testing.laws.statistics import batch_statistics, needs_variance
from xfer.testing.reference import cross_entropy


def assert_step_changes_the_unfrozen(bench: Bench, groups: ParamGroups, start: str | None = None) -> None:
    """Two steps, with some decay so that a weight whose gradient happens to be zero moves too."""
    before = bench.export()
    step = bench.step(groups, start=start)
    for seed in (0, 1):
        batch = bench.features(4, seed) if start == "head" else bench.batch(4, seed)
        step(batch, (0.05,) * len(groups.trainable))()
    moved = changed(before, bench.export())
    wanted = set(before) - groups.frozen
    drifted, stuck = sorted(moved - wanted), sorted(wanted - moved)
    assert not drifted, f"{len(drifted)} frozen arrays were changed by a step, among them {drifted[:4]}"
    assert not stuck, f"{len(stuck)} arrays that are not frozen stayed as they were, among them {stuck[:4]}"


def training_the_head_changes_only_the_head(backend: Backend, device: str, arch_name: str) -> None:
    """And no statistic, though the batches run through all norm layers."""
    bench = prepare(backend, device, arch_name)
    assert_step_changes_the_unfrozen(bench, bench.groups("head", decay=0.1))


def training_the_last_stages_changes_only_them(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    last = bench.arch.stage_names[-2:]
    assert_step_changes_the_unfrozen(bench, bench.groups(*last, updating=last, decay=0.1))


def training_everything_changes_everything(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    stages = bench.arch.stage_names
    assert_step_changes_the_unfrozen(bench, bench.groups(*stages, updating=stages, decay=0.1))


def frozen_statistics_stay_in_trained_layers(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    needs_norm_layers(bench)
    assert_step_changes_the_unfrozen(bench, bench.groups(*bench.arch.stage_names, decay=0.1))


def statistics_follow_in_frozen_layers(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    needs_norm_layers(bench)
    assert_step_changes_the_unfrozen(bench, bench.groups("head", updating=bench.arch.stage_names, decay=0.1))


def biases_alone_can_be_trained(backend: Backend, device: str, arch_name: str) -> None:
    """A policy may cut across layers: here every vector is trained and no matrix."""
    bench = prepare(backend, device, arch_name)
    vectors = tuple(n for n, w in bench.weights.items() if w.ndim == 1 and not is_statistic(n))
    assert_step_changes_the_unfrozen(bench, make_groups(bench.weights, [(vectors, 0.1)]))


def phases_follow_each_other_on_one_model(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    stages = bench.arch.stage_names
    for groups, start in (
        (bench.groups("head", decay=0.1), "head"),
        (bench.groups(*stages, updating=stages, decay=0.1), None),
        (bench.groups("head", decay=0.1), None),
    ):
        assert_step_changes_the_unfrozen(bench, groups, start)


def a_later_step_changes_no_earlier_one(backend: Backend, device: str, arch_name: str) -> None:
    """Two steps of one model, the second for the head alone: the first trains everything all the same."""
    bench = prepare(backend, device, arch_name)
    groups = bench.groups(*bench.arch.stage_names, updating=bench.arch.stage_names, decay=0.1)
    first, second = bench.step(groups), bench.step(bench.groups("head", decay=0.1))
    for step, group in ((second, 1), (first, len(groups.trainable))):
        before = bench.export()
        step(bench.batch(4), (0.05,) * group)()
        moved = changed(before, bench.export())
    stuck = sorted(set(before) - moved)
    assert not stuck, f"a step that is older than another left {len(stuck)} arrays as they were, among them {stuck[:4]}"


def training_without_keep_is_inference(backend: Backend, device: str, arch_name: str) -> None:
    """With frozen statistics and no keep mask, a step sees the logits that predicting gives: no dropout of its own."""
    bench = prepare(backend, device, arch_name)
    batch = bench.batch()
    wanted = bench.predict(batch.inputs)
    for trained in (("head",), bench.arch.stage_names):
        _, logits = bench.still(bench.groups(*trained), batch)
        assert_close(logits, wanted, CLOSE, f"logits in training {', '.join(trained)}, against predicting")


def _gradient(bench: Bench, step: CaseStep, batch: Case, names: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """What a step at rate 1 takes away."""
    step(batch, (1.0,))()
    after = bench.export()
    return {name: bench.weights[name].astype(np.float64) - after[name] for name in names}


def _assert_slope(
    bench: Bench, gradient: Mapping[str, NDArray[np.float64]], loss: Callable[[], float], what: str
) -> None:
    """The slope of the loss along a gradient is the gradient's norm, by central differences."""
    squared = sum(float((g**2).sum()) for g in gradient.values())
    assert squared > 0, f"no gradient reaches {what}"
    distance = 0.003 / squared  # the loss moves by 0.003: far above rounding, and across few kinks of the ReLUs
    losses = []
    for sign in (1, -1):
        bench.reset({n: (bench.weights[n] + sign * distance * g).astype(np.float32) for n, g in gradient.items()})
        losses.append(loss())
    assert_close((losses[0] - losses[1]) / (2 * distance), squared, 0.02, f"slope along the gradient of {what}")


def gradient_is_the_slope_of_the_loss(backend: Backend, device: str, arch_name: str) -> None:
    """Stage by stage."""
    bench = prepare(backend, device, arch_name)
    needs_sight(bench)
    batch, groups = bench.batch(), bench.groups(*bench.arch.stage_names)
    gradient = _gradient(bench, bench.step(groups), batch, groups.trainable_names)
    predict = backend.make_predict_step(bench.model, bench.first, LOGITS)
    for stage in bench.arch.stage_names:
        part = {name: g for name, g in gradient.items() if bench.arch.stage_of(name) == stage}
        _assert_slope(bench, part, lambda: cross_entropy(predict(batch.inputs), batch.labels, LossSpec()), stage)


def gradient_passes_through_batch_statistics(backend: Backend, device: str, arch_name: str) -> None:
    """Where statistics follow, the loss depends on the weights through mean and variance of the batch too."""
    bench = prepare(backend, device, arch_name)
    needs_norm_layers(bench)
    stages = bench.arch.stage_names
    batch, groups = bench.batch(), bench.groups(*stages, updating=stages)
    needs_variance(bench, batch_statistics(bench, batch))
    bench.reset()
    step = bench.step(groups)
    gradient = _gradient(bench, step, batch, groups.trainable_names)
    body = {name: g for name, g in gradient.items() if bench.arch.stage_of(name) != "head"}
    _assert_slope(bench, body, lambda: step(batch, (0.0,))()[0], "everything but the head")


def rates_and_decays_belong_to_their_groups(backend: Backend, device: str, arch_name: str) -> None:
    """One group per stage, last stage first, each with its own rate and decay: w - rate * (gradient + decay * w)."""
    bench = prepare(backend, device, arch_name)
    batch, stages = bench.batch(), bench.arch.stage_names
    bench.step(bench.groups(*stages))(batch, (1.0,))()
    after = bench.export()
    members = [tuple(n for n in bench.names_in(stage) if not is_statistic(n)) for stage in reversed(stages)]
    decays, rates = (0.5 ** np.arange(len(members)), 0.3 ** np.arange(len(members)))
    groups = make_groups(bench.weights, list(zip(members, decays.tolist(), strict=True)))
    bench.reset()
    bench.step(groups)(batch, rates.tolist())()
    actual = bench.export()
    for group, rate in zip(groups.trainable, rates, strict=True):
        for name in group.names:
            w = bench.weights[name].astype(np.float64)
            wanted = rate * (w - after[name] + group.weight_decay * w)
            what = f"{name}, of rate {rate:.2g} and decay {group.weight_decay:.2g}"
            assert_close(w - actual[name], wanted, 1e-3, what)


def batches_may_enter_at_any_boundary(backend: Backend, device: str, arch_name: str) -> None:
    """Trained on what leaves the frozen prefix, the suffix moves as if trained on the images; the prefix is not run."""
    bench = prepare(backend, device, arch_name)
    stages = bench.arch.stage_names
    for start in dict.fromkeys((stages[len(stages) // 2], "head")):
        trained = stages[stages.index(start) :]
        groups = bench.groups(*trained, updating=trained)
        batches = [bench.batch(seed=seed) for seed in (0, 1)]
        bench.reset()
        whole = bench.step(groups)
        wanted_losses = [whole(batch, (0.05,))()[0] for batch in batches]
        wanted = bench.export()
        bench.reset()
        cached = [replace(batch, inputs=bench.predict(batch.inputs, stop=start)) for batch in batches]
        prefix = {name: np.full_like(w, np.nan) for name, w in bench.weights.items() if name not in _unfrozen(groups)}
        bench.reset({name: w for name, w in prefix.items() if bench.arch.stage_of(name) not in trained})
        part = bench.step(groups, start=start)
        losses = [part(batch, (0.05,))()[0] for batch in cached]
        assert_close(losses, wanted_losses, CLOSE, f"losses of batches that enter at {start}, against images")
        assert_all_close(bench.export(), wanted, CLOSE, f"batches that enter at {start}", _unfrozen(groups))


def _unfrozen(groups: ParamGroups) -> tuple[str, ...]:
    return (*groups.trainable_names, *sorted(groups.updating))


def predicting_does_not_disturb_training(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    stages = bench.arch.stage_names
    batches = [bench.batch(seed=seed) for seed in range(3)]

    predict = backend.make_predict_step(bench.model, bench.first, LOGITS)

    def train(disturbed: bool) -> Weights:
        bench.reset()
        step = bench.step(bench.groups(*stages, updating=stages))
        for batch in batches:
            if disturbed:
                predict(batch.inputs)
            step(batch, (0.02,))()
        return bench.export()

    quiet = train(False)
    assert_same(train(True), quiet, "weights after training with and without predictions between the steps")


def the_same_steps_give_the_same_bits(backend: Backend, device: str, arch_name: str) -> None:
    """In two models, all of which is trained."""

    def trained() -> Weights:
        bench = prepare(backend, device, arch_name)
        stages = bench.arch.stage_names
        step = bench.step(bench.groups(*stages, updating=stages, decay=0.1), OptimizerSpec(momentum=0.9))
        logits = [step(bench.batch(seed=seed), (0.02,))()[1] for seed in range(3)]
        return bench.export() | {f"logits of step {i}": array for i, array in enumerate(logits)}

    assert_same(trained(), trained(), "weights and logits of the same steps")


def a_step_leaves_its_batch_alone(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    for start, case in ((bench.first, bench.batch()), ("head", bench.features(keep=0.5))):
        batch = case.batch(bench.graph)
        given = {name: array.copy() for name, array in _arrays(batch).items()}
        bench.train_step(SGD, bench.groups("head"), start)([batch], (0.1,))()
        assert_same(_arrays(batch), given, f"the arrays of a batch that entered at {start}")


def _arrays(batch: Batch) -> dict[str, NDArray[Any]]:
    return {"inputs": batch.inputs, "targets": batch.targets, "factors": batch.factors, **batch.masks}


def a_batch_is_the_cores_again_after_its_step(backend: Backend, device: str, arch_name: str) -> None:
    """Its arrays may be written anew before the loss is read, and before the next step."""
    bench = prepare(backend, device, arch_name)
    cases = [bench.features(seed=seed, keep=0.5) for seed in (0, 1)]

    def train(rewritten: bool) -> tuple[list[float], Weights]:
        bench.reset()
        step, lazies = bench.train_step(SGD, bench.groups("head"), "head"), []
        for case in cases:
            mine = case.batch(bench.graph)
            mine = replace(mine, inputs=mine.inputs.copy(), masks={n: m.copy() for n, m in mine.masks.items()})
            lazies.append(step([mine], (0.1,)))
            if rewritten:
                for array in _arrays(mine).values():
                    array[...] = 1e6
        return [lazy()[0] for lazy in lazies], bench.export()

    (losses, weights), (wanted_losses, wanted) = train(True), train(False)
    assert_close(losses, wanted_losses, CLOSE, "losses, after the arrays of their batches were written anew")
    assert_all_close(weights, wanted, CLOSE, "weights, after the arrays of the batches were written anew")


LAWS: tuple[Law, ...] = (
    training_the_head_changes_only_the_head,
    training_the_last_stages_changes_only_them,
    training_everything_changes_everything,
    frozen_statistics_stay_in_trained_layers,
    statistics_follow_in_frozen_layers,
    biases_alone_can_be_trained,
    phases_follow_each_other_on_one_model,
    a_later_step_changes_no_earlier_one,
    training_without_keep_is_inference,
    gradient_is_the_slope_of_the_loss,
    gradient_passes_through_batch_statistics,
    rates_and_decays_belong_to_their_groups,
    batches_may_enter_at_any_boundary,
    predicting_does_not_disturb_training,
    the_same_steps_give_the_same_bits,
    a_step_leaves_its_batch_alone,
    a_batch_is_the_cores_again_after_its_step,
)
