"""docs/tutorials: the commands of every page are run as they stand there, in one folder, on both frameworks.

What is added to a training makes it small: drawn pictures in place of the data set, 32 pixels, a convnet from random
weights, one epoch. Everything else of the recipe and of the command is as it stands.
"""

import re

import pytest
from click.testing import CliRunner

from tests.conftest import draw_nothing
from tests.documents import ROOT, blocks, commands_of, inline_code
from xfer.cli.main import main
from xfer.recipe.shipped import shipped
from xfer.studies.plan import read_plan
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

FOLDER = ROOT / "docs" / "tutorials"
INDEX = FOLDER / "index.md"
CHINESE = ROOT / "docs" / "zh"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page != INDEX)
SMALL = [
    "--data=pictures", "--arch=convnet", "--weights=random", "--epochs=1", "--batch-size=4", "--quiet",
    '--set=augment.train=[{op="RandomResizedCrop",size=32},{op="HorizontalFlip"}]',
    '--set=augment.eval=[{op="Resize",size=[36,36]},{op="CenterCrop",size=32}]',
]  # fmt: skip


def shown_commands(page):
    return [command.words for command in commands_of(page) if command.whole]


def backend_of(words):
    return words[words.index("--backend") + 1] if "--backend" in words else "torch"


def follow(words):
    """Run a command, a training in small."""
    assert words[0] in ("train", "compare"), words
    result = CliRunner().invoke(main, [*words, *(SMALL if words[0] == "train" else ())])
    assert result.exit_code == 0, f"xfer {' '.join(words)}\n{result.output}{result.exception}"
    return result.output


@pytest.fixture(scope="module", autouse=True)
def no_pictures_drawn():
    yield from draw_nothing()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What is trained on, and where the runs of all pages lie."""
    folder = tmp_path_factory.mktemp("tutorials")
    write_class_folders(folder / "pictures", counts=(6, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_followed_to_the_end(page, folder):
    require("torch")
    require("mindspore")
    for words in shown_commands(page):
        output = follow(words)
        if words[0] == "train":
            assert (folder / words[words.index("--output") + 1] / "best.safetensors").is_file()
        else:
            assert output.count("runs/") >= 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_trains_its_recipes_on_both_frameworks(page):
    trainings = [words for words in shown_commands(page) if words[0] == "train"]
    recipes = {words[words.index("-c") + 1] for words in trainings}
    plain = {(words[words.index("-c") + 1], backend_of(words)) for words in trainings if "--set" not in words}
    assert plain == {(recipe, backend) for recipe in recipes for backend in ("torch", "mindspore")}


def test_every_recipe_has_a_page():
    recipes = {name for name in shipped() if name.startswith("tutorials/")}
    trained = [words[words.index("-c") + 1] for page in PAGES for words in shown_commands(page) if words[0] == "train"]
    assert set(trained) == recipes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_every_part(page):
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    parts = ["What the original does, and where it is here", "Run it", "What one sees", "Try next", "Common mistakes",
             "Exercises"]  # fmt: skip
    assert [heading for heading in headings if heading in parts] == parts


def test_the_figures_say_what_gave_them():
    table = INDEX.read_text(encoding="utf-8").split("<!-- figures")[1].split("<!-- end of figures -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    head, _, *measured = rows
    assert head == ["tutorial", "pictures", "backend", "seeds", "best epoch", "95 %", "last epoch", "95 %", "command"]
    assert len(measured) >= 3
    for row in measured:
        assert len(row) == len(head)
        assert row[1] == "its own" or row[1].startswith("stand-in: ")
        assert row[2] in ("torch", "mindspore")
        for mean, interval in (row[4:6], row[6:8]):
            low, high = map(float, re.fullmatch(r"([\d.]+)-([\d.]+) %", interval).groups())
            assert low <= float(mean.removesuffix(" %")) <= high
        assert row[-1].startswith("`xfer ")


def parts(page):
    """What a translation leaves as it is: blocks, inline code, decimal figures in tables, headings, items and rows."""
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*", text, re.MULTILINE)
    return {
        "blocks": [block.text for block in blocks(text)],
        "code": sorted({code for code, _ in inline_code(text)}),
        "figures": sorted(re.findall(r"\d+\.\d+", "".join(rows))),
        "shape": [len(re.findall(rf"^{mark}", text, re.MULTILINE)) for mark in ("## ", r"\|", "- ", r"\d\. ")],
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_chinese_page_says_the_same(page):
    """The commands of the English one are run above."""
    english, chinese = parts(page), parts(CHINESE / page.name)
    for what, expected in english.items():
        assert chinese[what] == expected, what


def test_both_first_pages_lead_to_the_same_recipes():
    for first in (INDEX, CHINESE / "index.md"):
        rows = re.findall(r"^\| .*?\((\w+\.md)\)", first.read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(rows) == [page.name for page in PAGES]


@pytest.mark.parametrize("first", [INDEX, CHINESE / "index.md"], ids=["english", "chinese"])
def test_the_study_of_the_page_asks_for_twenty_runs(first, tmp_path):
    (snippet,) = [block.text for block in blocks(first.read_text(encoding="utf-8")) if block.language == "toml"]
    (tmp_path / "mine.toml").write_text(snippet, encoding="utf-8")
    runs = read_plan(tmp_path / "mine.toml", overrides={"data": "pictures"}).runs
    assert len({run.name for run in runs}) == 20
    assert {(run.mode, run.recipe.train.norm_stats) for run in runs} == {("frozen", "update"), ("follow", "follow")}
