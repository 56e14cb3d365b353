"""The confusion matrix: counts, colours, and names that stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import assert_tidy
from matplotlib.figure import Figure

from xfer.plots.confused import confusion_counts, most_confused
from xfer.plots.confusion import figure_confusion_matrix

pytestmark = pytest.mark.filterwarnings("error")


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


def test_the_most_confused_come_first_by_images_and_then_by_their_share() -> None:
    counts = np.array([[5, 0, 2, 0], [3, 0, 0, 0], [2, 0, 0, 0], [0, 1, 0, 9]])
    assert most_confused(counts, 9) == [(1, 0), (2, 0), (0, 2), (3, 1)]
    assert most_confused(counts, 2) == [(1, 0), (2, 0)]
    assert most_confused(np.diag([3, 2]), 9) == []


def listed(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("classes", [26, 120, 200])
def test_where_cells_hold_no_numbers_the_most_confused_are_listed_by_name(classes: int) -> None:
    labels = np.repeat(np.arange(classes), 4)
    guesses = labels.copy()
    guesses[:4] = [0, 1, 1, 1]
    guesses[-1] = 5
    names = [f"{i:03d}.Black_footed_Albatross_of_the_northern_pacific" for i in range(classes)]
    names[1], names[5] = "wren", "an owl"
    figure = figure_confusion_matrix(labels, guesses, names)
    head, first, second = listed(figure)[:3], listed(figure)[3:6], listed(figure)[6:]
    assert head == ["images", "3 of 4", "1 of 4"]
    assert (first[0], second) == ("true class", ["was taken for", "wren", "an owl"])
    assert first[1].startswith("000.Black")
    assert first[2].startswith(f"{classes - 1:03d}.Black")
    assert_tidy(figure)


def test_a_long_list_of_confused_pairs_stays_tidy_and_a_matrix_with_numbers_or_without_mistakes_has_none() -> None:
    labels, names = np.repeat(np.arange(40), 9), [f"a long name of a class, as some are, {i:02d}" for i in range(40)]
    guesses = (labels + np.tile(np.arange(9), 40)) % 40
    figure = figure_confusion_matrix(labels, guesses, names)
    assert listed(figure).count("images") == 2
    assert listed(figure).count("1 of 9") == 20
    assert_tidy(figure)
    assert listed(figure_confusion_matrix(labels, labels, names)) == []
    assert listed(figure_confusion_matrix([0, 1], [1, 0], ["a", "b"])) == []


@pytest.mark.parametrize(("classes", "step"), [(200, 1), (250, 2), (1000, 5)])
def test_all_of_200_classes_are_named_and_of_more_it_is_said_how_many(classes: int, step: int) -> None:
    axes = figure_confusion_matrix([0], [0], [f"c{i}" for i in range(classes)]).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"c{i}" for i in range(0, classes, step)]
    note = f" (one in {step} is named)" if step > 1 else ""
    assert (axes.get_xlabel(), axes.get_ylabel()) == (f"predicted class{note}", f"true class{note}")


def test_an_empty_matrix_is_drawn() -> None:
    assert_tidy(figure_confusion_matrix([], [], ["a", "b"]))


@pytest.mark.parametrize("classes", [2, 7, 26, 100])
def test_long_names_stay_apart_in_the_matrix(classes: int) -> None:
    names = [f"{i:03d}.Black_footed_Albatross_of_the_northern_pacific_{'W' * 20}" for i in range(classes)]
    figure = figure_confusion_matrix(np.arange(classes), np.arange(classes), names)
    assert_tidy(figure)
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(shown) == classes
    assert all("…" in text and text.startswith(f"{i:03d}.") for i, text in enumerate(shown))


def test_names_that_differ_only_in_their_middle_are_told_apart() -> None:
    names = [f"Common_beginning_of_a_species_{i // 10}{i % 10}_and_its_common_end" for i in range(50)]
    figure = figure_confusion_matrix([0], [0], [*names, "another"])
    *cut, whole = (tick.get_text() for tick in figure.axes[0].get_yticklabels())
    assert len(set(cut)) == 50
    assert all(f"{i // 10}{i % 10}" in text for i, text in enumerate(cut))
    assert whole == "another"
    assert_tidy(figure)
