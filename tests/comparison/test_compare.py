"""Comparisons of runs: the statistics against textbooks and brute force, the laws, and what the command says."""

import csv
import json
import math
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from math import comb

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import xfer.backend
from xfer.cli.console import pair_lines, result_table, setting_table
from xfer.cli.main import main
from xfer.comparison.compare import Unpaired, compare, differing, flat, pair, verdict
from xfer.comparison.predicted import Predicted, mismatch, read_predicted, relative_names
from xfer.comparison.statistics import Interval, mcnemar, paired_bootstrap, paired_difference, upper_bound, wilson
from xfer.errors import CheckpointError, ConfigError
from xfer.results.run import Run
from xfer.testing.pictures import write_class_folders

NUMPY = EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", xfer.backends.GROUP)
Z = 1.959963984540054  # the normal distribution's 97.5 % point


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (145, 153), (1, 29), (81, 263)])
def test_wilson_is_its_formula(successes, n):
    share = successes / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    assert wilson(successes, n) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_wilson_is_what_the_textbook_says():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, method 3
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("b", range(7))
@pytest.mark.parametrize("c", range(7))
def test_mcnemar_is_a_sum_of_binomials(b, c):
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar(b, c) == pytest.approx(min(1, 2 * tail))
    assert mcnemar(b, c) == mcnemar(c, b)


def test_the_bound_on_what_was_never_seen_solves_its_equation():
    for n in (1, 24, 153, 1000):
        assert (1 - upper_bound(0, n)) ** n == pytest.approx(0.05)
    assert upper_bound(0, 153) == pytest.approx(0.0194, abs=5e-5)


def signs(minus, plus, n):
    return np.repeat([-1, 1, 0], [minus, plus, n - minus - plus])


def test_the_bootstrap_is_the_trinomial_it_samples():
    minus, plus, n = 100, 300, 2000
    draws = np.random.default_rng(1).multinomial(n, [minus / n, plus / n, 1 - (minus + plus) / n], size=200_000)
    wanted = np.quantile((draws[:, 1] - draws[:, 0]) / n, [0.025, 0.975])
    assert paired_bootstrap(signs(minus, plus, n), seed=0) == pytest.approx(wanted, abs=2.01 / n)


def test_the_bootstrap_repeats_itself_whatever_is_drawn_at_once(monkeypatch):
    values = np.random.default_rng(0).integers(-1000, 1000, 100)
    whole = paired_bootstrap(values, seed=5)
    assert whole == paired_bootstrap(values, seed=5)
    monkeypatch.setattr("xfer.comparison.statistics._CHUNK", 12_345)
    assert paired_bootstrap(values, seed=5) == whole
    assert {paired_bootstrap(values, seed=seed, resamples=50) for seed in range(5)} != {whole}


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    generator, n, shares = np.random.default_rng(2), 150, [0.06, 0.12, 0.82]
    covered = 0
    for trial in range(300):
        minus, plus, _ = generator.multinomial(n, shares)
        low, high = paired_bootstrap(signs(minus, plus, n), seed=trial, resamples=500)
        covered += low <= 0.06 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_no_difference_seen_is_no_proof_of_none():
    assert paired_difference(signs(0, 0, 153)) == pytest.approx((-0.0194, 0.0194), abs=5e-5)
    assert paired_difference(signs(0, 0, 298)).high < 0.0101
    assert paired_difference(signs(1, 0, 153)).low < 0


@pytest.mark.parametrize(
    ("interval", "p", "expected"),
    [
        ((-0.005, 0.009), 1.0, "equivalent"),
        ((0.002, 0.009), 0.01, "equivalent"),
        ((-0.005, 0.01), 1.0, "not shown"),
        ((-0.01, 0.005), 1.0, "not shown"),
        ((0.001, 0.05), 0.01, "different"),
        ((-0.05, -0.001), 0.01, "different"),
        ((0.001, 0.05), 0.125, "not shown"),
        ((-0.05, 0.02), 0.01, "not shown"),
    ],
)
def test_verdicts(interval, p, expected):
    assert verdict(Interval(*interval), p, 0.01) == expected


def predicted(guesses, labels=None, confidence=0.9):
    guesses = np.array(guesses)
    names = tuple(f"{i:04d}" for i in range(len(guesses)))
    probabilities = np.where(np.eye(3)[guesses] == 1, confidence, (1 - confidence) / 2)
    labels = np.zeros(len(guesses), np.int64) if labels is None else np.array(labels)
    return Predicted(names, names, ("a", "b", "c"), labels, guesses, probabilities)


