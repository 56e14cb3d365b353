"""What the pages tell people to type is understood: commands by click, keys by the recipe, snippets by Python.

Nothing is run here: tests/test_first_model.py and tests/test_tutorial_pages.py run what two kinds of pages say.
"""

import ast
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import xfer
from tests.documents import PAGES, ROOT, blocks, commands_of, inline_code
from xfer.cli.main import main
from xfer.cli.options import overrides_of
from xfer.errors import XferError
from xfer.graphs.kinds import KINDS
from xfer.nets import catalogue
from xfer.recipe.load import load_recipe, make_recipe, parse_override
from xfer.recipe.meaning import network
from xfer.recipe.names import FLAGS
from xfer.recipe.recipe import Recipe
from xfer.studies.plan import read_plan
from xfer.testing.numpy_backend import NumpyBackend

TYPED = [page for page in PAGES if page.name != "cli.md"]  # that one is written from the commands
BACKENDS = {"torch", "mindspore", "jax", "B"}  # jax is the example of backends.md; B stands for any
OTHERS = {"--wd", "--imgsz", "--force-reinstall", "--check", "--help", "--cores", "--precision", "--quick"}
"""Flags on the pages that are not xfer's: of other trainers, of pip, and of this project's tools and benchmarks."""
LEFT_OUT = re.compile(r"Missing (argument|option|parameter|command)|requires an argument|^Usage: ")
"""What click says of a command in a sentence that is not there in full: `xfer convert`, `xfer cache prune --to`."""


class Everything(NumpyBackend):
    """Builds every network, as far as one only asks which stages it has."""

    kinds = frozenset(KINDS)


def parsed(command):
    """The context that click gives a command, or None of one that ends by itself or is not there in full.

    AssertionError, with the line that a user would read, where it is refused.
    """
    contexts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Command, "invoke", lambda self, context: contexts.append(context))
        result = CliRunner().invoke(main, [number(word) for word in command.words])
    if not command.whole and LEFT_OUT.search(result.output):
        return None
    assert result.exit_code == 0, f"{command}\n{result.output}{result.exception}"
    return contexts[-1] if contexts else None


def number(word):
    """A letter that stands for a number, as in `--folds K`, is one."""
    return "5" if word in ("K", "N") else word


def check(command):
    """AssertionError where a command, an option, a value or a key that it overrides is not there."""
    context = parsed(command)
    if context is None:
        return
    given = context.params
    try:
        check_recipe(context.info_name, given)
    except XferError as error:
        raise AssertionError(f"{command}\n{error}") from None
    backends = given.get("backends") or given.get("backend") or ()
    named = backends.split(",") if isinstance(backends, str) else backends
    assert {name.partition(":")[0] for name in named} <= BACKENDS, str(command)


def check_recipe(name, given):
    """Resolve the recipe of a command's parameters. Raises XferError where that is none."""
    sets = dict(map(parse_override, given.get("sets", ())))
    if name == "study" and not is_of_the_reader(given["source"]):
        read_plan(given["source"], seeds=given["seeds"], folds=given["folds"], overrides=sets)
    elif name in ("train", "find-lr"):
        flags = {key: value for key, value in given.items() if key in FLAGS}
        flags["data"] = given["folder"] or flags["data"]
        if str(flags["arch"]).startswith("timm/"):  # to ask timm takes long, and it may not be there
            flags["arch"] = None
        recipe = load_recipe(given["config"], overrides_of(flags, given["sets"]))
        if recipe.model.arch in catalogue.names():
            network(recipe, Everything())
    else:
        make_recipe({}, sets)


def is_of_the_reader(study):
    """A file in the current folder, `mine.toml`: those of the project have a folder or go by their names."""
    return study.suffix == ".toml" and study == Path(study.name)


def known_flags(command=main):
    """Every option of every command."""
    flags = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return flags.union(*map(known_flags, below))


def unknown_words(code):
    """What a piece of inline code names that is not there: flags, keys of `--set`, keys of recipes, names of `xfer.`"""
    if code.startswith("-"):
        flags = re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", code)
        yield from (flag for flag in flags if flag not in known_flags() | OTHERS)
        yield from (key for key in re.findall(r"--set (?!KEY|section)([\w.]+)=", code) if not is_key(key))
    match = re.fullmatch(r"((\w+)\.(?!py)\w+)(?: = .*)?", code)
    if match and match[2] in Recipe.model_fields and not is_key(match[1]):
        yield code
    if (match := re.match(r"xfer\.(\w+)", code)) and not is_name_of_xfer(match[1]):
        yield code


def is_key(dotted):
    """Whether a recipe has this key; what follows it in a list of augmentations is not looked at."""
    section, _, key = dotted.partition(".")
    table = Recipe.model_fields.get(section)
    return table is not None and (not key or key.split(".")[0] in getattr(table.annotation, "model_fields", {}))


