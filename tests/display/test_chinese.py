"""The table of Chinese: each of its entries is something that the code says, and each hole of one keeps its value."""

import ast
import os
import re
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

import xfer
from xfer.display import language, warned
from xfer.display.screen import Work, picture
from xfer.display.show import shown
from xfer.display.templates import LONGEST, Template, packaged
from xfer.plots.files import PictureWarning

ROOT = Path(xfer.__file__).parent
TABLE = packaged("zh")
PARTS_OF_IT = [TABLE.lines, TABLE.words, TABLE.headings, TABLE.labels, *TABLE.cells.values()]
ENTRIES = [
    *((template.source, template.target) for template in TABLE.frames + TABLE.counted),
    *TABLE.helps.items(),
    *(entry for part in PARTS_OF_IT for entry in part.entries.items()),
]
NAMES_OF_OURS = {"GMAC", "kB", "[Errno ] ："}
NOT_OURS = ("Input should be ",)  # pydantic's, which is no Python: tests/cli/test_in_chinese.py has it say them


WORD = re.compile(r"[A-Za-z][\w'-]*|\d+")


class Said:
    """What a file says: its texts, an f-string in parts, as words."""

    def __init__(self, texts):
        parts = (part for text in texts for part in re.split(r"Cure: |\{\w+\}", text))
        self.texts = frozenset(" ".join(WORD.findall(part)) for part in parts)
        self.neighbours = frozenset(pair for text in self.texts for pair in pairwise(text.split()))

    def says(self, words):
        """Whether each of them is one of two that follow on each other here, or all of what is said in one place.

        A number and the s of a plural may be put in by the code.
        """
        joined = [False, *(pair in self.neighbours for pair in pairwise(words)), False]
        return all(
            any(sides) or word.isdecimal() or {word, word.removesuffix("s")} & self.texts
            for word, sides in zip(words, pairwise(joined), strict=False)
        )


@cache
def files():
    """Those of the code, then click together, the system, and all of it together."""
    own = [*ROOT.rglob("*.py"), *(ROOT.parent / "backends").rglob("*.py")]
    texts = [strings(file) for file in own]
    clicks = [text for file in Path(click.__file__).parent.glob("*.py") for text in strings(file)]
    errors = ["Errno", *(os.strerror(number) for number in range(1, 132))]
    texts += [clicks, [*errors, *map(str.lower, errors)]]
    return [*map(Said, texts), Said([text for part in texts for text in part])]


def strings(file):
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def place(source):
    """Which of the files is the first that has all of an entry's texts, those around its holes; None for none."""
    texts = [WORD.findall(text) for text in re.split(r"\{\w+[#!?*]?\}", source)]
    texts.sort(key=len, reverse=True)  # most files are out by the longest
    return next((number for number, file in enumerate(files()) if all(map(file.says, texts))), None)


PUT_TOGETHER = 31
"""Entries for what the code puts together in several files. One more is one whose own file says it no longer."""


def test_each_entry_is_something_that_the_code_says():
    sources = [source for source, _ in ENTRIES if not source.startswith(NOT_OURS)]
    assert len(sources) > 700
    found = {source: place(source) for source in sources}
    cure = "Cure: what the code says, in xfer/display/zh.json too"
    assert [source for source in sources if found[source] is None] == [], cure
    together = [source for source in sources if found[source] == len(files()) - 1]
    assert len(together) <= PUT_TOGETHER, "\n".join([*together, cure])


@pytest.mark.parametrize("text", ["frozen solid", "pictures galore", "left  out", "2 runs"])
def test_what_nobody_says_is_told(text):
    assert (place(text) is not None) == (text in ("left  out", "2 runs"))


def test_each_entry_has_its_holes_and_no_english_sentence():
    for source, target in ENTRIES:
        assert sorted(re.findall(r"\{(\w+)[#!?*]?\}", source)) == sorted(re.findall(r"\{(\w+)\}", target)), source
        assert "{" not in re.sub(r"\{\w+\}", "", target), source
        assert target.encode("gbk"), source
        words = re.sub(r"\{\w+\}|`[^`]*`|docs/\S+|xfer \w.*|git lfs pull|fonts-noto-cjk", "", target)
        assert not re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", words), target


def test_each_entry_is_chinese_but_for_names():
    chinese = re.compile("[\u4e00-\u9fff]")
    words = {re.sub(r"\{\w+\}", "", target) for _, target in ENTRIES}
    assert {text for text in words if re.search("[A-Za-z]{2}", text) and not chinese.search(text)} == NAMES_OF_OURS


def test_what_stands_behind_a_label_begins_in_the_same_column():
    label = re.compile(r"(?! )[^{]{,13}? {2,}(?=\S)")
    labels = [(found, target) for source, target in ENTRIES if (found := label.match(source))]
    assert len(labels) > 20
    for found, target in labels:
        shown = label.match(target)
        assert shown, target
        assert cell_len(found[0]) == cell_len(shown[0]), target


@pytest.fixture
def chinese():
    language.speak("zh")
    yield language.translated
    language.speak("en")


