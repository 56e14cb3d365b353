"""Pictures: what they show, in which colours, with which letters, and that nothing lies on top of anything else."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.ttCollection import TTCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from xfer import plots
from xfer.plots import fonts
from xfer.plots.comparison import figure_comparison
from xfer.plots.confusion import confusion_counts, figure_confusion_matrix
from xfer.plots.curves import figure_curves
from xfer.plots.style import DPI, RIGHT, UNKNOWN, WRONG, pixels_of, settings
from xfer.plots.tiles import Photograph, figure_predictions, figure_samples, figure_top_losses

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


def images(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def epochs(count: int, phases: int = 1, **more: object) -> list[dict[str, object]]:
    return [
        {
            "epoch": e + 1,
            "phase": e * phases // count + 1,
            "train_loss": 2 / (e + 2),
            "train_accuracy": 1 - 1 / (e + 2),
            "val_loss": 2.2 / (e + 2),
            "val_accuracy": 1 - 1.1 / (e + 2),
            "lr": 0.1 ** (e * phases // count + 1),
            "seconds": 1.5,
            "best": e <= count // 2,
            **more,
        }
        for e in range(count)
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


def texts(figure: Figure) -> list[Text]:
    """The texts that end up in the picture: matplotlib also keeps some for ticks that it does not draw."""
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, *args: object, **more: object) -> None:
        if text.get_visible() and text.get_text():
            drawn.append(text)
        draw(text, *args, **more)

    with settings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()
    return list(dict.fromkeys(drawn))


def assert_tidy(figure: Figure) -> None:
    """No text leaves the picture or touches another."""
    boxes = [(t, t.get_window_extent()) for t in texts(figure)]
    assert boxes
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (a, box_a), (b, box_b) in combinations(boxes, 2):
        width = min(box_a.x1, box_b.x1) - max(box_a.x0, box_b.x0)
        height = min(box_a.y1, box_b.y1) - max(box_a.y0, box_b.y0)
        assert width <= 1 or height <= 1, f"{a.get_text()!r} lies on {b.get_text()!r}"


def captions(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


# --- files


def write_all(folder: Path, classes: list[str]) -> None:
    count = 4
    labels = np.arange(count) % len(classes)
    guesses = np.roll(labels, 1)
    chances = np.full((count, len(classes)), 1 / len(classes), np.float32)
    plots.plot_samples(folder / "samples.png", images(count), labels, classes)
    plots.plot_curves(folder / "curves.png", epochs(3))
    plots.plot_confusion_matrix(folder / "confusion_matrix.png", labels, guesses, classes)
    plots.plot_predictions(folder / "predictions.png", images(count), labels, guesses, chances, classes)
    plots.plot_top_losses(folder / "top_losses.png", images(count), labels, guesses, np.ones(count), classes)


def test_every_picture_is_a_png_and_nothing_else_is_written(tmp_path: Path) -> None:
    write_all(tmp_path / "plots", ["ants", "bees"])
    names = ("confusion_matrix", "curves", "predictions", "samples", "top_losses")
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [f"{name}.png" for name in names]
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert 300 <= min(picture.size) <= max(picture.size) <= 2000
            assert picture.convert("L").getextrema()[0] < 128, "something dark is drawn on the white"


def test_a_failing_picture_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Figure, "draw", fail)
    with pytest.raises(MemoryError):
        plots.plot_curves(path, epochs(1))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("curves.png", b"old")]


def test_matplotlib_waits_for_the_first_picture_and_pyplot_for_ever(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from xfer import plots; assert 'matplotlib' not in sys.modules\n"
        f"plots.plot_curves(Path({str(tmp_path / 'c.png')!r}), [])\n"
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_of_the_calling_program_neither_count_nor_change(tmp_path: Path) -> None:
    plots.plot_curves(tmp_path / "plain.png", epochs(2))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.facecolor": "red", "savefig.dpi": 30}):
        before = dict(matplotlib.rcParams)
        plots.plot_curves(tmp_path / "odd.png", epochs(2))
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


# --- tiles


def photographs(figure: Figure) -> list[Photograph]:
    return [artist for artist in figure.axes[0].get_children() if isinstance(artist, Photograph)]


def place(figure: Figure, number: int) -> tuple[float, float, float, float]:
    """Left, right, lower and upper edge of a tile in inches."""
    shown = photographs(figure)[number]
    height, width, _ = shown.pixels.shape
    return shown.x / DPI, (shown.x + width) / DPI, shown.y / DPI, (shown.y + height) / DPI


def same_picture(shown: np.ndarray, picture: np.ndarray) -> bool:
    """Whether the middle of each square has its pixel's colour."""
    rows, columns = (
        ((np.arange(have) + 0.5) * n / have).astype(int)
        for n, have in zip(shown.shape, picture.shape[:2], strict=False)
    )
    return np.array_equal(shown[rows][:, columns], picture)


