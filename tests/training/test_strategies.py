"""`train.strategy`: a name stands for phases, which can be written out to the same bits."""

import pytest
from stopped_runs import recipe_of, train

from xfer.errors import ConfigError
from xfer.recipe.load import as_recipe, load_recipe, make_recipe
from xfer.recipe.meaning import from_random, network
from xfer.recipe.phases import plan
from xfer.recipe.strategies import SHARES, parts_of
from xfer.results.facts import facts
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_end, ended

PHASES = {
    "head": [("head", 8, 0.1)],
    "finetune": [("stem", 8, 0.1)],
    "freeze_unfreeze": [("head", 3, 0.1), ("stem", 5, 0.01)],
    "lp_ft": [("head", 4, 0.1), ("stem", 4, 0.01)],
    "gradual": [("head", 2, 0.1), ("layer4", 2, 0.01), ("layer2", 2, 0.01), ("stem", 2, 0.01)],
}


@pytest.mark.parametrize("strategy", SHARES)
def test_a_name_stands_for_these_phases(strategy):
    recipe = as_recipe(None, {"train.strategy": strategy, "epochs": 8, "lr": 0.1})
    phases = [(phase.train_from, phase.epochs, phase.lr) for phase in plan(recipe)]
    assert phases == [(stage, epochs, pytest.approx(lr)) for stage, epochs, lr in PHASES[strategy]]


@pytest.mark.parametrize("strategy", SHARES)
def test_any_number_of_epochs_is_shared_out_with_one_for_each_phase_at_least(strategy):
    least = len(SHARES[strategy])
    for epochs in range(least, 40):
        counts = [part.epochs for part in parts_of(strategy, epochs, 0.1)]
        assert sum(counts) == epochs
        assert min(counts) >= 1
    if least > 1:
        with pytest.raises(ConfigError, match=rf"has {least} phases\. Cure: train\.epochs = {least}, or more"):
            as_recipe(None, {"train.strategy": strategy, "epochs": least - 1})


@pytest.mark.parametrize("strategy", ["finetune", "freeze_unfreeze", "lp_ft"])
def test_written_out_it_ends_with_the_same_bits(data, tmp_path, strategy):
    named = recipe_of(data, train_from="head", epochs=3, **{"train.strategy": strategy})
    parts = parts_of(strategy, 3, named.optimizer.lr)
    phases = [{"epochs": part.epochs, "train_from": part.train_from, "lr": part.lr} for part in parts]
    written = as_recipe(recipe_of(data, train_from="head", epochs=3), {"phases": phases})
    ends = [ended(recipe, [NumpyBackend()], [], tmp_path) for recipe in (named, written)]
    assert_same_end(*ends)
    assert_same_end(ends[0], ended(named, [NumpyBackend()], [7, 2], tmp_path))


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_frameworks_go_through_its_phases(data, tmp_path, name):
    backend, device = require(name)
    recipe = recipe_of(data, arch="convnet", train_from="head", epochs=2, batch_size=9, **{"train.strategy": "lp_ft"})
    _, last, _ = ended(recipe, [backend], [], tmp_path, device)
    assert [epoch.phase for epoch in last.state().history] == [1, 2]


def test_the_shipped_recipe_of_two_phases_is_freeze_unfreeze():
    shipped = load_recipe("ants_bees_finetune")
    content = shipped.model_dump(mode="json", exclude_none=True) | {"phases": []}
    named = make_recipe(content, {"train.strategy": "freeze_unfreeze", "epochs": 12, "lr": 0.01})
    assert plan(named) == plan(shipped)


def test_a_network_without_its_stages_is_refused_with_them(data):
    recipe = recipe_of(data, train_from="head", **{"train.strategy": "gradual"})
    message = (
        r"'gradual' trains from layer2, and tiny has stem, layer1, head\. Cure: another strategy, or \[\[phases\]\]"
    )
    with pytest.raises(ConfigError, match=message):
        network(recipe, NumpyBackend())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"phases": [{"epochs": 2}]}, r"train\.strategy = 'lp_ft' has phases of its own\. Cure: one of them"),
        ({"train_from": "layer1"}, r"train_from and strategy 'lp_ft' both say what is trained\. Cure: one of them"),
        ({"train.strategy": "lpft"}, r"train\.strategy = 'lpft'"),
    ],
)
def test_what_says_it_twice_is_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        as_recipe(None, {"train.strategy": "lp_ft", **more})


def test_a_finished_run_says_what_was_frozen_and_is_not_gone_on_with_in_more_epochs(data, tmp_path):
    run = train(recipe_of(data, train_from="head", **{"train.strategy": "lp_ft"}), tmp_path / "run")
    assert ("Frozen", "all stages before head in phase 1; nothing in phase 2") in facts(run.path)
    with pytest.raises(ConfigError, match=r"train\.epochs was 4, 6 is asked for"):
        train(None, None, resume=run.path, epochs=6)


def test_the_run_from_random_weights_has_one_phase(data):
    (phase,) = plan(from_random(recipe_of(data, train_from="head", **{"train.strategy": "lp_ft"}), "stem"))
    assert (phase.train_from, phase.epochs) == ("stem", 4)
