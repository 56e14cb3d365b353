"""Figures of studies: what lines and bands show, and that legends stay inside."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from xfer.studies.figures import figure_accuracies, figure_mode
from xfer.studies.statistics import mean_band


def accuracies(seeds, epochs=5, level=0.2):
    generator = np.random.default_rng(seeds)
    return level + generator.uniform(0, 0.1, (seeds, epochs, 2))


def means(axes):
    """The labelled lines by the start of their label."""
    return {line.get_label().split(" (n")[0]: line for line in axes.lines if " (n = " in str(line.get_label())}


def test_lines_are_means_over_seeds_of_each_side():
    shown = {"a": accuracies(3), "b": accuracies(2, epochs=4)}
    left, right = figure_accuracies(shown).axes
    for axes, side in ((left, 0), (right, 1)):
        assert set(means(axes)) == {"a", "b"}
        for name, line in means(axes).items():
            assert line.get_xdata().tolist() == list(range(1, shown[name].shape[1] + 1))
            assert np.allclose(line.get_ydata(), shown[name][:, :, side].mean(axis=0))


def test_a_band_is_the_interval_and_one_seed_has_none():
    values = accuracies(3)
    (axes,) = figure_mode("m", {"torch": values}).axes
    training, validation = axes.collections
    for band, side in ((training, 0), (validation, 1)):
        _, low, high = mean_band(values[:, :, side])
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low.min(), high.max()))
    (axes,) = figure_mode("m", {"torch": accuracies(1)}).axes
    assert len(axes.collections) == 0
    assert len(axes.lines) == 2


def test_no_two_of_many_lines_look_alike_without_colour():
    left, _ = figure_accuracies({f"mode{i}": accuracies(2) for i in range(12)}).axes
    looks = {(str(line.get_linestyle()), str(line._dash_pattern), line.get_marker()) for line in means(left).values()}
    assert len(looks) == 12


@pytest.mark.parametrize("names", [["a"], ["a_mode_of_some_length (mindspore)"] * 5, ["x" * 300], ["$x_1$", "$x{$"]])
def test_the_legend_stays_inside(names):
    figure = figure_accuracies({f"{name}{i}": accuracies(2) for i, name in enumerate(names)})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= max(axes.title.get_window_extent().y1 for axes in figure.axes)
    assert [text.get_parse_math() for text in legend.get_texts()] == [False] * len(names)


def test_one_epoch_shows_its_interval():
    (axes,) = figure_mode("m", {"torch": accuracies(3, epochs=1)}).axes
    upright = [c for c in axes.collections if c.get_linewidth()[0] == 1]
    assert len(upright) == 2
    assert tuple(upright[0].get_color()[0]) == to_rgba("#0072b2")


def test_accuracies_are_drawn_in_percent_on_axes_that_hold_both_sides():
    values = np.stack([np.full((2, 3), 0.4), np.full((2, 3), 0.95)], axis=-1)
    for side_by_side in ({"a": values}, {"a": values[:, :, ::-1]}):
        left, right = figure_accuracies(side_by_side).axes
        assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("Training accuracy", "Validation accuracy")
        for axes in (left, right):
            low, high = axes.get_ylim()
            assert 0.3 < low < 0.4
            assert 0.95 < high <= 1.02
            assert axes.yaxis.get_major_formatter()(0.95, 0) == "95 %"


def test_mean_average_precision_has_one_side_and_its_name():
    values = {"a": accuracies(3)[:, :, :1], "b": accuracies(2, level=0.9)[:, :, :1]}
    (axes,) = figure_accuracies(values).axes
    assert axes.get_title(loc="left") == "Mean average precision on validation pictures"
    assert axes.yaxis.get_major_formatter()(0.95, 0) != "95 %"
    for name, line in means(axes).items():
        assert np.allclose(line.get_ydata(), values[name][:, :, 0].mean(axis=0))
    (axes,) = figure_mode("m", {"torch": values["a"], "mindspore": values["b"]}).axes
    assert axes.get_title(loc="left") == "Mean average precision of m"
    assert set(means(axes)) == {"validation, torch", "validation, mindspore"}


def test_nothing_to_show_is_said():
    assert figure_accuracies({}).texts[0].get_text() == "no finished runs"
