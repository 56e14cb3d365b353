"""Comparisons of finished runs: what their folders give, what the command says and draws, what it refuses."""

import csv
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from PIL import Image

from xfer.cli.comparison_text import result_table, setting_table
from xfer.cli.main import main
from xfer.comparison.compare import Unpaired, compare
from xfer.comparison.predicted import read_predicted
from xfer.comparison.statistics import wilson
from xfer.errors import CheckpointError, ConfigError
from xfer.results.run import Run
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn_module")


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture(scope="module")
def folders(declaring, tmp_path_factory):
    """a and b: the same recipe; c: another one; d: other images; e: other classes."""
    root = tmp_path_factory.mktemp("compare")
    data = write_class_folders(root / "pictures", counts=(8, 10))
    fewer = write_class_folders(root / "fewer", counts=(8, 4))
    wasps = write_class_folders(root / "wasps", ("ants", "wasps"), counts=(4, 2))
    usual = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", 32, "--epochs", 2, "--lr", 0.05]
    more = {"a": [data], "b": [data], "c": [data, "--seed", 4, "--set", "train.views=2"], "d": [fewer], "e": [wasps]}
    with declaring():
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
    consistent(folder)
    return folder


def consistent(folder):
    """The accuracy in a run's other files is that of its predictions."""
    accuracy = float(read_predicted(folder).right.mean())
    result = json.loads((folder / "result.json").read_text()) | {"val_accuracy": accuracy}
    result.pop("metrics", None)  # they are made of the predictions then
    (folder / "result.json").write_text(json.dumps(result))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows, start=1):
        best = number == result["best_epoch"]
        row |= {"val_accuracy": accuracy if best else 0.0, "best": best or number == 1}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


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


@pytest.mark.parametrize(("most", "reason"), [("MOST_ROWS", "more than 19 rows"), ("MOST_PROBABILITIES", "or 39 prob")])
def test_a_table_beyond_its_bounds_is_refused(most, reason, folders, monkeypatch):
    number = {"MOST_ROWS": 20, "MOST_PROBABILITIES": 2 * 20}[most]  # 20 pictures of two classes
    monkeypatch.setattr(f"xfer.results.predicted.{most}", number)
    assert len(read_predicted(folders / "a").names) == 20
    monkeypatch.setattr(f"xfer.results.predicted.{most}", number - 1)
    with pytest.raises(CheckpointError, match=reason):
        read_predicted(folders / "a")


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


def test_a_comparison_replaces_a_comparison_alone(folders, tmp_path):
    for name in ("notes.txt", "disagreements.png", "compare.json"):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        (out / name).write_text("mine")
        words = ["compare", folders / "a", folders / "b", "-o", out]
        assert "Cure: another --output" in xfer_(*words, code=2).stderr
        assert [path.read_text() for path in out.iterdir()] == ["mine"]
        if name != "notes.txt":
            assert "is of no comparison, and would be replaced" in xfer_(*words, "--overwrite", code=2).stderr
            assert [path.read_text() for path in out.iterdir()] == ["mine"]
    words = ["compare", folders / "a", folders / "b", "-o", tmp_path / "notes"]
    for flags in (["--overwrite"], []):
        xfer_(*words, *flags)
        assert (tmp_path / "notes" / "notes.txt").read_text() == "mine"


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
    code = "import sys, xfer.cli.comparison_text, xfer.cli.main; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_runs_split_with_different_seeds_are_said_to_be_so(folders, declaring, tmp_path):
    usual = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", 32, "--epochs", 1]
    with declaring():
        for name, *flags in (["a"], ["b", "--seed", 3], ["c", "--seed", 3, "--set", "data.split_seed=0"]):
            xfer_("train", "--data", folders / "pictures" / "train", "--output", tmp_path / name, *usual, *flags)
    apart, together = compare([Run.load(tmp_path / name) for name in "abc"]).pairs
    assert apart.reason.endswith("split off with seed 0 and with seed 3; cure: the same data.split_seed for both")
    assert together.n == 4
    line = "run 2 against run 1: not the same validation images (4 and 4 images,"
    assert line in xfer_("compare", tmp_path / "a", tmp_path / "b").stdout


class Page(HTMLParser):
    """What a page says, the rows of its tables by their first cell, and what it asks for."""

    def __init__(self, path):
        super().__init__()
        self.words, self.rows, self.asked, self.kinds = [], [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.kinds.add(tag)
        self.asked += [value for name, value in attributes if name in ("src", "href")]
        self.rows += [[]] if tag == "tr" else []

    def handle_endtag(self, tag):
        self.rows += [[]] if tag == "tr" else []  # what follows is of none

    def handle_data(self, data):
        self.words += [data.strip()] if data.strip() else []
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())

    def row(self, name, cells):
        """The cells behind the first one that says `name`, of a row that has so many."""
        (found,) = [row[1:] for row in self.rows if row[:1] == [name] and len(row) == cells + 1]
        return found