def test_a_pair_counts_what_it_says():
    first, second = predicted([0, 0, 0, 1, 1, 2]), predicted([0, 0, 1, 0, 0, 1], confidence=0.8)
    result = pair(2, first, second, 0.01, seed=0)
    assert (result.n, result.same_predictions, result.only_first, result.only_this) == (6, 2, 1, 2)
    assert result.difference == pytest.approx(1 / 6)
    assert (result.gap, result.gap_at) == (pytest.approx(0.8), "0002")  # 0.9 and 0.1 for class a
    assert result.p == 1.0


def test_swapping_two_runs_turns_every_sign():
    generator = np.random.default_rng(0)
    first, second = (predicted(generator.integers(0, 3, 80)) for _ in range(2))
    a, b = pair(2, first, second, 0.01, seed=3), pair(2, second, first, 0.01, seed=3)
    assert a.difference == -b.difference != 0
    assert a.interval == pytest.approx((-b.interval.high, -b.interval.low))
    assert (a.only_first, a.only_this) == (b.only_this, b.only_first)
    assert (a.p, a.gap, a.same_predictions, a.verdict) == (b.p, b.gap, b.same_predictions, b.verdict)


def test_many_images_show_what_few_do_not():
    few, many = np.zeros(150, np.int64), np.zeros(1500, np.int64)
    assert pair(2, predicted(few), predicted(few), 0.01, 0).verdict == "not shown"
    assert pair(2, predicted(many), predicted(many), 0.01, 0).verdict == "equivalent"
    worse = many.copy()
    worse[:200] = 1
    assert pair(2, predicted(many), predicted(worse), 0.01, 0).verdict == "different"


def test_names_are_the_same_on_every_machine():
    here = relative_names(["/pictures/data/val/ants/1.jpg", "/pictures/data/val/bees/1.jpg"])
    there = relative_names([r"D:\pictures\val\ants\1.jpg", r"D:\pictures\val\bees\1.jpg"])
    assert here == there == ["ants/1.jpg", "bees/1.jpg"]
    assert relative_names(["data/ants/1.jpg", "data/anteaters/1.jpg"]) == ["ants/1.jpg", "anteaters/1.jpg"]


def test_other_images_or_labels_are_noticed():
    assert mismatch(predicted([0, 1]), predicted([1, 1])) is None
    assert "2 and 3 images, 2 of them in both" in str(mismatch(predicted([0, 1]), predicted([0, 1, 1])))
    assert "1 of 2 images" in str(mismatch(predicted([0, 1]), predicted([0, 1], labels=[0, 2])))