def test_right_is_blue_wrong_is_red_and_unknown_is_grey() -> None:
    figure = figure_predictions(images(3), [0, 0, None], [0, 1, 1], np.array([0.9, 0.6, 0.5]), ["ants", "bees"])
    assert captions(figure) == ["ants (90 %)", "bees (60 %)\ntrue: ants", "bees (50 %)"]
    (axes,) = figure.axes
    assert [to_hex(text.get_color()) for text in axes.texts] == [RIGHT, WRONG, UNKNOWN]
    assert [to_hex(frame.get_edgecolor()) for frame in axes.patches] == [RIGHT, WRONG, UNKNOWN]
    (red, _, blue), (red_2, _, blue_2) = (matplotlib.colors.to_rgb(c) for c in (RIGHT, WRONG))
    assert blue > 2 * red
    assert red_2 > 2 * blue_2
    assert figure.get_suptitle() == "Predictions: 1 of 2 right"


def test_probabilities_of_all_classes_serve_as_those_of_the_predicted_ones() -> None:
    all_classes = np.array([[0.2, 0.8], [0.7, 0.3]], np.float32)
    from_predicted, from_all = (
        captions(figure_predictions(images(2), np.array([0, 0]), np.array([1, 0]), p, ["ants", "bees"]))
        for p in (np.array([0.8, 0.7], np.float32), all_classes)
    )
    assert from_predicted == from_all == ["bees (80 %)\ntrue: ants", "ants (70 %)"]


def test_top_losses_come_worst_first_and_judged() -> None:
    pictures = images(20)
    losses = np.random.default_rng(1).permutation(20).astype(np.float32)
    labels, guesses = np.zeros(20, np.int64), np.arange(20) % 2
    figure = figure_top_losses(pictures, labels, guesses, losses, ["ants", "bees"])
    worst = sorted(range(20), key=lambda i: -losses[i])[:16]
    (axes,) = figure.axes
    for text, shown, i in zip(axes.texts, photographs(figure), worst, strict=True):
        assert f"{losses[i]:.2f}" in text.get_text()
        assert to_hex(text.get_color()) == (WRONG if guesses[i] else RIGHT)
        assert same_picture(shown.pixels, pictures[i])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 40])
def test_up_to_16_tiles_each_with_its_own_picture_and_name(count: int) -> None:
    pictures, labels = images(count, 6, 9), np.arange(count) % 3
    figure = figure_samples(pictures, labels, ["a", "b", "c"])
    (axes,) = figure.axes
    assert captions(figure) == ["abc"[i % 3] for i in range(min(count, 16))]
    shown = photographs(figure)
    assert len(shown) == len(axes.patches) == min(count, 16)
    for i, (frame, text) in enumerate(zip(axes.patches, axes.texts, strict=True)):
        assert same_picture(shown[i].pixels, pictures[i])
        left, right, bottom, top = place(figure, i)
        height, width, _ = shown[i].pixels.shape
        assert height == round(width * 6 / 9), "pictures keep their shape, to the pixel"
        assert frame.get_bbox().extents == pytest.approx((left, bottom, right, top))
        assert text.get_position()[0] == pytest.approx((left + right) / 2, abs=0.51 / DPI), "to half a pixel"
        assert top < text.get_position()[1] < top + 0.2


def test_tiles_lie_apart_in_rows_of_four_and_inside_the_page() -> None:
    figure = figure_samples(images(10), [0] * 10, ["a"])
    boxes = [place(figure, i) for i in range(10)]
    width, height = figure.get_size_inches()
    assert all(left > 0 < bottom and right < width and top < height for left, right, bottom, top in boxes)
    for a, b in combinations(boxes, 2):
        assert a[1] < b[0] or b[1] < a[0] or a[3] < b[2] or b[3] < a[2]
    assert [sum(box[2] == row for box in boxes) for row in sorted({box[2] for box in boxes})] == [2, 4, 4]


