"""Names that a spreadsheet would run are texts in every CSV file, and names again wherever xfer reads one."""

import csv
import json

import pytest
from bad_input.shared import TRAIN
from click.testing import CliRunner

from xfer.cli.main import main
from xfer.comparison.predicted import read_predicted
from xfer.testing.pictures import write_class_folders

CLASSES = ["'=y", "+1+2", "-3", "=cmd|' C'!A0", "@SUM(A1)"]  # -3 is a number: nothing is run


def run(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def column(path, name):
    with path.open(encoding="utf-8", newline="") as lines:
        return [row[name] for row in csv.DictReader(lines)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("cells")
    write_class_folders(root / "set", CLASSES, (4, 3))
    run("train", root / "set", *TRAIN, "-o", root / "run")
    return root / "run"


def test_classes_are_texts_in_a_runs_predictions_and_read_as_they_are(trained):
    assert set(column(trained / "predictions.csv", "label")) == {*("''=y", "'+1+2", "-3", "'=cmd|' C'!A0", "'@SUM(A1)")}
    predicted = read_predicted(trained)
    assert predicted.classes == tuple(json.loads((trained / "classes.json").read_text()))
    assert {predicted.classes[label] for label in predicted.labels} == set(CLASSES)
    assert "&#x27;=cmd|" not in (trained / "report.html").read_text(), "the report counts pictures by class"
    assert "<th>=cmd|&#x27; C&#x27;!A0</th>" in (trained / "report.html").read_text()


def test_a_comparison_reads_the_same_names(trained, tmp_path):
    run("train", trained.parent / "set", *TRAIN, "-o", tmp_path / "other")
    record = json.loads(run("compare", trained, tmp_path / "other", "--json").stdout)
    assert record["pairs"][0]["n"] == 15


@pytest.mark.parametrize(("more", "before"), [([], "'"), (["--raw"], "")])
def test_files_are_texts_unless_it_is_for_a_program(trained, tmp_path, monkeypatch, more, before):
    monkeypatch.chdir(tmp_path)
    content = next((trained.parent / "set/val").rglob("*.png")).read_bytes()
    for name in ("=1+1.png", "plain.png"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "@bad.png").write_bytes(b"text")
    run("predict", trained, "=1+1.png", "plain.png", "@bad.png", "-q", "-o", "p.csv", *more, code=1)
    assert column(tmp_path / "p.csv", "file") == [f"{before}=1+1.png", "plain.png", f"{before}@bad.png"]
    assert all(0 <= float(cell) <= 1 for cell in column(tmp_path / "p.csv", "p_=cmd|' C'!A0")[:2])
    run("predict", trained, "=1+1.png", "-q", "-o", "p.json", *more)
    assert json.loads((tmp_path / "p.json").read_text())[0]["file"] == "=1+1.png"