def is_name_of_xfer(name):
    """Of a public name, a module, or a group of entry points."""
    return name in xfer.__all__ or name == "loggers" or importlib.util.find_spec(f"xfer.{name}") is not None


def check_python(text):
    """SyntaxError, or AssertionError for a name of `xfer.` or a keyword of its verbs that is not there."""
    nodes = list(ast.walk(ast.parse(text)))
    named = {node: node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "xfer"}
    for name in named.values():
        assert is_name_of_xfer(name), f"xfer.{name}"
    for node in nodes:
        if isinstance(node, ast.Call) and inspect.isfunction(verb := getattr(xfer, named.get(node.func, ""), None)):
            known = {*inspect.signature(verb).parameters, *FLAGS}
            unknown = {keyword.arg for keyword in node.keywords if keyword.arg} - known
            assert not unknown, f"{ast.unparse(node)}: {unknown}"


def check_toml(text):
    """TOMLDecodeError, or XferError where tables of a recipe hold what no recipe has."""
    content = tomllib.loads(text)
    if content.keys() <= Recipe.model_fields.keys():
        make_recipe(content, {})


def problems(page):
    """Everything on a page that is not there, a line for each."""
    text = page.read_text(encoding="utf-8")
    for command in commands_of(page):
        try:
            check(command)
        except AssertionError as error:
            yield str(error)
    for code, line in inline_code(text) if page.name != "peers.md" else ():  # flags and keys of other tools
        yield from (f"{page.name}:{line}: {word}" for word in unknown_words(code))
    checks = {"python": check_python, "toml": check_toml}
    for block in blocks(text):
        try:
            checks.get(block.language, str)(block.text)
        except (AssertionError, SyntaxError, tomllib.TOMLDecodeError, XferError) as error:
            yield f"{page.name}:{block.line}: {error}"


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_all_that_a_page_tells_to_type_is_there(page, monkeypatch):
    monkeypatch.chdir(ROOT)  # of a checkout: configs/ lies there
    assert list(problems(page)) == []


def test_commands_are_found_in_blocks_and_sentences(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `xfer train\npictures --epochs 3`, or `a` and `xfer.train`.\n\n"
        "```\nXFER_LOGGERS=csv xfer train --resume auto ...   # goes on\nls\n```\n\n"
        "- an item\n\n  ```sh\n  xfer predict run \\\n    'a b/*.jpg'\n  ```\n\n```text\nxfer said this\n```\n"
    )
    assert [(str(command), command.whole) for command in commands_of(page)] == [
        ("page.md:5: xfer train --resume auto", True),
        ("page.md:12: xfer predict run 'a b/*.jpg'", True),
        ("page.md:1: xfer train pictures --epochs 3", False),
    ]
    assert sum(command.whole for page in TYPED for command in commands_of(page)) > 70


FAULTS = [
    "```\nxfer trian pictures\n```",
    "```\nxfer train pictures --epoch 3\n```",
    "```\nxfer train pictures --epochs three\n```",
    "```\nxfer train a b\n```",
    "```\nxfer convert a.pth\n```",
    "```\nxfer evaluate run --tta mirror\n```",
    "```\nxfer train pictures --set train.patiance=3\n```",
    "```\nxfer train pictures --set optimizer.lr=fast\n```",
    "```\nxfer train pictures --train-from layer9\n```",
    "```\nxfer train -c ants_bees_forzen\n```",
    "```\nxfer train pictures --backend tensorflow\n```",
    "```\nxfer study ants_bees_modes --set train.epoch=3\n```",
    "Say `xfer data chekc`.",
    "Say `xfer convert --overwrit`.",
    "Say `--augmix`.",
    "Say `--set mix.mixu=0.2`.",
    "Say `train.emma`.",
    "Say `optimizer.learning_rate = 0.1`.",
    "Say `xfer.fit(...)`.",
    "```toml\n[train]\nepoch = 3\n```",
    "```toml\n[train\n```",
    "```python\nimport xfer\nxfer.train(data='pictures', epoch=3)\n```",
    "```python\nxfer.fit()\n```",
    "```python\nfor\n```",
]


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_not_there_is_found(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    assert len(list(problems(page))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Say `xfer study --folds K`, `xfer cache ls [--json]`, `xfer export --opset` or `-o`.",
        "`train.ema = 0.9`, `--set augment.train.0.size=128`, `augment.py`, `xfer.Run`, `xfer.testing.kinds`",
        "```python\nimport xfer\nxfer.train(data='pictures', epochs=3, set={'mix.mixup': 0.2}).evaluate()\n```",
        '```toml\n[project]\nname = "another"\n```',
    ],
)
def test_what_is_there_is_not_complained_of(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    assert list(problems(page)) == []
