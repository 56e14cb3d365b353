"""Rates that fall where the validation loss does not: in each phase anew, and the same where a run goes on."""

import pytest
from stopped_runs import recipe_of

from xfer.recipe.load import as_recipe
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_end, ended

STILL = {
    "optimizer.lr": 1e-9, "optimizer.momentum": 0.0, "train.norm_stats": "freeze", "batch_size": 9,
    "model.dropout": 0.0, "schedule.kind": "plateau", "schedule.plateau_patience": 1,
    "schedule.gamma": 0.5,
}  # fmt: skip
"""Losses that hardly move, so that each second epoch is one too many."""
PHASES = [{"epochs": 5, "train_from": "head"}, {"epochs": 4, "lr": 3e-9}]
RATES = [1e-9, 1e-9, 1e-9, 5e-10, 5e-10, 3e-9, 3e-9, 3e-9, 1.5e-9]


def test_stopped_anywhere_the_rates_are_those_of_the_losses_so_far(data, tmp_path):
    recipe = as_recipe(recipe_of(data, **STILL), {"phases": PHASES})
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    assert [epoch.lr for epoch in whole[1].state().history] == pytest.approx(RATES)
    for stops in ([2], [10], [11], [20, 3, 1]):
        assert_same_end(whole, ended(recipe, [NumpyBackend()], stops, tmp_path))


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_frameworks_have_the_same_rates(data, tmp_path, name):
    backend, device = require(name)
    recipe = recipe_of(data, arch="convnet", train_from="head", epochs=4, **STILL)
    _, last, _ = ended(recipe, [backend], [], tmp_path, device)
    assert [epoch.lr for epoch in last.state().history] == pytest.approx(RATES[:4])
