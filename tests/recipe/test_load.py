import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xfer.errors import ConfigError
from xfer.recipe.load import DEMO, FLAGS, load_recipe, make_recipe, parse_override, to_toml
from xfer.recipe.meaning import image_size, plan
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


NORMALIZE = {"op": "Normalize", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
            "Cure: divide by 255: mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]",
        ),
        ({"mean": [127.5, 127.5, 127.5], "std": [1.0, 1.0, 1.0]}, "divide by 255: mean = [0.5, 0.5, 0.5]"),
        ({"mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]}, "std = [1.0, 1.0, 1.0]"),
        ({"std": [0.0, 0.25, 0.25]}, "std = [0.0, 0.25, 0.25]: expected [red, green, blue], each above 0"),
        ({"std": [0.25, 0.25, -0.25]}, "each above 0"),
        ({"std": [0.25, 0.25, 0.25, 0.25]}, "each above 0"),
        ({"mean": [0.5]}, "mean = [0.5]: expected [red, green, blue]"),
        ({"mean": 0.5}, "mean = 0.5: expected [red, green, blue]"),
    ],
)
def test_a_normalisation_of_other_pixels_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        make_recipe({"augment": {"eval": [NORMALIZE | changes]}}, {})
    assert "augment.eval.0.Normalize" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_usual_normalisations_are_accepted():
    for mean, std in ((0.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.5, 1 / 255)):
        normalize = {"op": "Normalize", "mean": [mean] * 3, "std": [std] * 3}
        assert make_recipe({"augment": {"eval": [normalize]}}, {}).augment.normalize.std == (std,) * 3


OWN_LISTS = {
    "train": [{"op": "RandomResizedCrop", "size": 224}, {"op": "HorizontalFlip"}, NORMALIZE],
    "eval": [{"op": "Resize", "size": 256}, {"op": "CenterCrop", "size": [224, 224]}, NORMALIZE],
}
OVERRIDE = re.compile(r"--set (?:'([^']*)'|(\S+))")


@pytest.mark.parametrize("key", ["size", "augment.size"])
@pytest.mark.parametrize("lists", [["train", "eval"], ["train"], ["eval"]])
def test_a_size_that_reaches_no_list_is_refused_and_the_cure_works(key, lists):
    content = {"augment": {name: OWN_LISTS[name] for name in lists}}
    with pytest.raises(ConfigError, match="which makes pictures of 224x224") as caught:
        make_recipe(content, {key: 112})
    cure = dict(parse_override(quoted or plain) for quoted, plain in OVERRIDE.findall(str(caught.value)))
    augment = make_recipe(content, {key: 112} | cure).augment
    assert image_size(make_recipe(content, {key: 112} | cure)) == (112, 112)
    if "eval" in lists:
        assert [transform.size for transform in augment.eval_transforms] == [128, (112, 112)]


def test_a_size_is_accepted_where_it_is_the_one_that_is_made():
    assert make_recipe({"augment": OWN_LISTS}, {"size": 224}).augment.size == 224
    written = make_recipe({"augment": OWN_LISTS | {"size": 64}}, {"epochs": 3})  # a resolved recipe says every key
    assert make_recipe(tomllib.loads(to_toml(written)), {}) == written


def test_an_override_reaches_into_a_list_that_is_there():
    content = {"augment": OWN_LISTS, "phases": [{"epochs": 1}]}
    recipe = make_recipe(content, {"augment.train.1.p": 1.0, "phases.0.lr": 0.5})
    assert (recipe.augment.train[1].p, recipe.augment.train[0].size, recipe.phases[0].lr) == (1.0, 224, 0.5)
    assert OWN_LISTS["train"][1] == {"op": "HorizontalFlip"}, "what was given stays as it was"
    for key in ("augment.train.3.p", "augment.train.-1.p", "augment.train.p", "phases.1"):
        with pytest.raises(ConfigError, match="expected one of 0"):
            make_recipe(content, {key: 1.0})


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