def test_a_page_as_it_is_drawn_shows_the_pictures_under_their_frames() -> None:
    pictures = np.zeros((2, 224, 224, 3), np.uint8)
    pictures[0, :112] = 255, 0, 0  # the upper half
    pictures[1, :, :112] = 0, 255, 0  # the left half
    figure = figure_predictions(pictures, [0, 0], [0, 1], np.ones(2), ["ants", "bees"])
    drawn = pixels_of(figure)[::-1]  # counted from below, as matplotlib does
    for number, (lower, upper, right, frame) in enumerate(
        [((0, 0, 0), (255, 0, 0), (255, 0, 0), RIGHT), ((0, 255, 0), (0, 255, 0), (0, 0, 0), WRONG)]
    ):
        x0, x1, y0, y1 = (round(edge * DPI) for edge in place(figure, number))
        quarter = (x1 - x0) // 4
        assert tuple(drawn[y0 + quarter, x0 + quarter]) == lower
        assert tuple(drawn[y1 - quarter, x0 + quarter]) == upper
        assert tuple(drawn[y1 - quarter, x1 - quarter]) == right
        assert to_hex(drawn[y0 + quarter, x0] / 255) == frame


def test_no_pictures_give_a_picture_that_says_so() -> None:
    assert "no pictures" in texts(figure_samples(images(0), [], ["a", "b"]))[0].get_text()


# --- curves


def lines(figure: Figure, panel: int, label: str) -> list[tuple[list[float], list[float], str]]:
    matches = [line for line in figure.axes[panel].lines if str(line.get_label()).startswith(label)]
    return [(list(line.get_xdata()), list(line.get_ydata()), str(line.get_marker())) for line in matches]


def test_curves_show_the_rows() -> None:
    rows = epochs(6)
    for panel, key in enumerate(("loss", "accuracy")):
        for label, split in (("training", "train"), ("validation", "val")):
            [(at, values, _)] = lines(figure_curves(rows), panel, label)
            assert at == [1, 2, 3, 4, 5, 6]
            assert values == [row[f"{split}_{key}"] for row in rows]


def test_the_star_is_at_the_last_row_marked_best() -> None:
    rows = epochs(9)  # best until the fifth
    for panel, key in enumerate(("val_loss", "val_accuracy")):
        [(at, values, marker)] = lines(figure_curves(rows), panel, "best")
        assert (at, values, marker) == ([5], [rows[4][key]], "*")
    assert not lines(figure_curves(epochs(3, best=False)), 0, "best")


@pytest.mark.parametrize("count", [1, 40, 41, 1000])
def test_few_epochs_have_markers_and_every_epoch_lies_inside(count: int) -> None:
    figure = figure_curves(epochs(count))
    for panel in (0, 1):
        [(_, _, marker)] = lines(figure, panel, "validation")
        assert (marker not in ("", "None")) == (count <= 40)
    for axes in figure.axes:
        assert axes.get_xlim() == (0.5, count + 0.5)
        assert all(float(tick).is_integer() for tick in axes.get_xticks() if 0.5 <= tick <= count + 0.5)


def test_a_line_stands_where_a_phase_begins() -> None:
    for axes in figure_curves(epochs(6, phases=3)).axes:
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2.5, 4.5]
    assert {"phase 1", "phase 2", "phase 3"} <= {t.get_text() for t in texts(figure_curves(epochs(6, phases=3)))}
    assert not any("phase" in t.get_text() for t in texts(figure_curves(epochs(6))))


def test_missing_and_infinite_values_leave_gaps() -> None:
    rows = epochs(4)
    rows[1]["val_loss"], rows[2]["val_loss"] = None, math.inf
    del rows[3]["train_accuracy"], rows[3]["lr"]
    figure = figure_curves(rows)
    [(_, values, _)] = lines(figure, 0, "validation")
    assert [math.isfinite(v) for v in values] == [True, False, False, True]
    assert_tidy(figure)


def test_rates_far_apart_get_a_logarithmic_axis() -> None:
    assert figure_curves(epochs(4)).axes[2].get_yscale() == "linear"
    assert figure_curves(epochs(6, phases=3)).axes[2].get_yscale() == "log"
    assert figure_curves(epochs(4, lr=0.0)).axes[2].get_yscale() == "linear"
    resting = [{**row, "lr": 0.0} for row in epochs(6, phases=3)[:2]] + epochs(6, phases=3)[2:]
    assert figure_curves(resting).axes[2].get_yscale() == "linear", "zero has no place on a logarithmic axis"