def test_what_differs_is_found_and_nothing_else():
    settings = differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 0}])
    assert [(setting.key, setting.values) for setting in settings] == [("b", (2, 3, 2)), ("c", (None, None, 0))]


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """a and b: the same recipe; c: another one; d: other images; e: other classes."""
    root = tmp_path_factory.mktemp("compare")
    data = write_class_folders(root / "pictures", counts=(8, 10))
    fewer = write_class_folders(root / "fewer", counts=(8, 4))
    wasps = write_class_folders(root / "wasps", ("ants", "wasps"), counts=(4, 2))
    usual = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", 32, "--epochs", 2, "--lr", 0.05]
    more = {"a": [data], "b": [data], "c": [data, "--seed", 4, "--set", "train.views=2"], "d": [fewer], "e": [wasps]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xfer.backends.declared", lambda: {"numpy": NUMPY})
        for name, (source, *flags) in more.items():
            xfer_("train", "--data", source, "--output", root / name, *usual, *flags)
    return root


def rewrite(folder, change):
    """Let `change` alter each row of a run's predictions."""
    path = folder / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(change(row) for row in rows)


def turned(folders, tmp_path, names=("ants/0.png", "ants/1.png", "bees/2.png")):
    """Run a with the predictions for a few images turned round."""
    folder = tmp_path / "turned"
    shutil.copytree(folders / "a", folder)

    def turn(row):
        if not row["file"].endswith(names):
            return row
        opposite = {"ants": "bees", "bees": "ants"}[row["predicted"]]
        return row | {"predicted": opposite, "p_ants": row["p_bees"], "p_bees": row["p_ants"]}

    rewrite(folder, turn)
    return folder


def test_a_run_agrees_with_its_repetition(folders):
    comparison = compare([Run.load(folders / "a"), Run.load(folders / "b")])
    (only,) = comparison.pairs
    assert (only.same_predictions, only.n, only.gap, only.difference) == (20, 20, 0, 0)
    assert only.verdict == "not shown"
    assert (comparison.settings, comparison.same_batches, comparison.disagreements) == ((), True, ())


def test_the_figures_of_a_run_are_those_of_its_result(folders):
    comparison = compare([Run.load(folders / name) for name in "ac"])
    for summary, name in zip(comparison.runs, "ac", strict=True):
        result = json.loads((folders / name / "result.json").read_text())
        assert (summary.accuracy, summary.loss) == (result["val_accuracy"], result["val_loss"])
        assert summary.interval == wilson(round(20 * summary.accuracy), 20)
        assert read_predicted(folders / name).right.mean() == pytest.approx(summary.accuracy)
    assert {s.key: s.values for s in comparison.settings} == {"seed": (0, 4), "train.views": ("auto", 2)}
    assert not comparison.same_batches


def test_where_the_data_lies_and_in_which_order_does_not_matter(folders, tmp_path):
    shutil.copytree(folders / "a", tmp_path / "moved")
    rewrite(
        tmp_path / "moved", lambda row: row | {"file": row["file"].replace(str(folders), "Z:\\").replace("/", "\\")}
    )
    path = tmp_path / "moved" / "predictions.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]))
    (only,) = compare([Run.load(folders / "a"), Run.load(tmp_path / "moved")]).pairs
    assert (only.same_predictions, only.gap) == (20, 0)


def test_the_images_on_which_runs_disagree_are_found_and_drawn(folders, tmp_path):
    run = turned(folders, tmp_path)
    result = xfer_("compare", folders / "a", folders / "d", run, "--output", tmp_path / "out")
    assert "the same prediction for 17 of 20 images (85.0%)" in result.stdout
    assert "run 2 against run 1: not the same validation images (20 and 8 images, 8 of them in both)" in result.stdout
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [image["name"] for image in content["disagreements"]] == ["ants/0.png", "ants/1.png", "bees/2.png"]
    for image in content["disagreements"]:
        first, second, third = image["predicted"]
        assert {first, third} == {"ants", "bees"}
        assert second is None
        assert f"  {image['name']}: run 1 {first}" in result.stdout
    for name in ("curves.png", "disagreements.png"):
        assert str(tmp_path / "out" / name) in result.stdout
        with Image.open(tmp_path / "out" / name) as picture:
            assert len(set(picture.convert("L").resize((32, 32)).tobytes())) > 5
    again = xfer_("compare", folders / "a", folders / "b", "--output", tmp_path / "out")
    assert "disagreements.png" not in again.stdout
    assert not (tmp_path / "out" / "disagreements.png").exists()


def test_images_that_are_gone_are_left_out_of_the_picture(folders, tmp_path):
    opposed = turned(folders, tmp_path)
    for run in (folders / "a", opposed):
        shutil.copytree(run, tmp_path / f"{run.name}_far")
        rewrite(tmp_path / f"{run.name}_far", lambda row: row | {"file": row["file"].replace("pictures", "gone")})
    gone = [tmp_path / "a_far", tmp_path / "turned_far"]
    assert "disagreements.png" not in xfer_("compare", *gone, "-o", tmp_path / "out").stdout
    assert "disagreements.png" in xfer_("compare", gone[0], opposed, "-o", tmp_path / "out").stdout


def test_the_tiles_say_which_run_took_an_image_for_what():
    from xfer.plots.disagreements import figure_disagreements
    from xfer.plots.style import RIGHT, WRONG

    images = np.zeros((2, 8, 8, 3), np.uint8)
    figure = figure_disagreements(images, ["a", "b"], [("a", "b", "a"), ("a", None, "c")], total=7)
    titles = figure.axes[0].texts
    assert titles[0].get_text().splitlines() == ["a (run 1, 3)", "b (run 2)", "true: a"]
    assert titles[1].get_text().splitlines() == ["a (run 1)", "c (run 3)", "true: b"]
    assert [title.get_color() for title in titles] == [RIGHT, WRONG]
    assert "2 of 7" in figure.get_suptitle()


def test_the_command_says_what_json_says(folders):
    words = xfer_("compare", folders / "a", folders / "b").stdout
    assert "identical predictions on 20 images; the same probabilities" in words
    assert "training batches: the same, bit for bit" in words
    assert "recipes, backends, devices and versions are the same" in words
    assert "at most 13.9 % of all are" in words
    assert "not shown: neither that they differ, nor that the difference lies within +-1.0 points" in words
    wide = xfer_("compare", folders / "a", folders / "b", "--margin", 0.2).stdout
    assert "equivalent: the difference lies within +-20.0 points with 95 % confidence" in wide
    content = json.loads(xfer_("compare", folders / "a", folders / "c", "--json").stdout)
    assert content["pairs"][0]["n"] == 20
    assert [setting["key"] for setting in content["settings"]] == ["seed", "train.views"]


def test_what_differs_is_shown_for_each_run(folders):
    comparison = compare([Run.load(folders / name) for name in "aca"])
    table = setting_table(comparison.settings)
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells == [["seed", "train.views"], ["0", "auto"], ["4", "2"], ["0", "auto"]]


def test_lists_in_recipes_are_compared_by_place():
    assert dict(flat({"a": {"b": [{"op": "Flip"}, 2]}, "c": None})) == {"a.b.0.op": "Flip", "a.b.1": 2, "c": None}


def test_a_verdict_says_who_is_better():
    right, wrong = predicted(np.zeros(100, np.int64)), predicted(np.repeat([0, 1], [80, 20]))
    assert "different: run 2 is worse than run 1" in pair_lines(pair(2, right, wrong, 0.01, 0), 0.01)[-1]
    assert "different: run 3 is better than run 1" in pair_lines(pair(3, wrong, right, 0.01, 0), 0.01)[-1]


def test_tables_in_a_pipe_are_never_cut(folders):
    output = xfer_("compare", folders / "a", folders / "b").stdout
    for run in compare([Run.load(folders / name) for name in "ab"]).runs:
        low, high = (100 * end for end in run.interval)
        assert f" {low:.1f}-{high:.1f} % " in output
    assert "…" not in output


def test_memory_is_shown_where_it_is_known(folders, tmp_path):
    def copy(name, memory):
        shutil.copytree(folders / "a", tmp_path / name)
        result = json.loads((tmp_path / name / "result.json").read_text())
        (tmp_path / name / "result.json").write_text(json.dumps(result | {"peak_memory": memory}))
        return Run.load(tmp_path / name)

    known, unknown = copy("known", 5 * 2**20), copy("unknown", None)
    assert list(result_table(compare([known, unknown]).runs).columns[-1].cells) == ["5 MiB", ""]
    assert "memory" not in [column.header for column in result_table(compare([unknown, unknown]).runs).columns]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "expected two or more"),
        (["a", "nowhere"], "expected the folder of a finished run"),
        (["a", "pictures"], "expected the folder of a finished run"),
        (["a", "e"], "Cure: compare runs on the same classes"),
        (["a", "b", "--margin", "0"], "margin = 0"),
        (["a", "b", "--margin", "2"], "margin = 2"),
        (["a", "b", "--output", "a/result.json"], "cannot be written"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_code_2(words, message, folders, monkeypatch):
    monkeypatch.chdir(folders)
    result = xfer_("compare", *words, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("content", ["", "file,label\n", "file,label,predicted,p_ants\nx,bees,ants,1\n", "file\nx\n"])
def test_predictions_that_cannot_be_read_are_named(content, folders, tmp_path):
    shutil.copytree(folders / "a", tmp_path / "r")
    (tmp_path / "r" / "predictions.csv").write_text(content)
    with pytest.raises(CheckpointError, match=r"predictions\.csv"):
        compare([Run.load(folders / "a"), Run.load(tmp_path / "r")])
    (tmp_path / "r" / "predictions.csv").unlink()
    with pytest.raises(CheckpointError, match=r"predictions\.csv"):
        compare([Run.load(folders / "a"), Run.load(tmp_path / "r")])


def test_a_result_that_lacks_something_is_named(folders):
    run = Run.load(folders / "a")
    with pytest.raises(CheckpointError, match="best_epoch"):
        compare([run, Run(run.path, {k: v for k, v in run.result.items() if k != "best_epoch"})])
    with pytest.raises(ConfigError):
        compare([])


def test_unpaired_runs_have_no_paired_statistics(folders):
    comparison = compare([Run.load(folders / "a"), Run.load(folders / "d")])
    assert [type(result) for result in comparison.pairs] == [Unpaired]
    assert comparison.disagreements == ()


def test_scipy_is_imported_by_what_needs_it_alone():
    code = "import sys, xfer.cli.console, xfer.cli.main; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
