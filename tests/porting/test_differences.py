"""How two measurements are judged: where a fault is found, and what passes."""

import math
from dataclasses import replace

import numpy as np
import pytest
from calling import Calling
from faults import TASK, Stage, Step

from xfer.porting import differences, text
from xfer.porting import task as task_file
from xfer.porting.curve import curve_of
from xfer.porting.differences import ParityReport, compare, compare_arrays, with_floor
from xfer.porting.floors import DRAWS, at_least, band_of, jumps, largest, moves, of_multiples, of_rounding, shaken
from xfer.porting.probe import measure
from xfer.porting.subject import stage_of
from xfer.porting.task import Measurement
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
    off = {row.stage for row in shifted.rows if row.what in (task_file.ACTIVATIONS, "logits") and not row.passes}
    assert off == set(TINY.stage_names[TINY.stage_names.index(stage) :])


def scaled(names, factor):
    """A gradient that is too large in some weights."""
    return lambda before, after, groups: {
        n: (before[n] + factor * (w - before[n]) if n in names else w) for n, w in after.items()
    }


def test_of_gradients_the_one_nearest_the_loss_is_named():
    wrong = scaled({"stem.weight", "layer1.weight"}, 1.1)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.stage) == (task_file.REST_GRADIENTS, "layer1")
    assert report(Step(NumpyBackend(), scaled({"stem.weight"}, 1.1))).first_difference.stage == "stem"


def test_statistics_that_follow_too_fast_are_found():
    wrong = scaled({"norm1.running_var"}, 2.0)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.tensor) == (task_file.STATISTICS, "norm1.running_var")


class Late(Delegate):
    """The second of the training steps goes twice as far."""

    def make_train_step(self, *arguments):
        step, count = self.inner.make_train_step(*arguments), iter(range(100))

        def second_is_wrong(parts, lrs):
            factor = 1 + (next(count) == 1)
            return step(parts, [rate * factor for rate in lrs])

        return Calling(step, second_is_wrong)


def test_what_differs_only_after_many_steps_is_reported_and_not_judged():
    late = report(Late(NumpyBackend()))
    apart = {row.what for row in late.rows if row.max_abs > 0}
    assert apart == {task_file.after(3)}
    assert late.passes


def test_losses_of_the_steps_are_judged_against_the_band_of_rounding():
    late = floored(Late(NumpyBackend()))
    assert all(row.passes for row in late.rows if row.judged)
    assert (late.passes, late.first_difference, late.first_step.step) == (False, None, 3)
    assert [point.passes for point in late.curve] == [True, True, False]
    first, second, third = (point.band for point in late.curve)
    assert 0 < first <= second <= third < 1e-5
    assert "first difference: the loss of step 3, " in text.summary(late)[-1]
    assert f"{late.curve[2].apart:.1e}" in next(line for line in text.table(late) if line.startswith("  3 "))


def measured(losses, band=()):
    return Measurement("a", "cpu", {}, {}, {}, losses=np.array(losses), band=np.array(band))


@pytest.mark.parametrize(
    ("loss", "band", "judged", "passes"),
    [
        (2.00019, [0], True, True),
        (2.00021, [0], True, False),
        (2.00021, [], False, False),
        (2.09, [0.01], True, True),
        (1.89, [0.01], True, False),
        (math.nan, [0.01], True, False),
        (math.inf, [math.inf], True, False),
        (2.0, [math.nan], True, True),
    ],
)
def test_verdicts_on_a_loss(loss, band, judged, passes):
    (point,) = curve_of(measured([2.0], band), measured([loss]), 1e-4)
    assert (point.judged, point.passes) == (judged, passes)


def test_a_band_never_narrows():
    band = band_of(np.array([1.0, 2, 3]), [np.array([1.5, 2.25, 3]), np.array([0.75, 2.125, 3.125])])
    assert band.tolist() == [0.5, 0.5, 0.5]


