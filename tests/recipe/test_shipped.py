"""Recipes and studies that come with xfer go by their names, from a checkout and from what a wheel installs."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.recipe.load import load_recipe
from xfer.recipe.shipped import find_recipe, shipped
from xfer.studies.plan import read_plan

CHECKOUT = Path(__file__).parents[2]
HATCH = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
WHEEL = HATCH["build"]["targets"]["wheel"]
FROM_A_WHEEL = """
from pathlib import Path
import xfer
from xfer.studies.plan import read_plan
print(Path(xfer.__file__).parents[1] == Path.cwd() / "site")
print(xfer.load_recipe("ants_bees_frozen").train.views, xfer.load_recipe("tutorials/wolf_dog_frozen").data.source)
print(len(read_plan(Path("ants_bees_modes")).runs))
"""


@pytest.fixture(autouse=True)
def away_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_every_file_has_a_name():
    files = sorted((CHECKOUT / "configs").rglob("*.toml"))
    assert sorted([*shipped().values(), *shipped("study").values()]) == files
    assert {"ants_bees_frozen", "tutorials/ants_bees_frozen", "tutorials/hotdog_finetune"} <= set(shipped())
    assert set(shipped("study")) == {"ants_bees_modes", "layer_search"}


@pytest.mark.parametrize("name", [*shipped()])
def test_a_recipe_goes_by_its_name(name):
    assert load_recipe(name) == load_recipe(CHECKOUT / "configs" / f"{name}.toml")


@pytest.mark.parametrize("name", [*shipped("study")])
def test_a_study_goes_by_its_name(name):
    assert read_plan(Path(name)) == read_plan(CHECKOUT / "configs" / "studies" / f"{name}.toml")


def test_what_a_wheel_installs_has_them_too(tmp_path):
    site = tmp_path / "site"
    for package in WHEEL["packages"]:
        shutil.copytree(CHECKOUT / package, site / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in WHEEL["force-include"].items():
        shutil.copytree(CHECKOUT / source, site / target)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{FROM_A_WHEEL}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "4", "dogs_wolves", "23"], done.stderr


def test_a_file_that_is_there_goes_before_a_name():
    Path("ants_bees_frozen").write_text("seed = 7", encoding="utf-8")
    assert load_recipe("ants_bees_frozen").seed == 7
    Path("ants_bees_frozen").unlink()
    Path("ants_bees_frozen").mkdir()  # the folder of a run, say
    assert load_recipe("ants_bees_frozen").seed == 0


def test_a_name_that_nothing_has_lists_those_that_exist():
    with pytest.raises(ConfigError, match="Did you mean 'ants_bees_frozen'") as caught:
        find_recipe(Path("ants_bes_frozen"))
    assert all(name in str(caught.value) for name in shipped())
    with pytest.raises(ConfigError, match="study = 'layers': expected one of ants_bees_modes, layer_search"):
        read_plan(Path("layers"))
    Path("mine.toml").write_text("seed = 7", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Cure: mine\.toml"):
        load_recipe("mine")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["train", "-c", "configs/ants_bees_frozen.toml"], "ants_bees_frozen"),
        (["train", "-c", "ants_bees_frozen.toml"], "ants_bees_frozen"),
        (["train", "-c", "configs/tutorials/hotdog_finetune.toml"], "tutorials/hotdog_finetune"),
        (["study", "configs/studies/layer_search.toml"], "layer_search"),
    ],
)
def test_a_path_in_a_checkout_is_answered_with_the_name(words, name):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert f"{words[-1]}: no such file. Cure: its name alone, {name}," in result.stderr


def test_a_path_that_is_not_there_is_named_as_ever():
    for path in ("gone.toml", "configs/gone.toml"):
        with pytest.raises(ConfigError, match=f"recipe {path}: no such file$"):
            load_recipe(path)
