"""A learning-rate range test: what it measures, what it suggests, when it stops, and that it leaves nothing behind."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stopped_runs import recipe_of

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError, ConfigError, XferError
from xfer.features.store import entries, open_store
from xfer.plots.lr_range import figure_lr_range
from xfer.recipe.load import as_recipe
from xfer.system.tables import read_csv
from xfer.testing.fixtures import require, targets
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.lr_range import Ramp, find_range, suggest
from xfer.training.run import fit, prepare

FRAMEWORKS = [target for target in targets() if target.backend != "numpy" and target.kind == "cpu"]
CLI = ("--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--batch-size", "3")


@pytest.fixture
def prepared(recipe):
    return prepare(recipe, NumpyBackend())


def valley_by_definition(values):
    """fastai's: the first of the longest decreasing subsequences that ends at a place, two loops over all pairs."""
    lengths = [1] * len(values)
    for i in range(len(values)):
        lengths[i] = max([lengths[j] + 1 for j in range(i) if values[i] < values[j]], default=1)
    end = lengths.index(max(lengths))
    third = (end - (end - max(lengths))) / 3
    return max(end - max(lengths) + int(third) + int(third / 2), 0)


@pytest.mark.parametrize("seed", range(8))
def test_suggestions_are_those_of_the_definitions(seed):
    """Of the steps but a tenth at the beginning and five at the end."""
    rng, steps = np.random.default_rng(seed), 30 + 10 * seed
    rates = np.geomspace(1e-6, 1.0, steps)
    smoothed = np.cumsum(rng.normal(-0.02, 0.05, steps)) + 5
    found = suggest(rates, smoothed, smoothed, steps)
    x, y = rates[steps // 10 : -5], smoothed[steps // 10 : -5]
    slopes = [(b - a) / (np.log(q) - np.log(p)) for (a, b), (p, q) in zip(pairwise(y), pairwise(x), strict=True)]
    assert found.steepest == x[int(np.argmin(slopes))]
    assert found.valley == x[valley_by_definition(y.tolist())]


def test_nothing_is_suggested_where_nothing_falls_or_too_little_is_left():
    rates, rising = np.geomspace(1e-6, 1.0, 40), np.linspace(1, 2, 40)
    found = suggest(rates, rising, rising, 40)
    assert (found.steepest, found.valley) == (None, None)
    assert "no suggestion" in found.sentence()
    assert "Cure: a larger --end-lr" in found.sentence()
    short = suggest(rates[:10], rising[:10], -rising[:10], 100, "exploded")
    assert short.valley is None
    assert "4 times the lowest after 10 of 100 steps. Cure: a smaller --start-lr" in short.sentence()


def test_rates_rise_by_the_same_multiple_over_as_many_steps_as_asked():
    assert [len(Ramp().rates(n)) for n in (1, 16, 25, 26, 40, 50, 4000)] == [50, 50, 50, 52, 80, 100, 100]
    rates = Ramp(1e-4, 1.0, 21).rates(3)
    assert (len(rates), rates[0], rates[-1]) == (21, 1e-4, 1.0)
    assert np.allclose(rates[1:] / rates[:-1], 10**0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 0.0}, "start_lr = 0.0: expected"),
        ({"start": 1.0, "end": 0.1}, "start_lr = 1, end_lr = 0.1: expected a rise. Cure: a larger end_lr"),
        ({"end": float("nan")}, "end_lr = nan"),
        ({"end": 1e16}, "end_lr = 1e+16"),
        ({"steps": 19}, "steps = 19: expected 20 to 10,000. Cure: a larger number"),
        ({"steps": 10_001}, "steps = 10001: expected 20 to 10,000. Cure: a smaller number"),
    ],
)
def test_a_ramp_that_is_none_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        Ramp(**changes)
    assert message in str(caught.value)