def test_english_is_left_alone():
    assert language.translated("interrupted") == "interrupted"
    assert language.speaks_english()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("interrupted", "已中断"),
        ("interrupted. To go on: xfer train --resume runs/a", "已中断。继续训练：xfer train --resume runs/a"),
        ("frozen was taken for loss: 3", "frozen 被误认为 loss：3"),
        ("run folder    run folder    x", "运行文件夹    run folder    x"),
        ("2 files left out, see skipped_images.csv", "略去 2 个文件，见 skipped_images.csv"),
        ("error: a b.jpg: truncated", "错误：a b.jpg：文件不完整（被截断）"),
        ("warning: frozen at random values: a. Cure: another --output", "警告：被冻结在随机初值：a。解决办法：换一个 --output"),  # noqa: E501
        ("left out  3 truncated, 1 not an image, 2 odd", "略去      3 个文件不完整（被截断）、1 个不是图片、2 odd"),
        ("epoch   7  train loss nan acc  9.50%  val loss 1.0000 acc 50.00%  lr 1e-05  0.1 s",
         "第  7 轮  训练损失 nan 准确率  9.50%  验证损失 1.0000 准确率 50.00%  学习率 1e-05  0.1 秒"),
    ],
)  # fmt: skip
def test_a_line_is_translated_around_its_values(chinese, line, wanted):
    assert chinese(line) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "left out: a.jpg: no reason of ours",  # a word of ours is missing there
        "files left out, see skipped_images.csv",  # the number is
        "a was taken for b was taken for c: 3",  # who knows where the first name ends
        "error: something new. Cure: another --output",
        "ants  57.40%  validation/0.png",
        "interrupted" + " " * LONGEST,
    ],
)
def test_a_line_that_is_not_of_the_table_stays_as_it_is(chinese, line):
    assert chinese(line) == line


PARTS = [
    "frozen",
    "a",
    " ",
    ": ",
    ", ",
    " was taken for ",
    ". Cure: ",
    " = ",
    "(",
    ")",
    "训练",
    "3",
]
NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)


@given(NAMES, NAMES, NAMES)
def test_no_name_is_translated(one, two, three):
    lines = {
        f"{one} was taken for {two}: 3": (one, two),
        f"left out: {one}: truncated": (one,),
        f"run folder    {one}": (one,),
        f"{one}: 16 training and 8 validation images, 2 classes: {two}, {three}": (one, two, three),
        f"1 picture with a copy in train and val, the first: {one} = {two}": (one, two),
        f"error: data {one}: no picture in this class. Cure: add pictures": (one,),
    }
    language.speak("zh")
    try:
        for line, names in lines.items():
            shown = language.translated(line)
            assert shown == line or all(name in shown for name in names), line
    finally:
        language.speak("en")


PROGRESS = {
    "epoch 3": "第 3 轮",
    "validation": "验证",
    "checking pictures": "检查图片",
    "features of train, view 2 of 4": "训练集的特征，第 2 个视图（共 4 个）",
    "downloading a of b.zip": "下载 a of b.zip",
}


@pytest.mark.parametrize(("what", "wanted"), PROGRESS.items())
def test_progress_is_told_in_chinese(chinese, monkeypatch, capsys, what, wanted):
    work = Work(done=120, total=480)
    assert picture(what, work, 60, "utf-8").startswith(f"{wanted} ━")
    assert cell_len(picture(what, work, 60, "utf-8")) <= 60
    monkeypatch.setattr("xfer.display.show.PLAIN_EVERY", 0)
    with shown() as display:
        display.progress(what, 120, 480)
        display.progress(what, 7, None)
    assert capsys.readouterr().err == f"{wanted}: 120/480\n{wanted}: 7\n"


def test_a_warning_is_chinese_and_that_of_a_library_english(chinese, monkeypatch, capsys):
    monkeypatch.setattr("warnings.showwarning", None)
    warned.show_in_lines()
    warnings.showwarning(PictureWarning("a.png: not drawn (OSError: full)"), PictureWarning, "a.py", 1)
    warnings.showwarning(UserWarning("interrupted"), UserWarning, "a.py", 1)
    mine, other = capsys.readouterr().err.splitlines()
    assert mine == "警告：a.png：未绘制（OSError: full）"
    assert other == "warning: interrupted (UserWarning, a.py:1)"


def test_a_bar_of_chinese_on_a_narrow_terminal_is_no_wider(chinese):
    for width in range(12, 40):
        assert cell_len(picture("reading some of the known pictures again", Work(5, 10), width, "utf-8")) <= width


def test_no_line_takes_long():
    template = Template("{a}: {b}, {c} = {d}; {e} ({f}) end", "")
    assert template.match(": , = ; (" * 100_000) is None
    assert template.match(": " * 500_000 + ") end") is None


@pytest.mark.parametrize("word", ["frozen", "statistics", "Accuracy", "finished", "total"])
def test_a_word_of_ours_in_a_column_of_names_is_a_name(chinese, word):
    assert language.translated_cell("class", word) == word
    assert [h for h in TABLE.cells if language.translated_cell(h, word) != word] in (
        ["rate"], ["figure"], ["state"], ["weights of"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": ""}, "zh"),
        ({"LANG": "de_DE", "LC_MESSAGES": "de_DE", "LC_ALL": "zh"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN", "LANG": "zh_CN"}, "en"),
        ({"LC_CTYPE": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_the_locale_decides_as_posix_has_it(variables, wanted):
    assert language.language_of(variables) == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("zh", "zh"),
        ("ZH_cn.UTF-8", "zh"),
        ("zh-Hans", "zh"),
        ("en_GB", "en"),
        ("zhuang", None),
        ("fr", None),
        ("", None),
    ],
)
def test_a_language_is_named_as_a_locale_may_be(name, wanted):
    assert language.named(name) == wanted


class Stream:
    def __init__(self, encoding):
        self.encoding = encoding


@pytest.mark.parametrize(
    ("encodings", "wanted"),
    [
        (["utf-8"], True),
        (["gbk", None], True),
        (["utf-8", "ascii"], False),
        (["latin-1"], False),
        (["nonsense"], False),
    ],
)
def test_a_stream_without_chinese_is_told(encodings, wanted):
    assert language.shows_chinese([*map(Stream, encodings), None]) == wanted
