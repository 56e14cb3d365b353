import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xfer.errors import ConfigError
from xfer.recipe.load import DEMO, load_recipe, make_recipe, parse_override, to_toml
from xfer.recipe.meaning import image_size, plan
from xfer.recipe.names import FLAGS
from xfer.recipe.recipe import Recipe
from xfer.recipe.toml import parse_toml

ROOT = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(path for path in ROOT.rglob("*.toml") if path.parent.name != "studies")  # a study holds no recipe


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"train": {"epoch": 3}}, "unknown key train.epoch: expected one of train_from, "),
        ({"train": {"epoch": 3}}, "Did you mean 'epochs'?"),
        ({"trian": {}}, "Did you mean 'train'?"),
        ({"data": {"a\nb": 1}}, r"unknown key 'data.a\nb': expected one of source, "),
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


UNKNOWN_KEYS = {
    "train.save_best": "Cure: leave it out, as a run keeps the weights of its best epoch",
    "train.lr": "Cure: it is optimizer.lr",
    "train.Learning_Rate": "Cure: it is optimizer.lr",
    "optimizer.learning_rate": "Did you mean 'lr'?",
    "train.seed": "Cure: it is seed, before the first section",
    "train.source": "Cure: it is data.source or weights.source",
    "phases.0.batch_size": "Cure: it is train.batch_size",
    "lr_": "expected one of seed, data, ",
    "momentum": "Cure: it is optimizer.momentum",
    "model.pretrained": "Cure: it is weights.source = 'imagenet'",
    "train.amp": "Did you mean 'precision'?",
    "train.device": "Cure: it is no key but a flag of xfer train, --device",
    "optimizer.name": "expected one of kind, lr, ",
    "model.drop": "Did you mean 'dropout'?",
    "weights.partail": "Did you mean 'partial'?",
}


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_unknown_key_is_named_with_its_section_and_the_one_that_is_meant(key):
    with pytest.raises(ConfigError) as caught:
        make_recipe({"phases": [{"epochs": 1}]}, {key: 1})
    assert str(caught.value).startswith(f"recipe: unknown key {key}: expected one of ")
    assert str(caught.value).endswith(UNKNOWN_KEYS[key]) or "expected" in UNKNOWN_KEYS[key]
    assert UNKNOWN_KEYS[key] in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_recipe_from_any_editor_is_read(tmp_path, encoding, end):
    (tmp_path / "r.toml").write_bytes(f"seed = 3{end}[data]{end}source = 'vögel'{end}".encode(encoding))
    recipe = load_recipe(tmp_path / "r.toml")
    assert (recipe.seed, recipe.data.source) == (3, "vögel")


@pytest.mark.parametrize(("encoding", "named"), [("utf-16", "it is UTF-16"), ("latin-1", "it is no UTF-8 (")])
def test_a_recipe_in_another_encoding_is_named(tmp_path, encoding, named):
    (tmp_path / "r.toml").write_bytes("[data]\nsource = 'vögel'".encode(encoding))
    with pytest.raises(ConfigError, match="Cure: save it as UTF-8 in an editor") as caught:
        load_recipe(tmp_path / "r.toml")
    assert f"cannot be read: {named}" in str(caught.value)


@pytest.mark.parametrize(
    "path", [r"C:\Users\me", r"C:\data", r"C:\temp\new", r"\\server\share", "C:\\", r"data\new", r"data\birds"]
)
def test_a_windows_path_in_double_quotes_is_refused_with_single_ones(tmp_path, monkeypatch, path):
    for folder in ("data/new", "data/birds", r"data\new", r"data\birds"):  # the latter are the same on Windows
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(f'seed = 1\n[data]\nsource = "{path}"\non_leak = "drop"\n', encoding="utf-8")
    for read in (lambda: load_recipe("r.toml"), lambda: parse_override(f'data.source="{path}"')):
        with pytest.raises(ConfigError) as caught:
            read()
        assert f"Cure: single quotes, '{path}'" in str(caught.value)
        assert "\n" not in str(caught.value)
    Path("r.toml").write_text(f"[data]\nsource = '{path}'", encoding="utf-8")
    assert load_recipe("r.toml").data.source == path
    assert parse_override(f"data.source={path}") == ("data.source", path)


def test_a_name_may_hold_what_escapes_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in ("new\nline", "tab\there", "gone\\twice"):
        recipe = make_recipe({}, {"data": source})
        Path("r.toml").write_text(to_toml(recipe), encoding="utf-8")
        assert load_recipe("r.toml") == recipe


def test_other_faults_of_a_line_get_no_cure_of_backslashes():
    for text in (r'source = "a\\b" x', r'source = "\u00e4" "', "source = [", r"source = 'C:\Users' x"):
        with pytest.raises(ConfigError, match="not valid TOML") as caught:
            parse_toml(text, "r.toml")
        assert "Cure" not in str(caught.value)


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