def test_a_jump_anywhere_in_a_stage_is_a_floor_for_all_of_its_gradients():
    """By the length of the stage as a whole, 0.1^2 / (1 + 3): the next jump may be in the other tensor.

    A tenth of it, as ten neighbours turn ten times as many ReLUs as one.
    """
    still = {"gradients": {"a": np.array([1.0]), "b": np.ones(3), "c": np.ones(1)}}
    shaken = {"gradients": {**still["gradients"], "a": np.array([1.1])}}
    found = jumps(still, shaken, {"a": "stem", "b": "stem", "c": "head"}, 10)
    assert [found["gradients"][n][1] for n in "abc"] == pytest.approx([0.001, 0.00025, 0])


def test_floors_are_the_largest_moves_of_all_draws():
    still, shaken = ({"x": {"a": np.array([2.0, 0.0]), "b": np.ones(1)}} for _ in range(2))
    shaken["x"]["a"] = np.array([2.0, 0.5])
    found = moves(still, shaken)
    assert found["x"]["a"].tolist() == [0.25, 0.0625, 0.5]
    assert largest([moves(still, still), found])["x"]["a"].tolist() == [0.25, 0.0625, 0.5]
    broken = moves(still, {"x": {**shaken["x"], "a": np.full(2, np.nan)}})
    assert np.isnan(largest([broken, found])["x"]["a"]).all()


def test_gradients_that_jump_in_the_reference_too_are_no_fault():
    """ReLUs that turn somewhere else in each backend: of the reference's gradient, 1 % of a stage jumps when shaken."""
    start = measure(NumpyBackend(), "cpu", TASK).arrays[task_file.START]["layer1.weight"]

    def jumping(before, after, groups):
        if np.array_equal(before["layer1.weight"], start):
            return after
        moved = after["layer1.weight"] + np.float32(0.01) * (after["layer1.weight"] - before["layer1.weight"])
        return after | {"layer1.weight": moved}

    still = measure(Step(NumpyBackend(), jumping), "cpu", replace(TASK, draws=1))
    floor = still.floors[task_file.REST_GRADIENTS]
    assert floor["layer1.weight"][1] == pytest.approx(1e-4, rel=0.01)
    assert 0 < floor["norm1.weight"][1] < floor["layer1.weight"][1]
    assert floor["fc.weight"][1] < 1e-10


def test_names_of_no_stage_come_last_and_raise_nothing():
    a = {"foreign.weight": np.ones(1), "stem.weight": np.ones(1)}
    stages = [row.stage for row in differences.compare_arrays(task_file.START, a, a, {"stem.weight": "stem"}, 1e-4)]
    assert stages == ["stem", "no stage"]
    assert [stage_of(arch, "foreign.weight") for arch in (None, TINY)] == ["no stage"] * 2
    assert stage_of(TINY, "norm1.bias") == "layer1"


def rows(a, b, quantity=task_file.ACTIVATIONS):
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


@pytest.mark.parametrize(("floor", "passes"), [(1e-6, True), (1e-7, False), (math.nan, False)])
def test_gradients_may_jump_in_one_element_as_far_as_those_of_the_reference_do(floor, passes):
    """By their length: its square is 0.5^2 / 10,000 = 2.5e-5, and 100 times the floor's square is allowed."""
    many = np.ones(10_000)
    jump = many + 0.5 * (np.arange(10_000) == 7)
    (row,) = rows(many, jump, task_file.REST_GRADIENTS)
    assert not row.passes
    floored = with_floor(row, {task_file.REST_GRADIENTS: {"x": np.array([10.0, floor, 0.0])}})
    assert (floored.passes, floored.floor) == (passes, pytest.approx(floor, nan_ok=True))


def test_gradients_differ_from_the_tolerance_on_where_nothing_is_known_of_their_floor():
    """Once 5 % was allowed."""
    many = np.ones(10_000)
    for factor, passes in ((1.00009, True), (1.00011, False), (1.04, False), (-1, False)):
        assert rows(many, factor * many, task_file.REST_GRADIENTS)[0].passes is passes


