"""How two measurements are judged: where a fault is found, and what passes."""

import math
from dataclasses import replace

import numpy as np
import pytest
from faults import TASK, Stage, Step

from xfer.porting import differences, probe
from xfer.porting.differences import compare, with_floors
from xfer.porting.probe import measure
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import TINY, NumpyBackend


def report(backend, task=TASK, tolerance=1e-4):
    measurements = measure(NumpyBackend(), "cpu", task), measure(backend, "cpu", task)
    return compare(*measurements, (task, task), tolerance)


def test_a_backend_is_the_same_as_itself():
    same = report(NumpyBackend())
    assert same.passes
    assert same.first_difference is None
    assert (same.top1_agree, same.images) == (10, 10)
    assert {row.what for row in same.rows if row.judged} == set(differences.JUDGED)
    assert all(row.max_abs == row.mean_abs == row.relative == row.squared == 0 for row in same.rows)
    assert all(row.cosine == pytest.approx(1) for row in same.rows)


@pytest.mark.parametrize("stage", TINY.stage_names)
def test_the_first_stage_that_differs_is_named(stage):
    shifted = report(Stage(NumpyBackend(), stage))
    assert not shifted.passes
    assert shifted.first_difference.stage == stage
    off = {row.stage for row in shifted.rows if row.what in (probe.ACTIVATIONS, "logits") and not row.passes}
    assert off == set(TINY.stage_names[TINY.stage_names.index(stage) :])


def scaled(names, factor):
    """A gradient that is too large in some weights."""
    return lambda before, after, groups: {
        n: (before[n] + factor * (w - before[n]) if n in names else w) for n, w in after.items()
    }


def test_of_gradients_the_one_nearest_the_loss_is_named():
    wrong = scaled({"stem.weight", "layer1.weight"}, 1.1)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.stage) == (probe.REST_GRADIENTS, "layer1")
    assert report(Step(NumpyBackend(), scaled({"stem.weight"}, 1.1))).first_difference.stage == "stem"


def test_statistics_that_follow_too_fast_are_found():
    wrong = scaled({"norm1.running_var"}, 2.0)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.tensor) == (probe.STATISTICS, "norm1.running_var")


def test_what_differs_only_after_many_steps_is_reported_and_not_judged():
    class Late(Delegate):
        def make_train_step(self, model, optimizer, loss, groups, start):
            step, count = self.inner.make_train_step(model, optimizer, loss, groups, start), iter(range(100))

            def second_is_wrong(batch, lrs):
                return step(batch, [rate * (1 + (next(count) == 1)) for rate in lrs])

            return second_is_wrong

    late = report(Late(NumpyBackend()))
    apart = {row.what for row in late.rows if row.max_abs > 0}
    assert apart == {probe.after(3)}
    assert late.passes


def rows(a, b, quantity=probe.ACTIVATIONS):
    return list(
        differences.compare_arrays(quantity, {"x": np.array(a, float)}, {"x": np.array(b, float)}, {"x": "stem"}, 1e-4)
    )


def test_figures_of_a_row():
    (row,) = rows([3, -4, 0], [3, -4.5, 0.5])
    assert (row.max_abs, row.mean_abs, row.relative, row.squared) == pytest.approx((0.5, 1 / 3, 0.125, 0.02))
    assert row.cosine == pytest.approx(27 / (5 * math.sqrt(9 + 20.25 + 0.25)))
    assert not row.passes


@pytest.mark.parametrize(
    ("a", "b", "passes"),
    [
        ([0.0], [0.0], True),
        ([0.0], [1e-30], False),
        ([1.0], [1.00009], True),
        ([1.0], [1.00011], False),
        ([math.nan], [1.0], False),
        ([1.0], [math.nan], False),
        ([math.inf], [math.inf], False),
    ],
)
def test_verdicts(a, b, passes):
    assert rows(a, b)[0].passes is passes


