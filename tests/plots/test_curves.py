"""Curves of one run and of several: the rows, the best epoch, the phases, and that nothing lies on anything else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from drawn import assert_tidy, epochs, texts
from matplotlib.figure import Figure

from xfer.plots.comparison import figure_comparison, figure_losses
from xfer.plots.curves import figure_curves

pytestmark = pytest.mark.filterwarnings("error")


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


def test_losses_of_runs_are_those_of_validation_and_faintly_of_training() -> None:
    rows = epochs(3)
    other = [{**row, "val_loss": 9.0} for row in rows]
    (axes,) = figure_losses({"a": rows, "b": other}).axes
    drawn = [(list(line.get_ydata()), line.get_alpha()) for line in axes.lines]
    assert drawn[0] == ([row["val_loss"] for row in rows], None)
    assert drawn[1] == ([row["train_loss"] for row in rows], 0.45)
    assert drawn[2] == ([9.0] * 3, None)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"a: least {min(row['val_loss'] for row in rows):.4f}", "b: least 9.0000"]


def limits(accuracies: list[float], chance: float) -> tuple[float, float]:
    rows = [{**row, "val_accuracy": share} for row, share in zip(epochs(len(accuracies)), accuracies, strict=True)]
    (axes,) = figure_comparison({"a run": rows}, chance).axes
    low, high = axes.get_ylim()
    return float(low), float(high)


def test_a_comparison_of_runs_far_above_chance_fits_its_curves() -> None:
    assert limits([0.93, 0.95, 0.97], 0.55) == pytest.approx((0.92, 0.98))
    assert limits([0.9, 1.0], 0.2) == pytest.approx((0.875, 1.02))


def test_a_comparison_of_runs_near_chance_shows_all_there_is() -> None:
    assert limits([0.6, 0.97], 0.55) == pytest.approx((0, 1.02))
    assert limits([0.2, 0.97], 0.2) == pytest.approx((0, 1.02))
    assert limits([0.0], 0.0) == pytest.approx((0, 1.02))


def test_a_comparison_of_many_classes_whose_accuracies_are_low_fits_its_curves() -> None:
    assert limits([0.01, 0.08], 0.005) == pytest.approx((0, 0.1))
    assert limits([0.01, 0.02], 0.1) == pytest.approx((0, 0.125)), "the line of chance is seen too"
