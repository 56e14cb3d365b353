"""Pages of pictures: which are shown, where, as which pixels, in which colours."""

from __future__ import annotations

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from drawn import captions, images, texts
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from xfer.plots.disagreements import figure_disagreements
from xfer.plots.style import DPI, RIGHT, UNKNOWN, WRONG, pixels_of
from xfer.plots.tiles import Photograph, figure_predictions, figure_samples, figure_top_losses

pytestmark = pytest.mark.filterwarnings("error")


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


def test_predictions_name_their_files() -> None:
    labels, guesses, chances = np.array([0, 1]), np.array([0, 0]), np.array([0.5, 0.75], np.float32)
    figure = figure_predictions(images(2), labels, guesses, chances, ["ants", "bees"], ["ants/1.png", "bees/2.png"])
    assert captions(figure) == ["ants (50 %)\n1.png", "ants (75 %)\ntrue: bees\n2.png"]


def test_top_losses_name_their_files() -> None:
    labels, guesses, losses = np.array([0, 1]), np.array([0, 0]), np.array([0.5, 2.0], np.float32)
    names = ["ants/1.png", "bees/a rather long name of a picture, as cameras and web pages give them.png"]
    figure = figure_top_losses(images(2), labels, guesses, losses, ["ants", "bees"], names)
    first, second = captions(figure)
    assert first.startswith("ants, loss 2.00\ntrue: bees\na rather")
    assert first.endswith("them.png")
    assert "…" in first
    assert second == "ants, loss 0.50\n1.png"


def test_samples_name_their_files_with_a_folder_that_is_not_the_class() -> None:
    names = ["ants/1.png", "monday/1.png"]
    assert captions(figure_samples(images(2), [0, 1], ["ants", "bees"], names)) == ["ants\n1.png", "bees\nmonday/1.png"]


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


def test_the_tiles_say_which_run_took_an_image_for_what() -> None:
    figure = figure_disagreements(images(2), ["a", "b"], [("a", "b", "a"), ("a", None, "c")], 7, ["a/1.png", "b/2.png"])
    titles = figure.axes[0].texts
    assert titles[0].get_text().splitlines() == ["a (run 1, 3)", "b (run 2)", "true: a", "1.png"]
    assert titles[1].get_text().splitlines() == ["a (run 1)", "c (run 3)", "true: b", "2.png"]
    assert [title.get_color() for title in titles] == [RIGHT, WRONG]
    assert "2 of 7" in figure.get_suptitle()