def test_the_worst_tensor_of_each_stage_stands_for_it():
    biased = report(Step(NumpyBackend(), scaled({"stem.bias"}, 1.5)))
    worst = {(row.what, row.stage): row.tensor for row in biased.worst()}
    assert worst[task_file.REST_GRADIENTS, "stem"] == "stem.bias"
    assert len(worst) == len({(row.what, row.stage) for row in biased.rows})


def test_a_tensor_that_differs_stands_for_its_stage_before_one_whose_floor_excuses_more():
    (off,), (excused,) = rows([1.0], [1.1]), rows([1.0], [2.0])
    excused = replace(excused, tensor="y", passes=True, floor=0.5)
    both = ParityReport("tiny", (), 1e-4, 1, 1, 1, (excused, off))
    assert [row.tensor for row in both.worst()] == ["x"]


def floored(backend, task=TASK, tolerance=1e-4, reference=None):
    """The report of `xfer parity` where something is beyond the tolerance: with what rounding does to each figure."""
    reference = reference or NumpyBackend()
    still, other = measure(reference, "cpu", replace(task, draws=DRAWS)), measure(backend, "cpu", task)
    return compare(still, other, (task, task), tolerance)


def test_every_weight_is_shaken_to_a_neighbour():
    weights = np.array([1, -1, 1.5, 1e-30, 0, -0.0, 2, -3e20] * 50, np.float32)
    moved = {n: shaken({"a": weights, "b": np.float32([0.5])}, (0, 3), n)["a"] for n in (1, 10)}
    up, down = weights, weights
    for number in range(1, 11):
        up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(-np.inf))
        if number in moved:
            found = moved[number]
            assert np.where(weights == 0, found == 0, (found == up) | (found == down)).all()
            assert len({*found[0::8]}) == len({*found[1::8]}) == 2


@pytest.mark.parametrize("stage", TINY.stage_names)
def test_a_fault_is_not_taken_for_rounding(stage):
    report = floored(Stage(NumpyBackend(), stage))
    assert not report.passes
    assert report.first_difference.stage == stage


@pytest.mark.parametrize("factor", [1.001, 1.0001])
def test_a_small_fault_in_a_gradient_is_not_taken_for_rounding(factor):
    wrong = scaled({"layer1.weight"}, factor)
    report = floored(Step(NumpyBackend(), wrong), tolerance=1e-12)
    row = next(r for r in report.rows if (r.what, r.tensor) == (task_file.REST_GRADIENTS, "layer1.weight"))
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
    assert {row.floor for row in floored(NumpyBackend()).rows if row.what == task_file.START} == {None}


def test_weights_that_were_given_alike_come_back_to_the_bit():
    """Those of two files, one for each backend, may be a rounding apart."""
    a = measure(NumpyBackend(), "cpu", TASK)
    start = a.arrays[task_file.START]
    moved = {**start, "fc.bias": np.nextafter(start["fc.bias"], np.float32(1))}
    b = replace(a, arrays={**a.arrays, task_file.START: moved})
    first = compare(a, b, (TASK, TASK), 1e-4).first_difference
    assert (first.what, first.tensor) == (task_file.START, "fc.bias")
    assert compare(a, b, (TASK, replace(TASK, source="other.ckpt")), 1e-4).passes


@pytest.mark.parametrize(("value", "passes"), [(0.0, True), (1e-8, True), (1e-6, False), (1.0, False)])
def test_of_a_reference_of_zeros_the_floor_is_what_it_moves_by(value, passes):
    """Its relative floor is infinite, and would excuse anything."""
    still, moved = ({"x": {"a": np.full(3, number)}} for number in (0.0, 1e-8))
    floors = {task_file.ACTIVATIONS: moves(still, moved)["x"]}
    (row,) = differences.compare_arrays(task_file.ACTIVATIONS, still["x"], {"a": np.full(3, value)}, {}, 1e-4)
    assert with_floor(row, floors).passes is passes


