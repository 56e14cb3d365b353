"""`train.ema`: what is averaged, that it is what is evaluated and kept, and that it goes on where a run does."""

import json
from dataclasses import replace

import numpy as np
import pytest
from stopped_runs import recipe_of, stopped_in, train

import xfer
from xfer.data.loader import read_now
from xfer.errors import CheckpointError, ConfigError
from xfer.formats.sealed import BEST, read_checked
from xfer.metrics import evaluation
from xfer.recipe.load import as_recipe
from xfer.results.read import STATE
from xfer.testing.delegate import Delegate
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended
from xfer.training.average import share
from xfer.training.run import EpochEnd, StepEnd, prepare
from xfer.training.run import train as halts
from xfer.training.state import read_state, write_state
from xfer.training.write import LAST

CLOSE = 1e-5  # of the largest value
PHASES = [{"epochs": 2, "train_from": "head"}, {"epochs": 3, "train_from": "stem"}]


def averaged(data, **more):
    return recipe_of(data, **{"train.ema": 0.8, **more})


def assert_close(actual, wanted):
    assert actual.keys() == wanted.keys()
    for name, array in wanted.items():
        assert np.abs(actual[name] - array).max() <= CLOSE * max(np.abs(array).max(), 1e-3), name


def test_the_share_is_that_of_a_mean_at_first_and_of_the_decay_later():
    assert [share(0.999, step) for step in (1, 2, 8)] == pytest.approx([9 / 11, 9 / 12, 9 / 18])
    assert share(0.999, 8990) == pytest.approx(9 / 9000)
    assert share(0.999, 20_000) == pytest.approx(0.001)
    assert share(0.0, 1) == 1


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
def test_what_is_evaluated_is_the_average_of_all_weights_and_statistics_that_moved(data, name):
    """Step by step by the formula, in each phase from the weights that it begins with."""
    backend, device = require(name)
    arch = "tiny" if name == "numpy" else "convnet"
    recipe = as_recipe(averaged(data, arch=arch, batch_size=6, train_from="head"), {"phases": PHASES[:2]})
    p = prepare(recipe, backend, device)
    wanted, steps, phase = None, 0, 0
    before = {name: array.astype(np.float64) for name, array in p.net.export().items()}
    for halt in halts(p):
        if isinstance(halt, StepEnd):
            steps, wanted = steps + 1, wanted or before
            after = {name: array.astype(np.float64) for name, array in p.net.export().items()}
            part = share(0.8, steps)
            wanted = {name: (1 - part) * array + part * after[name] for name, array in wanted.items()}
        else:
            assert_close(halt.weights(), {name: array.astype(np.float32) for name, array in wanted.items()})
            other = prepare(recipe, backend, device).net
            other.load(halt.weights())
            every = np.arange(len(p.data.val.labels))
            logits = other.predict_step()(read_now(p.data.val, p.data.seen(recipe.augment.eval_transforms), every))
            assert np.abs(halt.result.logits - logits).max() < CLOSE * 100
            assert halt.epoch.val_loss == pytest.approx(evaluation(logits, p.data.val.labels).loss, abs=1e-4)
            if halt.epoch.epoch == PHASES[0]["epochs"]:
                before, wanted, steps, phase = after, None, 0, phase + 1
    moved = sorted(name for name, array in p.net.export().items() if not np.array_equal(array, halt.weights()[name]))
    assert phase == 1
    assert sorted(moved) == sorted(p.groups[1].moving)


def test_a_decay_of_0_gives_the_bits_of_a_run_without(data, tmp_path):
    plain = ended(recipe_of(data), [NumpyBackend()], [], tmp_path)
    assert_same_end(plain, ended(averaged(data, **{"train.ema": 0.0}), [NumpyBackend()], [], tmp_path))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_stopped_anywhere_it_ends_the_same(data, tmp_path, kind):
    recipe = as_recipe(averaged(data, **{"optimizer.kind": kind}), {"phases": PHASES})
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    for stops in ([7, 2], [12], [14], [28, 1, 2, 1]):
        parts = ended(recipe, [NumpyBackend()], stops, tmp_path)
        assert_same_end(whole, parts)
        weights = [end[1].weights() for end in (whole, parts)]
        assert [name for name in weights[0] if not np.array_equal(weights[0][name], weights[1][name])] == []


