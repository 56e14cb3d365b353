"""Flags that people bring from other trainers are answered with what xfer calls them, and what it is called exists."""

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xfer.cli.main import main
from xfer.cli.train import train
from xfer.recipe.load import make_recipe, parse_override
from xfer.recipe.names import MEANT, NEEDLESS
from xfer.results.run import Run
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn_module")

SMALL = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "1", "-q"]
OPTIONS = {flag: param for param in train.params if isinstance(param, click.Option) for flag in param.opts}


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def cure(*words):
    """What stands behind `Cure:` in the one line that refuses these words."""
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2, result.output
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert not list(Path().iterdir()), "nothing is left behind"
    return result.stderr.strip().partition(" Cure: ")[2]


def exists(flag, value=""):
    """Whether `xfer train` knows a flag, or, in `--set`, the recipe a key."""
    if flag != "--set":
        return flag in OPTIONS and OPTIONS[flag].is_flag == (value == "")
    key, _, _ = value.partition("=")
    section = make_recipe({}, {}).model_dump()
    for part in key.split("."):
        section = section[part]
    return True


@pytest.mark.parametrize("name", sorted(MEANT))
def test_every_name_is_a_flag_or_has_a_cure_that_exists(name):
    flag = f"-{name}" if len(name) == 1 else f"--{name}"
    for words in [[flag], [flag, "7"]]:
        assert flag in OPTIONS or exists(*shlex.split(cure("train", "pictures", *words)))


@pytest.mark.parametrize("meant", sorted(set(MEANT.values())))
def test_a_value_that_a_name_fixes_is_one_that_can_be_had(meant):
    assert meant.flag in OPTIONS if meant.flag else meant.key
    if meant.key and meant.value:
        make_recipe({}, dict([parse_override(f"{meant.key}={meant.value}")]))


@pytest.mark.parametrize("name", sorted(NEEDLESS))
def test_what_nobody_has_to_say_is_no_flag_and_no_key(name):
    assert cure("train", "pictures", f"--{name}", "3") == f"leave it out, as {NEEDLESS[name]}"
    assert name not in MEANT


CURES = {
    "--model resnet18": "--arch resnet18",
    "--model=resnet18": "--arch resnet18",
    "--pretrained": "--weights imagenet",
    "--pretrained true": "--weights imagenet",
    "--pretrained false": "--weights 'imagenet|random|FILE|RUN'",
    "--freeze 10": "--train-from STAGE",
    "--wd 0.01": "--set optimizer.weight_decay=0.01",
    "-wd 0.01": "--set optimizer.weight_decay=0.01",
    "--weight-decay 1e-4": "--set optimizer.weight_decay=1e-4",
    "--weight_decay=1e-4": "--set optimizer.weight_decay=1e-4",
    "--opt adamw": "--set optimizer.kind=adamw",
    "--sched cosine": "--set schedule.kind=cosine",
    "--schedule cosine": "--set schedule.kind=cosine",
    "--workers 4": "--set data.workers=4",
    "--workers 1": "--set data.workers=1",
    "-j 4": "--set data.workers=4",
    "-j4": "--set data.workers=4",
    "--img-size 64": "--size 64",
    "--imgsz 64": "--size 64",
    "--amp": "--set train.precision=bfloat16",
    "--dropout 0.2": "--set model.dropout=0.2",
    "--smoothing 0.1": "--set loss.label_smoothing=0.1",
    "--class-weights balanced": "--set loss.class_weights=balanced",
    "--val-split 0.2": "--set data.val_fraction=0.2",
    "--project runs": "--output runs",
    "--name 'my run'": "--output 'my run'",
    "--cuda": "--device cuda",
    "--gpu 1": "--device cuda:1",
    "--data-path d": "--data d",
    "--lr0 0.1": "--lr 0.1",
    "-lr 0.1": "--lr 0.1",
    "--batch 8": "--batch-size 8",
    "--batch_size 8": "--batch-size 8",
    "-bs 8": "--batch-size 8",
    "-b 8": "--batch-size 8",
    "--momentum 0.8": "--set optimizer.momentum=0.8",
    "--max-epochs 3": "--epochs 3",
    "--accelerator gpu": "--device 'auto|cpu|cuda'",
    "--devices 1": "--device 'auto|cpu|cuda'",
    "--exist-ok": "--overwrite",
    "--lr0": "--lr VALUE",
    "--lr0 -q": "--lr VALUE",
}


@pytest.mark.parametrize("words", CURES)
def test_a_flag_of_another_trainer_is_answered_with_its_value(words):
    assert shlex.split(cure("train", "pictures", *shlex.split(words))) == shlex.split(CURES[words])


OTHER_COMMANDS = {
    "predict run d --gpu 0": "--device cuda:0",
    "predict run --images d": "give it without a flag: predict RUN|CHECKPOINT FILE|FOLDER|GLOB...",
    "predict --weights run d": "give it without a flag: predict RUN|CHECKPOINT FILE|FOLDER|GLOB...",
    "predict run d --num-classes 3": "see xfer predict --help",
    "evaluate run --data-path d": "--data d",
    "evaluate --ckpt run": "give it without a flag: evaluate RUN|CHECKPOINT",
    "data check --data d": "give it without a flag: check DIR|ARCHIVE|NAME",
    "data check d --size 64": "--set augment.size=64",
    "study s.toml --lr 0.1": "--set optimizer.lr=0.1",
    "train d --nonsense": "see xfer train --help",
    "train d -- --lr0": "see xfer train --help",
}


@pytest.mark.parametrize("words", OTHER_COMMANDS)
def test_other_commands_name_only_what_they_have(words):
    assert cure(*words.split()).replace("main", "xfer") == OTHER_COMMANDS[words]


def test_the_pictures_may_be_named_first():
    write_class_folders(Path("set"))
    for output, words in (("a", ["set"]), ("b", ["--data", "set"])):
        result = CliRunner().invoke(main, ["train", *words, "-o", output, *SMALL])
        assert result.exit_code == 0, result.stderr
    assert Run.load("a").recipe == Run.load("b").recipe
    assert Run.load("a").recipe.data.source == "set"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("data=set epochs=3", "--data set"),
        ("imgsz=64", "--size 64"),
        ("wd=0.1 data=set", "--set optimizer.weight_decay=0.1"),
    ],
)
def test_words_with_an_equals_sign_are_answered_alike(words, meant):
    assert cure("train", *words.split()) == meant


def test_a_folder_may_have_an_equals_sign():
    write_class_folders(Path("lr=0.1"))
    result = CliRunner().invoke(main, ["train", "lr=0.1", "-o", "out", *SMALL])
    assert result.exit_code == 0, result.stderr
    assert Run.load("out").recipe.data.source == "lr=0.1"


def test_the_pictures_are_named_once_and_are_no_recipe():
    assert cure("train", "set", "--data", "set", *SMALL) == "leave out one"
    assert cure("train", "my recipe.toml") == "-c 'my recipe.toml'"
