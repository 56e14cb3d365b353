"""Steps in float16: the loss has a scale, a step that overflows moves no weight, and all of it goes on from a state.

On the CPU, where nobody is given float16, its arithmetic is there all the same.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_networks import BACKEND  # noqa: E402

from xfer.backend import OptimizerSpec  # noqa: E402
from xfer.errors import CheckpointError  # noqa: E402
from xfer.recipe.load import as_recipe  # noqa: E402
from xfer.testing.kit import assert_same, changed, prepare  # noqa: E402
from xfer.testing.pictures import write_class_folders  # noqa: E402
from xfer.training.misfit import refuse_misfit  # noqa: E402
from xfer.training.run import StepEnd, train  # noqa: E402
from xfer.training.run import prepare as prepare_run  # noqa: E402
from xfer_torch import network  # noqa: E402
from xfer_torch.step import SCALE  # noqa: E402

RULES = {
    "momentum": OptimizerSpec("sgd", momentum=0.9, clip_norm=1.0),
    "adam": OptimizerSpec("adam"),
    "adamw": OptimizerSpec("adamw"),
}


@pytest.fixture(autouse=True)
def float16_on_the_cpu(monkeypatch):
    monkeypatch.setattr(network, "precisions", lambda device: ("float32", "float16"))
    monkeypatch.setattr(type(BACKEND), "precisions", lambda backend, device: ("float32", "float16"))


def bench_in(precision):
    plain = prepare(BACKEND, "cpu", "convnet")
    return prepare(BACKEND, "cpu", "convnet", spec=replace(plain.spec, precision=precision))


def step_of(bench, rule="momentum"):
    return bench.train_step(RULES[rule], bench.groups(*bench.arch.stage_names, decay=0.1))


def batch_of(bench, seed, times=1.0):
    """`times`: what the loss is multiplied with; 1 is far from an overflow of these large gradients."""
    batch = bench.batch(seed=seed).batch(bench.graph)
    return [replace(batch, factors=batch.factors * np.float32(times / 256))]


OVERFLOWS = 1e6


def test_a_step_in_float16_is_one_in_float32_but_for_rounding():
    moved = {}
    for precision in ("float32", "float16"):
        bench = bench_in(precision)
        _, logits = step_of(bench)(batch_of(bench, 0), [0.1])()
        assert logits.dtype == np.float32
        after = bench.export()
        moved[precision] = {name: after[name] - bench.weights[name] for name in after}
    for name, wanted in moved["float32"].items():
        off = np.abs(moved["float16"][name] - wanted).max() / np.abs(wanted).max()
        assert 0 < off < 0.05, name


def test_gradients_that_float16_could_not_hold_arrive():
    """Those of a loss that is a millionth: without a scale, most in the body would be below 6e-8."""
    bench, moved = bench_in("float16"), []
    for times in (1.0, 1e-6):
        bench.reset()
        step = bench.train_step(OptimizerSpec(), bench.groups(*bench.arch.stage_names))
        step(batch_of(bench, 0, times), [1 / times])()
        moved.append(bench.export())
    for name, weight in bench.weights.items():
        off = np.abs(moved[1][name] - moved[0][name]).max() / np.abs(moved[0][name] - weight).max()
        assert off < 0.02, name


@pytest.mark.parametrize("rule", RULES)
def test_a_step_that_overflows_moves_no_weight_and_halves_the_scale(rule):
    bench = bench_in("float16")
    step = step_of(bench, rule)
    loss, _ = step(batch_of(bench, 0, OVERFLOWS), [0.1])()
    assert np.isfinite(loss)
    assert_same(bench.export(), bench.weights, "weights after an overflow")
    state = step.export_state()
    assert [state[key].item() for key in ("step", "skipped", "growth", "loss_scale")] == [1, 1, 0, SCALE / 2]
    assert not any(state[key].any() for key in state if ":" in key)
    step(batch_of(bench, 0), [0.1])()
    assert changed(bench.export(), bench.weights) == set(bench.weights)
    state = step.export_state()
    assert [state[key].item() for key in ("step", "skipped", "growth", "loss_scale")] == [2, 1, 1, SCALE / 2]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("taken", [0, 1, 2, 4])
def test_it_goes_on_from_its_state_to_the_same_bits(rule, taken):
    """After overflows too: an Adam that counted those would correct its moments otherwise."""
    times = [OVERFLOWS, 1.0, OVERFLOWS, 1.0, 1.0]
    first, second, whole = (bench_in("float16") for _ in range(3))
    steps = [step_of(bench, rule) for bench in (first, second, whole)]
    for i, factor in enumerate(times):
        if i == taken:
            second.load(first.export())
            steps[1].import_state(steps[0].export_state())
        bench, step = (first, steps[0]) if i < taken else (second, steps[1])
        step(batch_of(bench, i, factor), [0.01])()
        steps[2](batch_of(whole, i, factor), [0.01])()
    assert_same(second.export(), whole.export(), f"weights, stopped after {taken} steps of {len(times)}")
    assert_same(steps[1].export_state(), steps[2].export_state(), "the state")


def test_a_state_of_before_the_first_step_is_that_of_a_fresh_one():
    bench = bench_in("float16")
    step = step_of(bench)
    fresh = step.export_state()
    assert set(fresh) == {"step"}
    step(batch_of(bench, 0, OVERFLOWS), [0.1])()
    step.import_state(fresh)
    step(batch_of(bench, 0), [0.1])()
    assert [step.export_state()[key].item() for key in ("step", "skipped", "loss_scale")] == [1, 0, SCALE]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(6, 3))


WRONG = {
    "loss_scale": [None, np.array(0, np.float32), np.array(np.nan, np.float32), np.array(2.0), np.ones(2, np.float32)],
    "growth": [None, np.array(-1), np.array(4), np.array(1, np.int32)],
    "skipped": [None, np.array(-1), np.array(4), np.array([0])],
}


def test_a_scale_that_no_run_leaves_is_refused(data):
    usual = {"data": str(data), "arch": "convnet", "weights": "random", "size": 32, "batch_size": 4, "epochs": 1}
    recipe = as_recipe(None, usual | {"train.precision": "float16", "train_from": "stem"})
    p = prepare_run(recipe, BACKEND, "cpu")
    halts = (event for event in train(p) if isinstance(event, StepEnd))
    state = [next(halts).state() for _ in range(3)][-1]
    refuse_misfit(p, state, "state")
    for key, values in WRONG.items():
        for value in values:
            optimizer = {name: array for name, array in state.optimizer.items() if name != key}
            optimizer |= {} if value is None else {key: value}
            with pytest.raises(CheckpointError, match=rf"^state: optimizer/{key} is .*expected .*Cure"):
                refuse_misfit(p, replace(state, optimizer=optimizer), "state")
    exact = prepare_run(as_recipe(recipe, {"train.precision": "float32"}), BACKEND, "cpu")
    with pytest.raises(CheckpointError, match="unknown optimizer/growth"):
        refuse_misfit(exact, state, "state")