def test_gradients_may_jump_in_one_element_but_not_altogether():
    many = np.ones(10_000)
    jump = many + 0.5 * (np.arange(10_000) == 7)
    for quantity, passes in ((probe.REST_GRADIENTS, True), (probe.ACTIVATIONS, False)):
        assert rows(many, jump, quantity)[0].passes is passes
    assert not rows(many, 1.06 * many, probe.REST_GRADIENTS)[0].passes
    assert not rows(many, -many, probe.REST_GRADIENTS)[0].passes


def test_the_worst_tensor_of_each_stage_stands_for_it():
    biased = report(Step(NumpyBackend(), scaled({"stem.bias"}, 1.5)))
    worst = {(row.what, row.stage): row.tensor for row in biased.worst()}
    assert worst[probe.REST_GRADIENTS, "stem"] == "stem.bias"
    assert len(worst) == len({(row.what, row.stage) for row in biased.rows})


def floored(backend, task=TASK, tolerance=1e-4, reference=None):
    """The report of `xfer parity` where something is beyond the tolerance: with what rounding does to each figure."""
    reference = reference or NumpyBackend()
    shaken = measure(reference, "cpu", replace(task, shaken=True, steps=1))
    still = [measure(side, "cpu", task) for side in (reference, backend)]
    return with_floors(compare(*still, (task, task), tolerance), still[0], shaken)


def test_every_weight_is_shaken_to_a_neighbour():
    still, shaken = (measure(NumpyBackend(), "cpu", replace(TASK, shaken=s)).arrays[probe.START] for s in (False, True))
    for name, weights in still.items():
        up, down = (np.nextafter(weights, np.float32(end)) for end in (np.inf, -np.inf))
        moved = np.where(weights == 0, shaken[name] == weights, (shaken[name] == up) | (shaken[name] == down))
        assert moved.all(), name
        assert (shaken[name] >= 0).all() or not name.endswith("var")


@pytest.mark.parametrize("stage", TINY.stage_names)
def test_a_fault_is_not_taken_for_rounding(stage):
    report = floored(Stage(NumpyBackend(), stage))
    assert not report.passes
    assert report.first_difference.stage == stage


@pytest.mark.parametrize("factor", [1.001, 1.0001])
def test_a_small_fault_in_a_gradient_is_not_taken_for_rounding(factor):
    wrong = scaled({"layer1.weight"}, factor)
    report = floored(Step(NumpyBackend(), wrong), tolerance=1e-12)
    row = next(r for r in report.rows if (r.what, r.tensor) == (probe.REST_GRADIENTS, "layer1.weight"))
    assert not row.passes
    assert row.floor < 1e-12


def test_what_is_nothing_but_rounding_is_no_fault():
    """The gradient of a weight that the loss does not depend on: its noise is another in each backend."""
    noise = np.random.default_rng(0)

    def noisy(before, after, groups):
        ulp = np.float32(1 + noise.choice([-1, 1]) * 2**-23)
        return {name: w * ulp if name == "fc.bias" else w for name, w in after.items()}

    strict = 1e-16
    assert not report(Step(NumpyBackend(), noisy), tolerance=strict).passes
    rows = floored(Step(NumpyBackend(), noisy), tolerance=strict, reference=Step(NumpyBackend(), noisy)).rows
    assert all(row.passes for row in rows if row.judged and row.tensor == "fc.bias")


def test_a_backend_that_gives_another_result_each_time_does_not_excuse_itself():
    noise = np.random.default_rng(0)

    def unsteady(before, after, groups):
        return {
            name: w * np.float32(1 + noise.uniform(-0.5, 0.5)) if "layer1" in name else w for name, w in after.items()
        }

    report = floored(Step(NumpyBackend(), unsteady))
    assert not report.passes
    assert report.first_difference.stage == "layer1"


def test_copied_weights_have_no_floor():
    assert {row.floor for row in floored(NumpyBackend()).rows if row.what == probe.START} == {None}