def test_a_page_of_several_runs_says_what_the_command_says(folders, tmp_path):
    runs = [folders / "a", folders / "c", turned(folders, tmp_path)]
    result = xfer_("report", "--compare", *runs, "-o", tmp_path / "all.html")
    assert result.stdout == f"report        {tmp_path / 'all.html'}\n"
    page, found = Page(tmp_path / "all.html"), compare([Run.load(run) for run in runs])
    assert page.words[0] == "Runs compared: a, c, turned"
    best = max(range(3), key=lambda place: found.runs[place].accuracy)
    at = page.words.index(f"{100 * found.runs[best].accuracy:.1f} %")
    assert page.words[at + 1] == f"of 20 validation images right in run {best + 1}, the most"
    figures = [(100 * run.accuracy, *(100 * end for end in run.interval)) for run in found.runs]
    accuracies = [f"{value:.1f} % ({low:.1f} % to {high:.1f} %)" for value, low, high in figures]
    assert page.row("Accuracy", 3) == accuracies
    for pair in found.pairs:
        low, high = (100 * end for end in pair.interval)
        points, *_, only_first, only_this, p, same = page.row(f"{pair.run}", 7)
        assert points == f"{100 * pair.difference:+.1f} ({low:+.1f} to {high:+.1f})"
        assert (only_first, only_this, p) == (f"{pair.only_first}", f"{pair.only_this}", f"{pair.p:.3g}")
        assert same == f"{pair.same_predictions} of 20"
    assert page.row("seed", 3) == ["0", "4", "0"]
    assert page.row("train.views", 3) == ["auto", "2", "auto"]
    assert f"Pictures on which runs disagree ({len(found.disagreements)})" in page.words
    assert any(line.startswith("bees/2.png: run 1 ") for line in page.words)
    assert [source.partition(",")[0] for source in page.asked] == ["data:image/png;base64"] * 3
    assert "script" not in page.kinds


def test_a_page_says_what_cannot_be_compared_and_what_is_the_same(folders, tmp_path):
    xfer_("report", "--compare", folders / "a", folders / "b", folders / "d", "-o", tmp_path / "all.html")
    words = Page(tmp_path / "all.html").words
    assert "run 3: not the same validation images (20 and 8 images, 8 of them in both), so no paired tests" in words
    assert "Pictures on which runs disagree (0)" not in words
    xfer_("report", "--compare", folders / "a", folders / "b", "-o", tmp_path / "all.html")
    words = Page(tmp_path / "all.html").words
    line = "Recipes, backends, devices and versions are the same. Training batches: the same, bit for bit."
    assert line in words, "and a page of before was replaced"
    xfer_("report", "--compare", folders / "a", folders / "d", "-o", tmp_path / "all.html")
    assert "No run was validated on the same pictures as run 1." in Page(tmp_path / "all.html").words


def test_a_page_shows_names_and_runs_none_of_them(folders, tmp_path):
    name = "<script>alert(1)<script>"
    shutil.copytree(folders / "a", tmp_path / name)
    xfer_("report", "--compare", folders / "a", tmp_path / name, "-o", tmp_path / "all.html")
    page = Page(tmp_path / "all.html")
    assert page.words[0] == f"Runs compared: a, {name}"
    assert "script" not in page.kinds


def test_the_page_of_a_run_is_written_anew(folders, tmp_path):
    shutil.copytree(folders / "a", tmp_path / "a")
    (tmp_path / "a" / "report.html").unlink(missing_ok=True)
    assert xfer_("report", tmp_path / "a").stdout == f"report        {tmp_path / 'a' / 'report.html'}\n"
    assert "Key figures" in Page(tmp_path / "a" / "report.html").words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b"], "2 runs. Cure: --compare, or one of them"),
        (["a", "-o", "page.html"], "--output is of --compare"),
        (["--compare", "a"], "expected two or more"),
        (["--compare", "a", "nowhere"], "expected the folder of a finished run"),
        (["--compare", "a", "e"], "Cure: compare runs on the same classes"),
        (["--compare", "a", "b", "--margin", "0"], "margin = 0"),
        (
            ["--compare", "a", "b", "-o", "a/result.json"],
            "holds no page of runs that are compared. Cure: another --out",
        ),
        (["--compare", "a", "b", "-o", "pictures"], "is a directory"),
        (["--compare", "a", "b", "-o", "a/result.json/page.html"], "cannot be written"),
        ([], "Missing argument"),
    ],
)
def test_a_page_that_cannot_be_made_is_one_line_and_nothing_is_written(words, message, folders, monkeypatch):
    monkeypatch.chdir(folders)
    before = sorted(folders.iterdir()), (folders / "a" / "result.json").read_bytes()
    result = xfer_("report", *words, code=2)
    assert message in result.stderr
    assert (result.stderr.count("\n"), result.stdout) == (1, "")
    assert (sorted(folders.iterdir()), (folders / "a" / "result.json").read_bytes()) == before