@pytest.mark.parametrize("stopped_on", ["torch", "mindspore"])
def test_frameworks_average_alike_and_go_on_for_each_other(data, tmp_path, stopped_on):
    others = {"torch": "mindspore", "mindspore": "torch"}
    backends = [require(name)[0] for name in (stopped_on, others[stopped_on])]
    recipe = averaged(data, arch="convnet", train_from="head", batch_size=6, epochs=2, **{"optimizer.momentum": 0.9})
    ends = [ended(recipe, backends[:1], [], tmp_path), ended(recipe, backends, [4], tmp_path)]
    assert_close(ends[1][1].best_weights, ends[0][1].best_weights)
    assert_close(ends[1][1].weights(), ends[0][1].weights())


def test_a_backend_that_cannot_blend_averages_all_the_same(data, tmp_path):
    backend, _ = require("torch")
    unable = Delegate(backend)
    unable.blend = None
    recipe = averaged(data, arch="convnet", train_from="head", batch_size=6, epochs=2)
    able, other = (ended(recipe, [one], [], tmp_path)[1].weights() for one in (backend, unable))
    assert_close(other, able)


def test_best_and_last_checkpoints_hold_averages_and_a_killed_run_writes_them(data, tmp_path, unthrottled, monkeypatch):
    recipe = averaged(data, epochs=3)
    whole = train(recipe, tmp_path / "whole")

    def killed(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xfer.training.write.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run")
    run = train(None, None, resume=tmp_path / "run")
    assert_same_folders(whole.path, run.path)
    weights, metadata = read_checked(run.path / LAST)
    p, last, raw = ended(recipe, [NumpyBackend()], [], tmp_path)
    for name in p.groups[0].moving:
        assert np.array_equal(weights[name], last.weights()[name])
        assert not np.array_equal(weights[name], raw[name])
    best, _ = read_checked(run.path / BEST)
    assert all(np.array_equal(best[name], array) for name, array in last.best_weights.items())
    assert json.loads(metadata["metrics"])["val_loss"] == run.history[-1]["val_loss"]
    assert xfer.Run.load(run.path).evaluate(backend=NumpyBackend()).loss == pytest.approx(run.result["val_loss"])


def test_a_state_without_its_averages_is_refused_by_name(data, tmp_path, unthrottled):
    path = stopped_in(tmp_path / "run", averaged(data))
    state, identity = read_state(path / STATE)
    names = [key for key in state.optimizer if key.startswith("average:")]
    assert {name.partition(":")[2] for name in names} == set(state.weights)
    changes = {
        "optimizer/average:fc.bias is missing": {k: a for k, a in state.optimizer.items() if k != "average:fc.bias"},
        "unknown optimizer/average:stem.bias": state.optimizer | {"average:stem.bias": np.zeros(16, np.float32)},
        "average:norm1.running_var holds a variance below 0": state.optimizer
        | {"average:norm1.running_var": -state.optimizer["average:norm1.running_var"]},
    }
    for message, slots in changes.items():
        write_state(path / STATE, replace(state, optimizer=slots), identity)
        with pytest.raises(CheckpointError, match=message):
            train(None, None, resume=path)
    write_state(path / STATE, state, identity)
    assert len(train(None, None, resume=path).history) == 4


def test_frozen_names_are_neither_averaged_nor_in_the_state(data):
    p = prepare(averaged(data, train_from="head", epochs=1), NumpyBackend())
    first = p.net.export()
    *_, last = (halt for halt in halts(p) if isinstance(halt, EpochEnd))
    assert {key for key in last.state().optimizer if key.startswith("average:")} == {
        "average:fc.weight", "average:fc.bias"
    }  # fmt: skip
    assert all(np.array_equal(array, first[name]) for name, array in last.weights().items() if "fc." not in name)


def test_a_decay_of_1_is_refused():
    with pytest.raises(ConfigError, match=r"train\.ema = 1\.0: expected less than 1"):
        as_recipe(None, {"train.ema": 1.0})
