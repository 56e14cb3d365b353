"""A run that ends early, by `train.patience`: where, what is said of it, and that resuming changes nothing of that."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated
from stopped_runs import recipe_of, stop_now, train

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError, ConfigError
from xfer.recipe.endings import ended_early, patient_epochs, phases_of
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import from_random
from xfer.results.read import STATE
from xfer.results.report import write_report
from xfer.studies.report import draw
from xfer.studies.results import Group
from xfer.system.interrupts import Interrupted
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended
from xfer.training.state import read_state, write_state

PATIENT = {"train.patience": 2, "epochs": 9, "optimizer.lr": 0.0, "train.norm_stats": "freeze"}
"""Nothing moves, so that no epoch is better than the first: a phase ends after its third."""


@pytest.mark.parametrize(
    ("figures", "patience", "min_delta", "wanted"),
    [
        ([], 1, 0.0, None),
        ([(0.5, 1.0)], 1, 0.0, None),
        ([(0.5, 1.0), (0.5, 1.0)], 1, 0.0, 2),
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.9)], 1, 0.0, 3),
        ([(0.5, 1.0), (0.6, 2.0), (0.6, 2.0)], 1, 0.0, 3),
        ([(0.5, 1.0), (0.4, 0.1), (0.6, 1.0), (0.4, 0.1), (0.5, 0.1)], 2, 0.0, 5),
        ([(0.5, 1.0), (0.55, 1.0), (0.6, 1.0)], 2, 0.1, 3),  # 0.1 more is not more than 0.1
        ([(0.5, 1.0), (0.55, 1.0), (0.61, 1.0), (0.61, 1.0)], 2, 0.1, None),  # small gains add up
        ([(0.5, 1.0), (0.5, 0.95), (0.5, 0.85), (0.5, 0.8)], 2, 0.1, None),
        ([(0.5, 1.0), (0.5, 0.95), (0.5, 0.9001)], 2, 0.1, 3),
        ([(0.5, 1.0), (0.49, 0.1), (0.49, 0.1)], 2, 0.1, 3),  # a lower loss is no gain where accuracy is lost
    ],
)
def test_patience_ends_where_the_last_gain_lies_that_far_back(figures, patience, min_delta, wanted):
    assert patient_epochs(figures, patience, min_delta) == wanted


@given(st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.6]), st.sampled_from([0.1, 0.2, 0.3])), max_size=12))
def test_the_end_is_that_of_the_figures_up_to_it_and_no_later_ones_move_it(figures):
    end = patient_epochs(figures, 3, 0.0)
    for count in range(len(figures) + 1):
        assert patient_epochs(figures[:count], 3, 0.0) == (end if end is not None and count >= end else None)


def test_a_phase_that_ends_early_moves_those_behind_it(data):
    recipe = as_recipe(recipe_of(data, **{"train.patience": 2}), {"phases": [{"epochs": 4}, {"epochs": 3}]})
    still, gaining = [(0.5, 1.0)] * 7, [(0.1 * i, 1.0) for i in range(7)]
    assert [(p.first_epoch, p.end) for p in phases_of(recipe, gaining)] == [(0, 4), (4, 7)]
    assert [(p.first_epoch, p.end) for p in phases_of(recipe, still)] == [(0, 3), (3, 6)]
    assert ended_early(recipe, still[:3]) == [(1, 3)]
    assert ended_early(recipe, still) == [(1, 3)]  # the second waits to its last epoch, which is no early end
    assert ended_early(recipe, gaining) == []


def test_stopped_anywhere_it_ends_at_the_same_epoch_with_the_same_bits(data, tmp_path):
    phases = [{"epochs": 5, "train_from": "head"}, {"epochs": 4, "lr": 0.03}, {"epochs": 2}]
    recipe = as_recipe(recipe_of(data, batch_size=7, **PATIENT), {"phases": phases})
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    gone_through = [epoch.phase for epoch in whole[1].state().history]
    assert gone_through[:4] == [1, 1, 1, 2]
    assert gone_through[-1] == 3
    for stops in ([2], [12], [13, 1], [15, 14, 2]):
        assert_same_end(whole, ended(recipe, [NumpyBackend()], stops, tmp_path))


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
def test_log_result_report_and_readers_say_that_it_ended_early(data, tmp_path, name):
    backend, _ = require(name)
    arch = "tiny" if name == "numpy" else "convnet"
    run = xfer.train(
        recipe_of(data, arch=arch, train_from="head", batch_size=9, **PATIENT), backend, output=tmp_path / "run"
    )
    assert run.result["ended_early"] == [{"phase": 1, "epoch": 3}]
    assert (run.result["epochs"], len(run.history), run.result["best_epoch"]) == (3, 3, 1)
    assert "training ends after 3 of 9 epochs: 2 without a gain (train.patience)" in (run.path / "log.txt").read_text()
    write_report(run.path)
    assert re.search("<dt>Ended early</dt><dd>phase 1 after epoch 3</dd>", (run.path / "report.html").read_text())
    full = train(recipe_of(data, epochs=4, batch_size=9), tmp_path / "full")
    assert full.result["ended_early"] == []
    comparison = xfer.compare([run, full])
    assert {"train.patience", "train.epochs"} <= {setting.key for setting in comparison.settings}
    assert xfer.Run.load(run.path).evaluate(backend=backend).accuracy == run.result["val_accuracy"]


def test_one_that_was_killed_after_its_early_end_is_finished_there(data, tmp_path, unthrottled, monkeypatch):
    recipe = recipe_of(data, **PATIENT)
    whole = train(recipe, tmp_path / "whole")

    def no_room(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xfer.training.write.finish", no_room)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run")
    run = train(None, None, resume=tmp_path / "run")
    assert_same_folders(whole.path, run.path)
    assert len(run.history) == 3


def test_a_run_stopped_behind_an_early_end_goes_on_in_the_phase_after_it(data, tmp_path, unthrottled):
    phases = [{"epochs": 5, "train_from": "head"}, {"epochs": 4, "train_from": "layer1", "lr": 0.03}]
    recipe = as_recipe(recipe_of(data, **PATIENT), {"phases": phases})
    whole = train(recipe, tmp_path / "whole")

    def stop(what, done, total):
        if (what, done) == ("epoch 5", 6):
            stop_now()

    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", progress=stop)
    state, identity = read_state(tmp_path / "run" / STATE)
    assert [epoch.phase for epoch in state.history] == [1, 1, 1, 2]
    write_state(tmp_path / "run" / STATE, replace(state, point=state.point.model_copy(update={"epoch": 8})), identity)
    with pytest.raises(CheckpointError, match=r"point\.epoch = 8, expected at most 7"):
        train(None, None, resume=tmp_path / "run")
    write_state(tmp_path / "run" / STATE, state, identity)
    run = train(None, None, resume=tmp_path / "run")
    assert_same_folders(whole.path, run.path)
    assert run.result["ended_early"][0] == {"phase": 1, "epoch": 3}


def test_more_epochs_of_one_that_ended_early_are_all_those_that_it_lacks(data, tmp_path):
    run = train(recipe_of(data, **PATIENT), tmp_path / "run")
    on = train(None, tmp_path / "on", resume=run.path, epochs=11)
    assert on.recipe.train.epochs == 8
    assert on.result["ended_early"] == [{"phase": 1, "epoch": 3}]


def test_records_by_hand_of_an_early_end_are_refused_by_name(data, tmp_path):
    run = train(recipe_of(data, **PATIENT), tmp_path / "run")
    copy = shutil.copytree(run.path, tmp_path / "copy")
    file = copy / "result.json"
    content = json.loads(file.read_text())
    refused = 0
    for field, how, changed in mutated(content):
        if not field.startswith("ended_early"):
            continue
        file.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=r"ended_early|epoch|phase") as caught:
            xfer.compare([run, xfer.Run.load(copy)])
        assert "Cure: " in str(caught.value), (field, how)
        refused += 1
    assert refused > 10
    file.write_text(json.dumps(content))
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    more = json.loads(lines[-1]) | {"epoch": 4}
    (copy / "metrics.jsonl").write_text("\n".join([*lines, json.dumps(more)]) + "\n")
    with pytest.raises(CheckpointError, match=r"epochs = 3, and metrics.jsonl says 4"):
        xfer.compare([run, xfer.Run.load(copy)])


def test_a_result_of_before_there_was_patience_is_read(data, tmp_path):
    run = train(recipe_of(data, epochs=2), tmp_path / "run")
    content = json.loads((run.path / "result.json").read_text())
    del content["ended_early"]
    (run.path / "result.json").write_text(json.dumps(content))
    assert "ended_early" not in xfer.Run.load(run.path).result
    assert xfer.compare([run, xfer.Run.load(run.path)]).pairs[0].same_predictions == 6


def test_figures_of_a_study_take_runs_of_several_lengths(data, tmp_path):
    short = train(recipe_of(data, **PATIENT), tmp_path / "a")
    long = train(recipe_of(data, epochs=5, seed=1), tmp_path / "b")
    files = draw([Group("m", "numpy", {0: (short, long), 1: (long, long)})], tmp_path)
    assert [file.name for file in files] == ["accuracy.png", "accuracy_m.png"]


def test_the_command_says_it_below_the_epoch(data, tmp_path, declare):
    flags = "--arch tiny --weights random --size 32 --epochs 9 --backend numpy --lr 0 --set train.patience=1"
    words = ["train", str(data), "--output", str(tmp_path / "run"), *flags.split()]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "phase 1 of 1: at most 9 epochs" in result.output
    assert "training ends after 2 of 9 epochs: 1 without a gain (train.patience)" in result.output


def test_min_delta_alone_is_refused_with_its_cure():
    with pytest.raises(ConfigError, match=r"train = .*min_delta needs a patience. Cure: train\.patience"):
        as_recipe(None, {"train.min_delta": 0.1})


def test_the_run_from_random_weights_has_all_its_epochs(data):
    recipe = from_random(recipe_of(data, **PATIENT, **{"train.min_delta": 0.1}), "stem")
    assert (recipe.train.patience, recipe.train.min_delta, recipe.train.epochs) == (None, 0.0, 9)