def test_losses_are_those_of_training_and_smoothed_as_fastai_has_them(recipe):
    """At rates that move nothing, an epoch's mean is that of a run at a rate of 0."""
    recipe = as_recipe(recipe, {"lr": 0.0, "train_from": "head", "loss.label_smoothing": 0.1, "mix.mixup": 0.4})
    found = find_range(prepare(recipe, NumpyBackend()), Ramp(1e-30, 1e-29, 24))
    epochs = [event.epoch for event in fit(prepare(recipe, NumpyBackend()))]
    assert len(found.losses) == 4 * 6
    assert found.losses.reshape(4, 6).mean(axis=1) == pytest.approx([epoch.train_loss for epoch in epochs], rel=1e-6)
    value = 0.0
    for n, (loss, smoothed) in enumerate(zip(found.losses, found.smoothed, strict=True), start=1):
        value = 0.98 * value + 0.02 * loss
        assert smoothed == pytest.approx(value / (1 - 0.98**n), rel=1e-9)


def test_a_step_takes_its_rate_and_each_group_its_multiple(recipe):
    taken = []

    class Noting(NumpyBackend):
        def make_train_step(self, *args):
            step = super().make_train_step(*args)
            return lambda parts, lrs: taken.append(lrs) or step(parts, lrs)

    ramp = Ramp(1e-4, 1e-3, 20)
    find_range(prepare(as_recipe(recipe, {"optimizer.head_lr_mult": 10.0}), Noting()), ramp)
    assert len(taken) == 20, "no step is taken that is not asked for"
    rates = ramp.rates(6)
    assert {round(float(max(lrs) / rate), 6) for lrs, rate in zip(taken, rates, strict=True)} == {10.0}
    assert {round(float(min(lrs) / rate), 6) for lrs, rate in zip(taken, rates, strict=True)} == {1.0}


def test_it_is_the_same_each_time_and_learns(prepared, recipe):
    first, again = find_range(prepared, Ramp(steps=60)), find_range(prepare(recipe, NumpyBackend()), Ramp(steps=60))
    assert first.as_json() == again.as_json()
    assert first.valley is not None
    assert 1e-7 < first.valley < 1
    assert first.smoothed.min() < first.smoothed[0]


def test_it_stops_where_the_loss_explodes(prepared):
    found = find_range(prepared, Ramp(1e-3, 1e4, 60))
    assert found.stopped == "exploded"
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < found.steps == 60
    assert found.smoothed[-1] > 4 * found.smoothed.min()
    assert (found.smoothed[:-1] <= 4 * np.minimum.accumulate(found.smoothed[:-1])).all()


class Broken(NumpyBackend):
    """Its logits are NaN from a step on, counted from 1."""

    def __init__(self, after):
        self.after, self.done = after, 0

    def make_train_step(self, *args):
        inner = super().make_train_step(*args)

        def step(parts, lrs):
            loss, logits = inner(parts, lrs)()
            self.done += 1
            return lambda: (loss, logits * (np.nan if self.done >= self.after else 1))

        return step


def test_it_stops_where_the_loss_is_no_number(recipe):
    found = find_range(prepare(recipe, Broken(after=18)), Ramp(steps=40))
    assert (found.stopped, len(found.rates), len(found.losses), found.steps) == ("not finite", 17, 17, 40)
    assert found.sentence().endswith("the loss was no longer finite after 17 of 40 steps")
    assert np.isfinite(found.losses).all()


def test_a_first_loss_that_is_no_number_is_an_error(recipe):
    with pytest.raises(XferError, match="at the first step, before any weight has moved"):
        find_range(prepare(recipe, Broken(after=1)), Ramp())


def test_a_frozen_prefix_is_tested_on_features_that_training_then_finds(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "10MB")
    recipe = recipe_of(data, train_from="head", epochs=2)
    found = find_range(prepare(recipe, NumpyBackend()), Ramp(steps=24))
    kept = {entry.key for entry in entries(open_store())}
    assert len(kept) == 3, "both views of training, and validation"
    list(fit(prepare(recipe, NumpyBackend())))
    assert {entry.key for entry in entries(open_store())} == kept
    assert found.steps == 24


