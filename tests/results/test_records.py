"""Records of a finished run by another version or by hand: one line names the field, or nothing else is said."""

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from mutations import ANOTHER, RENAMED, mutated

import xfer
from xfer.errors import CheckpointError
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

BACKEND = NumpyBackend()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that was resumed, in another folder than its copy: every optional key of a record is there."""
    folder = tmp_path_factory.mktemp("records")
    data = write_class_folders(folder / "pictures", counts=(6, 5))
    usual = {"data": str(data), "arch": "tiny", "size": 32, "epochs": 2, "batch_size": 4, "lr": 0.05}
    first = xfer.train(None, BACKEND, output=folder / "first", weights="random", **usual, progress=False)

    def stop(what, done, total):
        if what == "epoch 2":
            raise Interrupted(2, between=True)

    with pytest.raises(Interrupted):
        xfer.train(None, BACKEND, output=folder / "run", weights=str(first.path), **usual, progress=stop)
    xfer.train(None, BACKEND, resume=folder / "run", progress=False)
    shutil.copytree(folder / "run", folder / "copy")
    return folder / "run", folder / "copy"


def about(run, copy):
    """All that is said of the copy: against the original, by itself, and of its pictures."""
    loaded = xfer.Run.load(copy)
    comparison = xfer.compare([xfer.Run.load(run), loaded])
    summaries = [replace(summary, path="") for summary in comparison.runs]
    evaluation = loaded.evaluate(backend=BACKEND, progress=lambda *_: None)
    record = xfer.results.read.read_environment(copy)
    assert isinstance(xfer.results.facts.facts(copy), list)
    assert isinstance(xfer.results.read.places_of(copy), xfer.results.read.Places)
    return (
        summaries,
        comparison.settings,
        comparison.pairs,
        comparison.disagreements,
        loaded.history,
        {k: v for k, v in loaded.result.items() if v not in ([], None)},
        (evaluation.loss, evaluation.accuracy),
        (record.backend, record.device, record.jobs),
    )


def name_of(field):
    """The last name in it: what stands behind is the place in a list."""
    return [part for part in field.split(".") if not part.isdigit()][-1]


def held(run, copy, file, contents, named=name_of, free=()):
    """Every mutation of a file is refused in one line that names its field, or changes nothing. How many are refused.

    free   what may be accepted and say something else: (field, how)
    """
    wanted, original = about(run, copy), file.read_text(encoding="utf-8")
    lines, faults = [], []
    try:
        for field, how, text in contents:
            file.write_text(text, encoding="utf-8")
            try:
                if about(run, copy) != wanted and how != ANOTHER and (field, how) not in free:
                    faults.append((field, how, "is accepted, and something else is said"))
            except CheckpointError as error:
                line = str(error)
                lines.append(line)
                if not (named(field) in line and str(copy) in line and "\n" not in line and len(line) < 1000):
                    faults.append((field, how, line))
                if not ("Cure: " in line or "expected" in line):
                    faults.append((field, how, line))
    finally:
        file.write_text(original, encoding="utf-8")
    assert not faults, "\n".join(map(str, faults))
    return len(lines)


def as_text(mutations):
    return ((field, how, json.dumps(content)) for field, how, content in mutations)


FREE = [
    ("peak_memory", "null"),
    *(("metrics", how) for how in ("null", "left out")),  # as of a run of before
    *((f"metrics.{name}.{end}", "negative") for name in ("kappa", "mcc") for end in ("value", "low", "high")),
]


def test_a_result_by_hand(runs):
    run, copy = runs
    content = json.loads((copy / "result.json").read_text())
    assert content["resumed"]
    assert content["parent"]
    contents = as_text(mutated(content, keep=["versions"]))
    assert held(run, copy, copy / "result.json", contents, free=FREE) > 200


def test_an_environment_by_hand(runs):
    run, copy = runs
    content = json.loads((copy / "env.json").read_text())
    assert content["resumed_by"]
    # What nobody computes with may be absent: where the data lie is in the recipe, too.
    assert held(run, copy, copy / "env.json", as_text(mutated(content, keep=["versions"]))) > 50


def test_metrics_by_hand(runs):
    run, copy = runs
    rows = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]

    def texts():
        for i, row in enumerate(rows):
            for field, how, content in mutated(row):
                changed = [*rows[:i], content, *rows[i + 1 :]]
                yield field, how, "".join(json.dumps(r) + "\n" for r in changed)

    assert held(run, copy, copy / "metrics.jsonl", texts()) > 150


def test_lines_of_metrics_that_are_gone_or_torn(runs):
    run, copy = runs
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    texts = {"one less": lines[:1], "none": [], "twice": [lines[0], *lines], "torn": [lines[0], lines[1][:40]]}
    texts |= {"turned": lines[::-1], "a list": ["[1]\n"], "nested": ["[" * 100_000], "blank": ["\n", *lines]}
    contents = [("metrics.jsonl", how, "".join(parts)) for how, parts in texts.items()]
    assert held(run, copy, copy / "metrics.jsonl", contents) == len(contents)


def cells(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_predictions_by_hand(runs):
    run, copy = runs
    with (copy / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def texts():
        for column in rows[0]:
            of_class = column.startswith("p_")  # then it is all others that do not fit
            yield (
                "columns" if of_class else column,
                "left out",
                cells([{k: v for k, v in row.items() if k != column} for row in rows]),
            )
            yield column, "renamed", cells([{RENAMED * (k == column) + k: v for k, v in row.items()} for row in rows])
            for value in ("", "x", "nan", "inf", "-1", "2", "0.25", "ants", "bees"):
                if column != "file" and rows[0][column] != value:
                    yield column, value, cells([rows[0] | {column: value}, *rows[1:]])
        yield "n_val", "one less", cells(rows[1:])
        yield "file", "twice", cells([rows[0], *rows])
        yield "columns", "none", "\n"

    def named(field):
        return {"label": "", "columns": "predictions.csv"}.get(field, field)

    assert held(run, copy, copy / "predictions.csv", texts(), named) > 50


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "\x00", "[" * 100_000, '{"backend": 1}', '{"device": "\\ud800"}']
)
@pytest.mark.parametrize("name", ["result.json", "env.json"])
def test_what_is_no_record_is_one_line(runs, name, text):
    run, copy = runs
    assert held(run, copy, copy / name, [(name, "no record", text)]) == 1


def test_a_record_is_read_as_it_was_written(runs):
    _, copy = runs
    content = json.loads((copy / "result.json").read_text())
    loaded = xfer.Run.load(copy)
    assert json.dumps(loaded.result) == json.dumps(content)
    assert json.dumps(loaded.history) == json.dumps(
        [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    )
    assert np.isfinite(loaded.result["val_loss"])
