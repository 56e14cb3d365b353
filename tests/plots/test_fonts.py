"""Names of classes in any script and of any length: which letters are drawn, from which font, and where."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn import assert_tidy, captions, images, texts, write_all
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.ttCollection import TTCollection

from xfer.plots import fonts
from xfer.plots.confusion import figure_confusion_matrix
from xfer.plots.tiles import figure_predictions, figure_samples

pytestmark = pytest.mark.filterwarnings("error")

CHINESE = ["蚂蚁", "蜜蜂"]
HOSTILE = [
    "$x^2$ and $y$",
    r"a_b\c{}",
    "new\nline\ttab",
    "W" * 80,
    "<b>&amp;</b>",
    "%s {0}",
    "\u202eevil",
    "\udcff bad",
]


def make_font(path: Path, chars: str, collection: bool = False) -> str:
    """A font file that draws a square for each of the characters."""
    glyphs = [".notdef", *(f"u{ord(c):04X}" for c in chars)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(c): name for c, name in zip(chars, glyphs[1:], strict=True)})
    builder.setupGlyf({name: pen.glyph() for name in glyphs})
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    if not collection:
        builder.save(path)
        return str(path)
    builder.save(path.with_suffix(".ttf"))
    both = TTCollection()
    both.fonts = [TTFont(path.with_suffix(".ttf")), TTFont(path.with_suffix(".ttf"))]
    both.save(path)
    return str(path)


@pytest.fixture
def only_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The fonts this machine has, as far as the pictures can tell: none, until a test adds some."""
    paths: list[str] = []
    monkeypatch.setattr(fonts, "installed_fonts", lambda: tuple(paths))
    fonts._search.cache_clear()
    yield paths
    fonts._search.cache_clear()


def test_long_names_stay_apart_on_tiles(only_fonts: list[str]) -> None:
    names = ["W" * 80, "i" * 300, *HOSTILE]
    labels = np.arange(10)
    assert_tidy(figure_predictions(images(10), labels, np.roll(labels, 1), np.ones(10), names))


def test_names_are_drawn_as_they_are(only_fonts: list[str]) -> None:
    labels = np.arange(len(HOSTILE))
    shown = captions(figure_samples(images(len(HOSTILE)), labels, HOSTILE))
    assert shown[:3] == ["$x^2$ and $y$", r"a_b\c{}", r"new\nline\ttab"]
    assert shown[4:] == ["<b>&amp;</b>", "%s {0}", r"\u202eevil", r"\udcff bad"]
    for figure in (
        figure_samples(images(8), labels, HOSTILE),
        figure_confusion_matrix(labels, labels, HOSTILE),
    ):
        named = [t for t in texts(figure) if "$" in t.get_text()]
        assert named
        assert not any(t.get_parse_math() for t in named)


@pytest.mark.parametrize("collection", [False, True], ids=["ttf", "ttc"])
def test_chinese_names_use_a_font_that_has_them(tmp_path: Path, only_fonts: list[str], collection: bool) -> None:
    only_fonts.append(make_font(tmp_path / "unrelated.ttf", "ก"))
    only_fonts.append(str(tmp_path / "gone.ttf"))
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    only_fonts.append(str(tmp_path / "broken.ttf"))
    only_fonts.append(
        make_font(tmp_path / f"han.tt{'c' if collection else 'f'}", "蚂蚁蜜蜂 ():0123456789%truelosp,.", collection)
    )
    figure = figure_predictions(images(2), [0, 1], [0, 0], np.array([1.0, 1.0]), CHINESE)
    assert captions(figure) == ["蚂蚁 (100 %)", "蚂蚁 (100 %)\ntrue: 蜜蜂"]
    assert {text.get_fontproperties().get_file() for text in figure.axes[0].texts} == {only_fonts[-1]}
    matrix = figure_confusion_matrix([0, 1], [0, 1], CHINESE)
    assert [t.get_text() for t in matrix.axes[0].get_yticklabels()] == CHINESE
    assert matrix.axes[0].get_yticklabels()[0].get_fontproperties().get_file() == only_fonts[-1]
    assert_tidy(figure)


def test_a_font_that_only_draws_boxes_is_none(tmp_path: Path, only_fonts: list[str]) -> None:
    only_fonts.append(make_font(tmp_path / "LastResort-Regular.ttf", "蚂蚁蜜蜂"))
    with pytest.warns(fonts.FontWarning):
        assert captions(figure_samples(images(1), [0], CHINESE)) == [r"\u8682\u8681"]


def test_names_in_two_scripts_each_get_their_font(tmp_path: Path, only_fonts: list[str]) -> None:
    only_fonts += [make_font(tmp_path / "han.ttf", "蚂蚁"), make_font(tmp_path / "hangul.ttf", "꿀벌")]
    decomposed = "\u1101\u116e\u11af\u1107\u1165\u11af"  # 꿀벌, as some file systems keep it
    figure = figure_samples(images(3), [0, 1, 2], ["蚂蚁", decomposed, "bees"])
    assert captions(figure) == ["蚂蚁", "꿀벌", "bees"]
    files = [Path(str(text.get_fontproperties().get_file())).name for text in figure.axes[0].texts]
    assert files == ["han.ttf", "hangul.ttf", "DejaVuSans.ttf"]


def test_without_a_font_one_warning_names_the_cure_and_code_points_are_drawn(
    tmp_path: Path, only_fonts: list[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_all(tmp_path, CHINESE)
    assert [w.category for w in caught] == [fonts.FontWarning]
    assert "Cure: install" in str(caught[0].message)
    assert "蚁" in str(caught[0].message)
    assert captions(figure_samples(images(2), [0, 1], CHINESE)) == [r"\u8682\u8681", r"\u871c\u8702"]


def test_names_that_everyday_letters_draw_look_for_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[str, ...]:
        raise AssertionError

    monkeypatch.setattr(fonts, "installed_fonts", fail)
    assert captions(figure_samples(images(2), [0, 1], ["Größe", "пчёлы"])) == ["Größe", "пчёлы"]


def test_chinese_names_on_this_machine() -> None:
    paths = [p for p in fonts.installed_fonts() if fonts._drawn(p, "蚂蚁蜜蜂")]
    if not paths:
        pytest.skip("no font with Chinese characters is installed")
    assert_tidy(figure_samples(images(2), [0, 1], CHINESE))
    assert captions(figure_samples(images(2), [0, 1], CHINESE)) == CHINESE


@pytest.mark.parametrize("text", ["bees", "001.Black_footed_Albatross", "W" * 50, "ab", "x", ""])
@pytest.mark.parametrize("width", [30.0, 80.0, 1000.0])
def test_fitted_text_is_no_wider_than_told_and_keeps_both_ends(text: str, width: float) -> None:
    [face] = fonts.faces_for([text])
    fitted = face.fit(text, 9, width)
    assert face.width(fitted, 9) <= width
    if face.width(text, 9) <= width:
        assert fitted == text
    else:
        start, end = fitted.split("…")
        assert start
        assert 0 <= len(start) - len(end) <= 1
        assert text.startswith(start)
        assert text.endswith(end)