def test_frameworks_suggest_nearly_the_same(data):
    usual = {"arch": "convnet", "train_from": "stem", "optimizer.momentum": 0.9, "mix.cutmix": 1.0, "mix.p": 0.5}
    recipe = recipe_of(data, **usual)
    found = [find_range(prepare(recipe, require(t.backend)[0], "cpu"), Ramp(1e-6, 1.0, 50)) for t in FRAMEWORKS]
    for other in found[1:]:
        assert other.losses[:25] == pytest.approx(found[0].losses[:25], abs=1e-4)
        for name in ("valley", "steepest"):
            assert getattr(other, name) == pytest.approx(getattr(found[0], name), rel=0.35)  # a step is 33 %


def test_from_python_with_its_files(recipe, tmp_path):
    found = xfer.find_lr(recipe, NumpyBackend(), steps=30, output=tmp_path / "lr", progress=False)
    assert sorted(path.name for path in (tmp_path / "lr").iterdir()) == [
        "lr_range.csv",
        "lr_range.json",
        "lr_range.png",
    ]
    assert json.loads((tmp_path / "lr" / "lr_range.json").read_text()) == found.as_json()
    columns, rows = read_csv((tmp_path / "lr" / "lr_range.csv").read_text().splitlines())
    assert columns == ["lr", "loss", "smoothed"]
    assert [float(row["lr"]) for row in rows] == found.rates.tolist()
    again = xfer.find_lr(recipe, NumpyBackend(), steps=30, output=tmp_path / "lr", progress=False)
    assert again.as_json() == found.as_json()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lr_range.csv").write_text("mine")
    with pytest.raises(CheckpointError, match="would be replaced"):
        xfer.find_lr(recipe, NumpyBackend(), output=tmp_path / "other", progress=False)
    with pytest.raises(ConfigError, match=r"no argument of xfer\.find_lr"):
        xfer.find_lr(recipe, NumpyBackend(), learning_rate=1)


@pytest.fixture
def alone(tmp_path, monkeypatch, declare):
    """In an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def call(*words, code=0):
    result = CliRunner().invoke(main, ["find-lr", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def test_on_the_command_line_it_leaves_nothing_behind(data, alone):
    lines = call(data, *CLI, "--steps", 40).stdout.splitlines()
    assert lines[1].split() == ["┃", "rate", "┃", "loss", "┃", "smoothed", "┃"]
    assert len(lines) == 4 + 15 + 1
    assert lines[-1].startswith("suggested: --lr ")
    record = json.loads(call(data, *CLI, "--steps", 40, "--json").stdout)
    assert len(record["rates"]) == len(record["losses"]) <= record["steps"] == 40
    assert f"--lr {record['steepest']:.2g} (steepest) or {record['valley']:.2g} (valley)" in lines[-1]
    assert list(Path().iterdir()) == []
    assert len(call(data, *CLI, "--steps", 40, "-q").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--start-lr", "1", "--end-lr", "0.1"], "Cure: a larger end_lr"),
        (["--steps", "3"], "steps = 3: expected 20 to 10,000"),
        (["--resume", "auto"], "No such option"),
        (["--wd", "0.1"], "Cure: --set optimizer.weight_decay=0.1"),
        (["--set", "train.epoch=3"], "Did you mean 'epochs'"),
        (["-o", "full"], "full: holds mine"),
        (["--data", "other"], "expected one of them. Cure: leave out one"),
    ],
)
def test_what_cannot_be_meant_is_one_line_before_anything_is_read(data, alone, words, message):
    Path("full").mkdir()
    Path("full", "mine").write_text("")
    result = call(data, *CLI, *words, code=2)
    assert message in result.stderr
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)


def test_the_figure_marks_suggestions_on_the_smoothed_curve():
    rates = [1e-3, 1e-2, 1e-1, 1.0]
    figure = figure_lr_range(rates, [3.0, 2.0, 1.0, 900.0], [3.0, 2.5, 2.0, 230.0], {"valley": 1e-2, "steepest": 1e-1})
    (axes,) = figure.axes
    labels = {str(line.get_label()): line.get_xydata().tolist() for line in axes.lines}
    assert labels["valley: 0.01"] == [[1e-2, 2.5]]
    assert labels["steepest: 0.1"] == [[1e-1, 2.0]]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (0, 4.5)
    assert figure_lr_range([], [], [], {}).axes == []
