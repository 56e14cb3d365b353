import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xfer.errors import ConfigError
from xfer.recipe.load import DEMO, FLAGS, load_recipe, make_recipe, parse_override, to_toml
from xfer.recipe.meaning import plan
from xfer.recipe.recipe import Recipe

ROOT = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(path for path in ROOT.rglob("*.toml") if path.parent.name != "studies")  # a study holds no recipe


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"train": {"epoch": 3}}, "unknown key train = 'epoch'"),
        ({"train": {"epoch": 3}}, "Did you mean 'epochs'?"),
        ({"trian": {}}, "Did you mean 'train'?"),
        ({"train": {"epochs": "3"}}, "train.epochs = '3'"),
        ({"train": {"epochs": 0}}, "train.epochs = 0"),
        ({"train": {"epochs": True}}, "train.epochs = True"),
        ({"optimizer": {"kind": "sdg"}}, "optimizer.kind = 'sdg'"),
        ({"optimizer": {"lr": -1.0}}, "optimizer.lr = -1.0"),
        ({"optimizer": {"nesterov": True, "momentum": 0.0}}, "nesterov needs"),
        ({"train": {"views": 0}}, "train.views"),
        ({"train": 3}, "train = 3"),
        ({"augment": {"train": [{"op": "Blur"}]}}, "augment.train.0.op = 'Blur': expected one of Resize, "),
        ({"augment": {"eval": [{"op": "CentreCrop"}]}}, "Did you mean 'CenterCrop'?"),
        ({"augment": {"train": [{"op": "CenterCrop", "size": -1}]}}, "size"),
        ({"augment": {"train": [{"op": "CenterCrop", "siez": 8}]}}, "Did you mean 'size'?"),
        ({"phases": [{"epochs": 1, "train_form": "head"}]}, "Did you mean 'train_from'?"),
        ({"phases": [{"train_from": "head"}]}, "phases.0.epochs"),
        (
            {"loss": {"class_weights": {"ants": 0}}},
            "loss.class_weights = {'ants': 0}: Value error, expected weights above",
        ),
        ({"loss": {"class_weights": [1.0, -2.0]}}, "loss.class_weights = [1.0, -2.0]: Value error, expected weights"),
        ({"loss": {"class_weights": "even"}}, "Input should be 'balanced'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(content, expected):
    with pytest.raises(ConfigError) as caught:
        make_recipe(content, {}, "some.toml")
    message = str(caught.value)
    assert expected in message
    assert message.startswith("some.toml: ")
    assert "\n" not in message


def test_train_and_eval_must_normalise_alike():
    conflicting = [{"op": "Normalize", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}]
    own = [{"op": "Normalize", "mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}]
    assert make_recipe({"augment": {"train": own}}, {}).augment.normalize.mean == (0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match="normalise differently"):
        make_recipe({"augment": {"train": own, "eval": conflicting}}, {})


@pytest.mark.parametrize("text", ["train = [", "a = 1\na = 2", "\x00", "[[[[["])
def test_broken_toml_is_named(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"r\.toml: not valid TOML"):
        load_recipe(tmp_path / "r.toml")


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "r.toml")


def test_a_date_is_no_value_of_a_recipe():
    with pytest.raises(ConfigError, match="kind"):
        make_recipe(tomllib.loads("seed = 2020-01-01"), {})


@pytest.mark.parametrize("path", [*CONFIGS, DEMO], ids=lambda p: p.name)
def test_shipped_recipes_are_valid_and_survive_being_written(path):
    recipe = load_recipe(path)
    assert make_recipe(tomllib.loads(to_toml(recipe)), {}) == recipe


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.epochs=3", "train.epochs", 3),
        ("features.cache=false", "features.cache", False),
        ("optimizer.lr = 1e-3", "optimizer.lr", 1e-3),
        ("data.source=some/folder", "data.source", "some/folder"),
        ('data.source="a=b"', "data.source", "a=b"),
        ("augment.train=[{op='HorizontalFlip'}]", "augment.train", [{"op": "HorizontalFlip"}]),
    ],
)
def test_an_override_is_a_toml_value_or_plain_text(text, key, value):
    assert parse_override(text) == (key, value)


def test_an_override_needs_a_value():
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_override("train.epochs")


def test_overrides_win_and_are_checked_like_the_rest():
    recipe = make_recipe({"train": {"epochs": 2, "batch_size": 4}}, {"train.epochs": 7, "lr": 0.5})
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.optimizer.lr) == (7, 4, 0.5)
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        make_recipe({}, {"train.epoch": 1})
    with pytest.raises(ConfigError, match="not a section"):
        make_recipe({"seed": 1}, {"seed.x": 1})


def test_every_plain_flag_names_a_key():
    dumped = Recipe().model_dump()
    for dotted in FLAGS.values():
        section = dumped
        for part in dotted.split("."):
            section = section[part]


def test_a_recipe_without_phases_is_one_phase():
    recipe = make_recipe({"train": {"epochs": 3, "train_from": "layer4"}, "optimizer": {"lr": 0.5}}, {})
    (phase,) = plan(recipe)
    assert dataclasses.astuple(phase) == (0, 0, 3, "layer4", "follow", 0.5, 1.0)


def test_a_phase_inherits_what_it_leaves_out():
    content = {
        "train": {"train_from": "layer4"},
        "optimizer": {"lr": 0.5, "head_lr_mult": 10.0},
        "phases": [{"epochs": 1, "train_from": "head"}, {"epochs": 2, "lr": 0.0}],
    }
    first, second = plan(make_recipe(content, {}))
    assert [(phase.number, phase.first_epoch, phase.end) for phase in (first, second)] == [(0, 0, 1), (1, 1, 3)]
    assert (first.train_from, first.lr, first.head_lr_mult) == ("head", 0.5, 10.0)
    assert (second.train_from, second.lr) == ("layer4", 0.0)


def test_epochs_of_phases_are_not_overridden():
    with pytest.raises(ConfigError, match="epochs cannot be overridden"):
        make_recipe({"phases": [{"epochs": 1}]}, {"epochs": 3})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*Recipe.model_fields, "x"]), json_values, max_size=4))
def test_any_content_gives_a_recipe_or_a_config_error(content):
    try:
        outcome = make_recipe(content, {})
    except ConfigError as error:
        outcome = str(error)
    assert isinstance(outcome, Recipe) or "\n" not in outcome