# --- confusion matrix


def cell_texts(figure: Figure) -> dict[tuple[int, int], str]:
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in figure.axes[0].texts}


def test_counts_are_true_by_predicted() -> None:
    rng = np.random.default_rng(2)
    labels, guesses = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    counts = confusion_counts(labels, guesses, 5)
    assert all(counts[i, j] == np.sum((labels == i) & (guesses == j)) for i in range(5) for j in range(5))
    shown = cell_texts(figure_confusion_matrix(labels, guesses, list("abcde")))
    assert {cell: int(text.split("\n")[0]) for cell, text in shown.items()} == dict(np.ndenumerate(counts))


def test_colours_are_shares_of_the_row_and_a_class_without_images_has_none() -> None:
    shares = figure_confusion_matrix([0, 0, 0, 0, 2], [0, 0, 0, 1, 1], ["a", "b", "c"]).axes[0].images[0].get_array()
    assert np.array_equal(np.ma.filled(shares, -1), [[0.75, 0.25, 0], [-1, -1, -1], [0, 1, 0]])


def test_rows_are_named_after_true_and_columns_after_predicted_classes() -> None:
    axes = figure_confusion_matrix([0, 1], [0, 0], ["ants", "bees"]).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["ants", "bees"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["ants", "bees"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert "1 of 2 right (50.0 %)" in axes.get_title()


@pytest.mark.parametrize(("classes", "cells"), [(2, 4), (12, 144), (25, 25), (26, 0), (100, 0)])
def test_numbers_fill_the_cells_as_far_as_they_can_be_read(classes: int, cells: int) -> None:
    labels = np.arange(classes)
    assert len(cell_texts(figure_confusion_matrix(labels, labels, [f"class {i}" for i in labels]))) == cells


def test_an_empty_matrix_is_drawn() -> None:
    assert_tidy(figure_confusion_matrix([], [], ["a", "b"]))


# --- letters


@pytest.mark.parametrize("classes", [2, 7, 26, 100])
def test_long_names_stay_apart_in_the_matrix(classes: int) -> None:
    names = [f"{i:03d}.Black_footed_Albatross_of_the_northern_pacific_{'W' * 20}" for i in range(classes)]
    figure = figure_confusion_matrix(np.arange(classes), np.arange(classes), names)
    assert_tidy(figure)
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(shown) == classes
    assert all("…" in text and text.startswith(f"{i:03d}.") for i, text in enumerate(shown))


def test_long_names_stay_apart_on_tiles(only_fonts: list[str]) -> None:
    names = ["W" * 80, "i" * 300, *HOSTILE]
    labels = np.arange(10)
    assert_tidy(figure_predictions(images(10), labels, np.roll(labels, 1), np.ones(10), names))


@pytest.mark.parametrize(("count", "phases"), [(1, 1), (6, 6), (30, 10), (1000, 4), (1000, 200)])
def test_nothing_overlaps_among_the_curves(count: int, phases: int) -> None:
    assert_tidy(figure_curves(epochs(count, phases)))


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize(("loss", "rate"), [(1e-7, 1e-9), (1e-3, 3.3e-5), (100, 7), (3e6, 1e4)])
def test_nor_among_curves_of_tiny_and_huge_values(loss: float, rate: float, phases: int) -> None:
    rows: list[dict[str, Any]] = epochs(8, phases)
    for row in rows:
        row |= {"train_loss": row["train_loss"] * loss, "val_loss": row["val_loss"] * loss, "lr": row["lr"] * rate}
    assert_tidy(figure_curves(rows))


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


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_comparison_has_a_curve_for_each_run_and_one_for_chance(count: int) -> None:
    runs = {f"run {i}": [{**row, "val_accuracy": 0.1 * (i + 1)} for row in epochs(3)] for i in range(count)}
    figure = figure_comparison(runs, chance=0.25)
    (axes,) = figure.axes
    *curves, chance = axes.lines
    assert [list(line.get_ydata()) for line in curves] == [[0.1 * (i + 1)] * 3 for i in range(count)]
    assert set(chance.get_ydata()) == {0.25}
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"run {i}: best {10 * (i + 1)}.0 %" for i in range(count)] + ["one class for all: 25.0 %"]