@pytest.mark.parametrize(("floor", "undecided"), [(0.0099, False), (0.01, True), (math.inf, False)])
def test_what_passes_where_zeros_would_pass_is_said_to_be_undecided(floor, undecided):
    """100 times the floor is the square of all of it."""
    (row,) = rows([1.0], [1.5], task_file.GRADIENTS)
    floored = with_floor(row, {task_file.GRADIENTS: {"x": np.array([1.0, floor, 1.0])}})
    assert floored.passes
    assert floored.undecided(1e-4) is undecided
    assert text.verdict(floored, 1e-4) == ("rounding" if undecided else "same")
    said = text.summary(ParityReport("tiny", (), 1e-4, 1, 1, 1, (floored,)))
    assert any(line.startswith("undecided: 1 of these") for line in said) is undecided


def test_the_gradient_of_the_pictures_is_compared_where_both_give_it():
    a = measure(NumpyBackend(), "cpu", TASK)
    given = {**a.arrays[task_file.GRADIENTS], task_file.PICTURES: np.ones((1, 3, 16, 16))}
    b = replace(a, arrays={**a.arrays, task_file.GRADIENTS: given})
    alone = compare(a, b, (TASK, TASK), 1e-4)
    assert alone.passes
    assert any(line.startswith("not compared: the gradient of the pictures") for line in text.summary(alone))
    both = compare(b, replace(b, arrays={**b.arrays, task_file.GRADIENTS: given | {"pictures": 2 * given["pictures"]}}),
                   (TASK, TASK), 1e-4)  # fmt: skip
    assert (both.first_difference.stage, both.first_difference.tensor) == ("stem", task_file.PICTURES)


def test_floors_of_movements_are_what_float32_rounds_a_weight_by():
    """Two ways of adding a small step to a large weight end at the same float32, or at neighbours."""
    weight = np.array([1.0, 1000.0, 0.0], np.float32)
    movement = np.array([3e-8, 1e-5, 2.0])
    _, squared, apart = of_rounding({"w": weight}, {"w": movement})["w"]
    halves = [2.0**-24, 2.0**-15, 2.0**-150]
    assert apart == halves[1]
    assert squared == pytest.approx(sum(half**2 for half in halves) / (movement**2).sum(), rel=1e-12)


@pytest.mark.parametrize(("moved", "passes"), [(2.0**-37, True), (2.0**-25, False)])
def test_weights_that_stay_where_they_are_may_move_by_what_float32_rounds_them_by(moved, passes):
    """A bias before a normalisation has a gradient of rounding alone: in one framework it crosses half of the way to a
    neighbour of the smallest weight, in the other none."""
    weight, still = np.array([0.01, 1e-5], np.float32), np.zeros(2)
    drawn = moves({task_file.ONE_STEP: {"b": still}}, {task_file.ONE_STEP: {"b": still}})
    floors = at_least(drawn, {task_file.ONE_STEP: of_rounding({"b": weight}, {"b": still})})
    (row,) = compare_arrays(task_file.ONE_STEP, {"b": still}, {"b": np.array([0, moved])}, {"b": "stem"}, 1e-4)
    assert not row.passes
    assert with_floor(row, floors).passes is passes


def test_floors_are_of_the_second_update_what_they_are_of_its_gradient():
    """Twice a gradient of length 3, and what makes it 4 times as long as that: half of the floor, by the length."""
    gradients, updates = {"a": np.full(9, 1.0)}, {"a": np.full(9, 4.0)}
    found = of_multiples({"a": np.array([0.1, 0.04, 0.2])}, gradients, updates, 2.0)["a"]
    assert found.tolist() == pytest.approx([0.1, 0.01, 0.4])
    zeros = {"a": np.zeros(9)}
    assert of_multiples({"a": np.array([math.inf, math.inf, 0.2])}, zeros, zeros, 2.0)["a"][2] == 0.4
