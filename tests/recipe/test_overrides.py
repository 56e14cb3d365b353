"""Overrides from Python: typed as the recipe is, and a name of another trainer is answered with what is meant."""

import ast
import os
import re
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

import xfer
from xfer.errors import ConfigError
from xfer.recipe.load import load_recipe, make_recipe
from xfer.recipe.names import FLAGS, MEANT, NEEDLESS
from xfer.recipe.overrides import Overrides, StudyOverrides, overrides_of
from xfer.recipe.recipe import Recipe
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

VERBS = {"train": xfer.train, "study": xfer.study}


def type_in_the_recipe(key):
    """Of a dotted key, without the ranges that only pydantic checks."""
    kind = Recipe
    for part in key.split("."):
        kind = get_type_hints(kind, include_extras=True)[part]
    return without_ranges(kind)


def without_ranges(kind):
    if get_origin(kind) is Annotated:
        return without_ranges(get_args(kind)[0])
    union = get_origin(kind) is type(int | str) or str(get_origin(kind)) == "typing.Union"
    return frozenset(map(without_ranges, get_args(kind))) if union else kind


@pytest.mark.parametrize("flag", FLAGS)
def test_an_override_has_the_type_of_the_key_it_overrides(flag):
    paths = {"data", "weights"}
    wanted = frozenset({str, os.PathLike[str]}) if flag in paths else type_in_the_recipe(FLAGS[flag])
    assert without_ranges(get_type_hints(Overrides)[flag]) == wanted
    assert type_in_the_recipe(FLAGS[flag]) == (str if flag in paths else wanted)


def test_every_flag_is_an_override_and_the_signatures_say_so():
    assert get_type_hints(Overrides).keys() == FLAGS.keys()
    assert get_type_hints(StudyOverrides).keys() == FLAGS.keys() - {"data", "weights", "seed"}
    for verb, names in (("train", Overrides), ("study", StudyOverrides)):
        (unpacked,) = get_args(get_type_hints(VERBS[verb])["overrides"])
        assert unpacked is names


def cure(verb, **keywords):
    """What stands behind `Cure:` in the one line that refuses these keywords."""
    with pytest.raises(ConfigError) as caught:
        VERBS[verb]("nothing", **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition(" Cure: ")[2]


CURES = {
    "epoch=5": "epochs=5",
    "learning_rate=0.001": "lr=0.001",
    "model='resnet18'": "arch='resnet18'",
    "bs='8'": "batch_size='8'",
    "checkpoint=Path('w.pth')": "weights='w.pth'",
    "pretrained=True": "weights='imagenet'",
    "pretrained=False": "weights=...",
    "freeze=10": "train_from='STAGE'",
    "freeze_backbone=True": "train_from='head'",
    "gpu=0": "device='cuda:0'",
    "accelerator='gpu'": "device='auto|cpu|cuda'",
    "exist_ok=True": "overwrite=True",
    "quiet=True": "progress=False",
    "config='a.toml'": "recipe='a.toml'",
    "framework='mindspore'": "backend='mindspore'",
    "wd=0.0001": "set={'optimizer.weight_decay': 0.0001}",
    "num_workers=2": "set={'data.workers': 2}",
    "optimizer='adam'": "set={'optimizer.kind': 'adam'}",
    "schedule='cosine'": "set={'schedule.kind': 'cosine'}",
    "amp=True": "set={'train.precision': 'bfloat16'}",
    "amp=False": "set={'train.precision': ...}",
    "decode='draft'": "set={'data.decode': 'draft'}",
    "betas=(0.9, 0.95)": "set={'optimizer.betas': (0.9, 0.95)}",
    "kind='adam'": "set={'optimizer.kind': 'adam'} or set={'schedule.kind': 'adam'}",
    "cos_lr=True": "set={'schedule.kind': 'cosine'}",
    "model=object()": "arch=...",
    "model='x' * 100": "arch=...",
    "kfold=5": "xfer.cross_validate(..., folds=5)",
    "num_classes=3": "leave it out, as the classes are the folders of the data",
}


@pytest.mark.parametrize("words", CURES)
def test_a_keyword_of_another_trainer_is_answered_with_its_value(words):
    assert cure("train", **eval(f"dict({words})", {"Path": Path})) == CURES[words]


@pytest.mark.parametrize("name", sorted(MEANT.keys() - {n.replace("_", "-") for n in FLAGS}))
def test_every_name_is_an_argument_or_has_a_cure_that_exists(name):
    parameters = xfer.train.__annotations__
    if (keyword := name.replace("-", "_")) in parameters:
        return
    meant = cure("train", **{keyword: True})
    if name in MEANT and MEANT[name].flag == "--folds":
        assert meant == "xfer.cross_validate(..., folds=True)"
        return
    argument, _, value = re.sub(r"\.\.\.$", "0", meant).partition("=")
    assert argument in {*FLAGS, *parameters}
    for key in ast.literal_eval(value.replace("...", "0")) if argument == "set" else ():
        assert type_in_the_recipe(key)


@pytest.mark.parametrize("name", sorted(NEEDLESS))
def test_what_nobody_has_to_say_is_no_argument(name):
    assert cure("study", **{name.replace("-", "_"): 3}) == f"leave it out, as {NEEDLESS[name]}"


def test_a_study_is_told_only_of_what_it_has():
    assert cure("study", epoch=3) == "epochs=3"
    assert cure("study", n_splits=4) == "folds=4"
    with pytest.raises(ConfigError, match=r"argument of xfer\.study = 'quiet': expected one of source, backends, "):
        xfer.study("nothing", quiet=True)


def test_a_name_that_nobody_has_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"argument of xfer\.train = 'outptu': .* Did you mean 'output'\?"):
        xfer.train(outptu="x")
    with pytest.raises(ConfigError, match=r"Did you mean 'epochs'\?"):
        xfer.train(epohcs=3)
    with pytest.raises(ConfigError, match=r"unknown key optimizer\.lrr: .* Did you mean 'lr'\?"):
        xfer.train(set={"optimizer.lrr": 0.1})


def test_a_folder_in_the_place_of_a_recipe_is_answered_with_data(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=f"a folder, expected a TOML file. Cure: data='{tmp_path}'"):
        xfer.train(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("ants_bees_frozen").mkdir()
    with pytest.raises(xfer.XferError, match="cannot build resnet18"):  # its recipe was read
        xfer.train("ants_bees_frozen", NumpyBackend())


def test_keywords_and_set_are_laid_over_the_recipe_and_paths_are_paths(tmp_path):
    data = write_class_folders(tmp_path / "pictures")
    run = xfer.train(
        None,
        NumpyBackend(),
        output=tmp_path / "run",
        data=data,
        weights="random",
        arch="tiny",
        size=8,
        epochs=1,
        views="fresh",
        set={"optimizer.momentum": 0.8, "train.epochs": 2},
    )
    assert len(run.history) == 2
    assert run.recipe.data.source == str(data)
    assert (run.recipe.train.views, run.recipe.optimizer.momentum) == ("fresh", 0.8)
    assert load_recipe(None, {"data": data}) == make_recipe({"data": {"source": str(data)}}, {})


def test_sections_and_dotted_keys_pass_as_keywords_too():
    keywords = {"phases": [{"epochs": 1}], "optimizer": {"lr": 0.1}, "train.views": 2, "lr": 0.2}
    assert overrides_of(xfer.train, keywords, {"seed": 1}) == {**keywords, "seed": 1}
