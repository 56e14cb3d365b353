"""The confusion matrix: counts, colours, and names that stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import assert_tidy
from matplotlib.figure import Figure

from xfer.plots.confusion import confusion_counts, figure_confusion_matrix

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
