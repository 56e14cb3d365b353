"""What a study's file says: which runs it asks for, with which recipes, and how it is refused."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import xfer.backend
from xfer.errors import BackendError, ConfigError, XferError
from xfer.recipe.load import load_recipe
from xfer.studies.plan import read_plan

ROOT = Path(__file__).parents[2]
KNOWN = {name: EntryPoint(name, "nowhere:Backend", xfer.backends.GROUP) for name in ("torch", "mindspore")}
RECIPE = '[model]\narch = "tiny"\n[train]\nepochs = 2\nbatch_size = 8\n'


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr("xfer.studies.plan.declared", lambda: KNOWN)


@pytest.fixture
def read(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "a.toml").write_text(RECIPE)
    (tmp_path / "recipes" / "r.toml").write_text(RECIPE + '[weights]\nsource = "random"\n')

    def read(text, **flags):
        (tmp_path / "my_study.toml").write_text(text)
        return read_plan(tmp_path / "my_study.toml", **flags)

    return read


def names(plan):
    return [run.name for run in plan.runs]


A = '[modes.a]\nrecipe = "recipes/a.toml"\n'
R = '[modes.r]\nrecipe = "recipes/r.toml"\n'


def test_what_is_left_out_is_one_seed_on_torch_by_the_name_of_the_file(read):
    plan = read(A)
    assert (plan.name, names(plan)) == ("my_study", ["a-torch-0"])


def test_modes_come_times_backends_times_seeds_and_may_have_their_own(read):
    head = 'name = "s"\nbackends = ["torch", "mindspore"]\nseeds = [3, 1]\n'
    plan = read(head + A + R + 'backends = ["mindspore"]\nseeds = 2\n')
    assert names(plan) == ["a-torch-3", "a-torch-1", "a-mindspore-3", "a-mindspore-1", "r-mindspore-0", "r-mindspore-1"]
    assert [run.recipe.seed for run in plan.runs] == [3, 1, 3, 1, 0, 1]
    asked = read(head + A + R + "seeds = 5\n", backends=["torch"], seeds=1)
    assert names(asked) == ["a-torch-0", "r-torch-0"]


def test_a_recipe_for_all_modes_that_name_none(read):
    plan = read('recipe = "recipes/r.toml"\n[modes.one]\n[modes.two]\nrecipe = "recipes/a.toml"')
    assert [run.recipe.weights.source for run in plan.runs] == ["random", "imagenet"]


def test_overrides_lie_over_the_modes_over_the_studys_over_the_recipes(read, tmp_path):
    text = "[set]\nepochs = 3\nlr = 0.5\n" + A + 'set = { "train.epochs" = 4, train.views = 1 }\n' + R
    (a, r) = read(text).runs
    assert (a.recipe.train.epochs, a.recipe.train.views, a.recipe.optimizer.lr) == (4, 1, 0.5)
    assert (r.recipe.train.epochs, r.recipe.train.views, r.recipe.optimizer.lr) == (3, "auto", 0.5)
    assert {run.recipe.train.batch_size for run in (a, r)} == {8}
    assert [run.recipe.train.epochs for run in read(text, overrides={"epochs": 9}).runs] == [9, 9]
    (plain,) = read(A).runs
    assert plain.recipe == load_recipe(tmp_path / "recipes" / "a.toml")


def test_a_mode_takes_a_recipe_that_comes_with_xfer_by_its_name_and_a_file_before_it(read, tmp_path):
    text = "[modes.a]\nrecipe = 'tutorials/wolf_dog_frozen'\n"
    (run,) = read(text).runs
    assert run.recipe == load_recipe("tutorials/wolf_dog_frozen")
    (tmp_path / "tutorials").mkdir()
    (tmp_path / "tutorials" / "wolf_dog_frozen").write_text("[train]\nepochs = 77\n")
    (run,) = read(text).runs
    assert run.recipe.train.epochs == 77


def test_weights_are_for_recipes_that_start_from_imagenet(read):
    sources = [run.recipe.weights.source for run in read(A + R, weights="w.pth").runs]
    assert sources == ["w.pth", "random"]
    (own,) = read(A + 'set = { weights = "own.pth" }\n', weights="w.pth").runs
    assert own.recipe.weights.source == "own.pth"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "modes is missing"),
        ("modes = {}", "modes = {}"),
        ('nam = "x"\n' + A, "unknown key nam: .*Did you mean 'name'"),
        ('name = "a/b"\n' + A, "name = 'a/b'.*names of files"),
        ("[modes.'../a']\nrecipe='recipes/a.toml'", "names of files"),
        ("[modes.a]\nrecip = 'x'", "modes.a: unknown key recip: .*Did you mean 'recipe'"),
        ("[modes.a]", "modes.a: recipe is missing"),
        ("[modes.a]\nrecipe = 'nowhere.toml'", "nowhere.toml: no such file"),
        ("seeds = 0\n" + A, "seeds = 0.*above 0"),
        ("seeds = []\n" + A, "seeds = .*one or more"),
        ("seeds = [1, 1]\n" + A, "seeds = .*once"),
        ("seeds = true\n" + A, "seeds"),
        (A + "seeds = [-1]", "modes.a: seeds"),
        ("backends = []\n" + A, "backends = "),
        ("backends = ['torc']\n" + A, "backend of mode a = 'torc'.*Did you mean 'torch'"),
        ("[set]\nseed = 3\n" + A, r"set: seed cannot be set.*Cure: seeds = \[3\]"),
        (A + "set = { train.epoch = 3 }", "mode a .*unknown key train.epoch: .*Did you mean 'epochs'"),
        (A + "set = { when = 2020-01-01 }", "of a kind that no recipe needs"),
        ("seeds = [", "not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_one_line(text, message, read):
    with pytest.raises(XferError, match=message) as refused:
        read(text)
    assert "\n" not in str(refused.value)


def test_flags_are_checked_as_the_file_is(read, tmp_path):
    with pytest.raises(ConfigError, match="seeds = 0"):
        read(A, seeds=0)
    with pytest.raises(ConfigError, match="seed cannot be set"):
        read(A, overrides={"seed": 3})
    with pytest.raises(BackendError, match="'jax'"):
        read(A, backends=["jax"])
    with pytest.raises(ConfigError, match=r"study .*gone\.toml: no such file"):
        read_plan(tmp_path / "gone.toml")


def test_runs_that_would_share_a_folder_are_refused(read, monkeypatch):
    monkeypatch.setattr("xfer.studies.plan.declared", lambda: KNOWN | {"x-torch": KNOWN["torch"]})
    with pytest.raises(ConfigError, match="the same name"):
        read("[modes.a]\nrecipe='recipes/a.toml'\nbackends=['x-torch']\n[modes.a-x]\nrecipe='recipes/a.toml'")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_the_studies_that_come_along_can_be_meant(path):
    assert read_plan(path).name == path.stem


def test_the_layer_search_differs_in_where_it_cuts_alone():
    runs = read_plan(ROOT / "configs" / "studies" / "layer_search.toml", seeds=1).runs
    assert [run.recipe.train.train_from for run in runs] == ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    recipes = [run.recipe.model_dump() for run in runs]
    for recipe in recipes:
        del recipe["train"]["train_from"], recipe["features"]  # of which the second changes no result
    assert all(recipe == recipes[0] for recipe in recipes)
