"""Tables in place of class folders: the same pictures, labels and splits, or one line that says why not."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from xfer.data import recheck
from xfer.data.columns import Columns
from xfer.data.dataset import open_dataset
from xfer.data.split import Fold
from xfer.errors import ConfigError, DataError
from xfer.inspection.check import check_data
from xfer.inspection.findings import find
from xfer.inspection.text import lines
from xfer.recipe.load import make_recipe
from xfer.recipe.meaning import splits_off
from xfer.testing.pictures import write_class_folders


@pytest.fixture
def root(tmp_path):
    return write_class_folders(tmp_path / "set", ("a", "b"), counts=(6, 2), size=(12, 12))


def opened(source, **options):
    return open_dataset(str(source), **{"workers": 1, "cache": source.parent.parent / "cache"} | options)


def rows_of(folder):
    """Path, label and split of all pictures below a folder of class folders, in no order that means anything."""
    files = sorted(folder.rglob("*.png"), key=lambda file: file.name + file.parent.name)
    return [(str(file.relative_to(folder)), file.parent.name, file.parts[-3]) for file in files]


def write(path, rows, columns=("path", "label", "split"), encoding="utf-8"):
    """A table in the format of its name, with as many of the columns as the rows have."""
    named = [dict(zip(columns, row, strict=False)) for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in named))
    elif path.suffix == ".parquet":
        arrow, parquet = (pytest.importorskip(name, exc_type=ImportError) for name in ("pyarrow", "pyarrow.parquet"))
        parquet.write_table(arrow.Table.from_pylist(named), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [columns[: len(rows[0])], *rows]
        path.write_text("".join(mark.join(map(str, line)) + "\n" for line in lines), encoding=encoding)
    return path


def names(split, root):
    return [(os.path.relpath(f, root), int(label)) for f, label in zip(split.files, split.labels, strict=True)]


def same(ours, theirs, root):
    assert ours.classes == theirs.classes
    for part in ("train", "val"):
        mine, other = getattr(ours, part), getattr(theirs, part)
        assert names(mine, root) == names(other, root)
        assert np.array_equal(mine.digests, other.digests)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".CSV"])
def test_a_table_of_class_folders_is_those_folders(root, suffix):
    table = write(root / f"labels{suffix}", rows_of(root))
    same(opened(table), opened(root), root)
    assert (opened(table).name, opened(table).root) == ("labels", root)


def test_without_a_column_for_splits_the_same_part_is_split_off(root):
    (root / "train" / "a" / "0").mkdir()
    (root / "train" / "a" / "0.png").rename(root / "train" / "a" / "0" / "0.png")
    (root / "train" / "a" / "1.png").rename(root / "train" / "a" / "!.png")
    files = sorted((root / "train").rglob("*.png"), reverse=True)
    table = write(root / "train.csv", [(f"train/{f.relative_to(root / 'train')}", f.parts[-2][:1]) for f in files])
    labelled = [(path, "a" if path.startswith("train/a") else "b") for path, _ in _read(table)]
    write(table, labelled)
    for seed in (0, 3):
        same(opened(table, seed=seed), opened(root / "train", seed=seed), root)
    fold = {"fold": Fold(2, 3), "seed": 1}
    same(opened(table, **fold), opened(root / "train", **fold), root)


def _read(table):
    return [line.split(",") for line in table.read_text().splitlines()[1:]]


def test_paths_may_be_absolute_or_lead_to_another_folder(root, tmp_path):
    rows = rows_of(root)
    tables = tmp_path / "tables"
    tables.mkdir()
    outside = write(tables / "outside.csv", [(f"../set/./{path}", *more) for path, *more in rows])
    absolute = write(tables / "absolute.csv", [(str(root / path), *more) for path, *more in rows])
    mixed = [(str(root / path) if i % 2 else path, *more) for i, (path, *more) in enumerate(rows)]
    for table in (outside, absolute, write(root / "mixed.csv", mixed)):
        data = open_dataset(str(table), cache=tmp_path / "cache", workers=1)
        same(data, opened(root), root)
        assert all(os.path.isfile(file) for file in data.train.files)


def test_a_byte_order_mark_quotes_semicolons_blanks_and_other_columns(root):
    rows = [(f'"{path}"', f" {label} ", "x") for path, label, _ in rows_of(root)]
    table = write(root / "t.csv", rows, ("Image Path", '"Label"', "note"), encoding="utf-8-sig")
    wanted = opened(write(root / "plain.csv", [row[:2] for row in rows_of(root)]))
    same(opened(table), wanted, root)
    table.write_text(table.read_text().replace(",", ";") + "\n\n")
    same(opened(table), wanted, root)


def test_columns_by_the_recipe_and_labels_that_are_numbers(root):
    rows = [(path, "abc".index(label) + 1, label) for path, label, _ in rows_of(root)]
    for suffix in (".jsonl", ".parquet", ".csv"):
        table = write(root / f"t{suffix}", rows, ("where", "y", "label"))
        assert opened(table, columns=Columns(path="where", label="y")).classes == ("1", "2")
        assert opened(table, columns=Columns(path="where")).classes == ("a", "b")
    recipe = make_recipe({"data": {"source": "t.csv", "columns": {"path": "where"}}}, {"data.columns.label": "y"})
    assert recipe.data.columns == Columns(path="where", label="y")
    with pytest.raises(ConfigError, match=r"columns are those of a table, and source = 'demo' is none\. Cure: leave"):
        make_recipe({}, {"data.columns.label": "y"})
    with pytest.raises(ConfigError, match=r"unknown key data\.columns\.labels: expected one of path, label, split"):
        make_recipe({"data": {"source": "t.csv", "columns": {"labels": "y"}}}, {})


def test_splits_by_any_of_their_names_and_a_test_split_that_nobody_looks_at(root):
    rows = [(path, label, {"train": "Training", "val": "dev"}[split]) for path, label, split in rows_of(root)]
    missing = [("gone.png", "a", "TEST")]
    table = write(root / "t.csv", rows + missing)
    data = opened(table, on_bad_image="error")
    same(data, opened(root), root)
    assert str(data.test).endswith("t.csv/test")
    rows = [(path, label, {"dev": "Test"}.get(split, split)) for path, label, split in rows]
    two = opened(write(root / "two.csv", rows))
    same(two, opened(root), root)
    assert two.test is None
    held = opened(write(root / "three.csv", [*rows, ("val/a/0.png", "a", "val")]), held_out="test", on_leak="warn")
    assert names(held.val, root) == names(two.val, root)


def test_whether_a_part_is_split_off_and_a_table_of_one_split(root):
    split = write(root / "split.csv", rows_of(root))
    whole = write(root / "whole.csv", [row[:2] for row in rows_of(root)])
    test = write(root / "test.csv", [(*row[:2], "test") for row in rows_of(root)])
    off = [splits_off(make_recipe({}, {"data.source": str(table)})) for table in (split, whole, test)]
    assert off == [False, True, True]
    same(opened(test), opened(whole), root)
    assert len(opened(test, val_fraction=None, held_out="test").train.labels) == 16


def test_files_that_are_missing_or_no_pictures_are_left_out_and_named(root):
    (root / "train" / "a" / "0.png").write_bytes(b"no picture")
    rows = [*rows_of(root), ("gone.png", "b", "train"), ("train/b/1.png", "b", "train")]
    table = write(root / "t.csv", rows)
    data = opened(table)
    reasons = {os.path.relpath(s.path, root): s.reason for s in data.skipped}
    assert reasons.keys() == {"train/a/0.png", "gone.png", "train/b/1.png"}
    assert "more than one row" in reasons["train/b/1.png"]
    assert len(data.train.files) == 11
    with pytest.raises(DataError, match=r"cannot be used: .*Cure: remove"):
        opened(table, on_bad_image="error")
    absent = write(root / "absent.csv", [(f"images/{p}", label) for p, label, _ in rows_of(root)])
    with pytest.raises(DataError, match=r"no picture in this class \(8 files left.*relative to the table's folder"):
        opened(absent)


def test_a_picture_in_train_and_val_is_a_leak(root):
    table = write(root / "t.csv", [*rows_of(root), *[("train/a/0.png", "a", "val")] * 2])
    assert len(opened(table).skipped) == 1
    assert opened(table).leaks.counts() == {"in train and val": 1}
    assert len(opened(table, on_leak="drop").train.files) == 11
    check = check_data(str(table), make_recipe({}, {"augment.size": 8, "data.workers": 1}))
    assert check.counts.tolist() == [[6, 3], [6, 2]]
    assert any("in train and val" in finding.text for finding in find(check))


def test_pictures_that_were_checked_before_are_known_in_both_splits(root, monkeypatch):
    monkeypatch.setenv("XFER_LIMIT_CHECKED", "1MB")
    monkeypatch.setenv("XFER_CACHE", str(root.parent / "cache"))
    monkeypatch.setattr(recheck, "SETTLED", -(10**12))
    table, recipe = write(root / "t.csv", rows_of(root)), make_recipe({}, {"augment.size": 8, "data.workers": 1})
    assert [check_data(str(table), recipe).known for _ in range(3)] == [0, 16, 16]


def text(content, suffix=".csv"):
    return content, suffix


PATHS = "path,label\n"
BAD = {
    "an empty file": (text(""), r"t\.csv: is empty"),
    "an empty file of lines": (text("", ".jsonl"), r"is empty"),
    "no rows": (text(PATHS), r"has no rows"),
    "no column of labels": (text("path,y\nx,1\n"), r"no column for the label \(label, .* among path, y\. Cure: data"),
    "two columns of labels": (text("path,label,class\nx,1,2\n"), r"'label' and 'class' may both be the label\. Cure: "),
    "one class": (text(PATHS + "x.png,a\ny.png,a\n"), r"only one class, 'a'\. Expected two labels"),
    "no label": (text(PATHS + "x.png,a\ny.png,\n"), r"line 3 has no label"),
    "no label in JSON": (text('{"path": "x", "label": null}', ".jsonl"), r"line 1 has no label"),
    "no path": (text(PATHS + " ,a\n"), r"line 2 has no path but ' '"),
    "a number for a path": (text('{"path": 1, "label": "a"}', ".jsonl"), r"has no path but 1"),
    "labels by bars": (text(PATHS + "x.png,cat|dog\n"), r"'cat\|dog' is several labels, expected one"),
    "a list of labels": (text('{"path": "x", "label": ["a", "b"]}', ".jsonl"), r"\['a', 'b'\] is several labels"),
    "a list as text": (text(PATHS + "x.png,\"['a', 'b']\"\n"), r"is several labels"),
    "two labels": (text(PATHS + "x.png,a\ny.png,b\n./x.png,b\n"), r"line 4 gives 'x.png' the label 'b', and .* 'a'"),
    "an address in disguise": (
        text('{"path": "https:\\u002f\\u002fhost/x.png", "label": "a"}', ".jsonl"),
        r"'https://host/x.png' is an address with :// written otherwise",
    ),
    "NUL": (text('{"path": "x\\u0000.png", "label": "a"}', ".jsonl"), r"is no name of a file"),
    "half a character": (text('{"path": "x\\ud800.png", "label": "a"}', ".jsonl"), r"is no name of a file"),
    "half a character for a label": (text('{"path": "x.png", "label": "\\ud800"}', ".jsonl"), r"is no label"),
    "a long label": (text(PATHS + f"x.png,{'a' * 256}\n"), r"expected a text of at most 255 bytes"),
    "an unknown split": (text("path,label,split\nx,a,training\ny,b,dev\nz,b,tst\n"), r"line 4: split = 'tst': .*Did"),
    "no split": (text("path,label,split\nx,a,\n"), r"line 2: split = ''"),
    "no train": (text("path,label,split\nx,a,val\ny,b,test\n"), r"rows of val and test, and none of train"),
    "other classes": (text("path,label,set\nx,a,train\ny,b,train\nz,c,val\n"), r"train and val hold different classes"),
    "a row too short": (text(PATHS + "x.png\n"), r"line 2 has 1 cells, expected 2"),
    "an open quote": (text(PATHS + 'x.png,"a\n'), r"cannot be read \(unexpected end of data\)"),
    "no object": (text("[1]\n", ".jsonl"), r"line 1 is no JSON object"),
    "no JSON": (text("{\n", ".jsonl"), r"cannot be read"),
    "a later key": (text('{"path": "x", "label": "a"}\n{"path": "y", "label": "a", "split": "val"}', ".jsonl"),
                    r"line 2 has 'split', which the first has not"),
    "no Parquet": (text("path,label", ".parquet"), r"cannot be read"),
    "another encoding": (text("path,label\nx,ä\n".encode("latin-1")), r"is not UTF-8 text\. Cure: save it as UTF-8"),
    "UTF-16": (text("path,label\nx,a\n".encode("utf-16")), r"is not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_a_table_cannot_say_is_refused_in_one_line(tmp_path, case):
    (content, suffix), message = BAD[case]
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", exc_type=ImportError)
    table = tmp_path / f"t{suffix}"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(table), cache=tmp_path / "cache", workers=1)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_a_sheet_and_a_table_too_large(root, monkeypatch):
    table = write(root / "t.csv", rows_of(root))
    with pytest.raises(DataError, match=r"no column 'lable', which data.columns has .* Did you mean 'label'"):
        opened(table, columns=Columns(label="lable"))
    (root / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"is a file\. .* Cure: save the sheet as CSV"):
        opened(root / "t.xlsx")
    monkeypatch.setenv("XFER_LIMIT_TABLE", "60")
    for large in (table, write(root / "t.jsonl", rows_of(root)), write(root / "t.parquet", rows_of(root))):
        with pytest.raises(DataError, match=r"more than 60 bytes.* Cure: XFER_LIMIT_TABLE"):
            opened(large)


def test_parquet_with_lists_of_labels(root):
    table = write(root / "t.parquet", [(path, [label]) for path, label, _ in rows_of(root)])
    with pytest.raises(DataError, match=r"column 'label' holds list<.*expected texts"):
        opened(table)


def test_more_rows_than_are_allowed_or_than_there_is_memory_for(root, monkeypatch):
    table = write(root / "t.csv", [*rows_of(root), rows_of(root)[0]])
    monkeypatch.setenv("XFER_LIMIT_TABLE_ROWS", "16")
    with pytest.raises(DataError, match=r"more than 16 rows\. Cure: XFER_LIMIT_TABLE_ROWS"):
        opened(table)
    monkeypatch.setenv("XFER_LIMIT_TABLE_ROWS", "17")
    opened(table)
    monkeypatch.setattr("xfer.data.table.ROW", 2**60)
    with pytest.raises(DataError, match=r"17 rows so far: needs .*Cure: fewer pictures at a time"):
        opened(table)


def test_parquet_without_pyarrow(root, monkeypatch):
    table = root / "t.parquet"
    table.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pyarrow cannot be .*\. Cure: pip install 'xfer-vision\[tables\]', or write"):
        opened(table)


def test_pictures_of_a_group_stay_together(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    rng, rows = np.random.default_rng(0), []
    for i in range(36):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(root / f"{i}.png")
        rows.append((f"{i}.png", "ab"[i // 3 % 2], f"patient {i // 3}"))
    table = write(root / "t.csv", rows, ("path", "label", "patient"))
    group = {str(root / path): patient for path, _, patient in rows}
    data = opened(table, val_fraction=0.3)
    train, val = ({group[str(file)] for file in part.files} for part in (data.train, data.val))
    assert not train & val
    assert np.bincount(data.val.labels).tolist() == [6, 6], "two of twelve patients of each class"
    parts = [opened(table, fold=Fold(number, 3)) for number in (1, 2, 3)]
    assert sorted(str(file) for part in parts for file in part.val.files) == sorted(group)
    for part in parts:
        assert not {group[str(f)] for f in part.train.files} & {group[str(f)] for f in part.val.files}
        assert np.bincount(part.val.labels).tolist() == [6, 6]
    with pytest.raises(DataError, match=r"12 groups, expected 13 or more for as many folds"):
        opened(table, fold=Fold(1, 13))
    check = check_data(str(table), make_recipe({}, {"augment.size": 8, "data.workers": 1}))
    assert not [finding for finding in find(check) if "group" in finding.text]
    assert "groups    10 in training and 2 in validation" in list(lines(check, []))
    torn = [(*row, "val" if row[0] in ("0.png", "3.png", "4.png", "5.png") else "train") for row in rows]
    write(root / "torn.csv", torn, ("path", "label", "patient", "split"))
    check = check_data(str(root / "torn.csv"), make_recipe({}, {"augment.size": 8, "data.workers": 1}))
    assert [f.level for f in find(check) if f.text == "1 group with pictures in train and val"] == ["problem"]
    some = [(*row[:2], row[2] if i < 6 else " ") for i, row in enumerate(rows)]
    some = opened(write(root / "some.csv", some, ("path", "label", "patient")))
    together = np.concatenate([some.train.groups, some.val.groups])
    assert len(np.unique(together)) == 2 + 30, "without one, each is its own"
    lone = [(*row[:2], "one" if row[1] == "a" else row[2]) for row in rows]
    alone = opened(write(root / "lone.csv", lone, ("path", "label", "patient")))
    assert (np.bincount(alone.val.labels) > 0).tolist() == [False, True], "a class of one group is trained"
    assert alone.unvalidated == ("a",)
    with pytest.raises(DataError, match=r"would lie in one of 3 folds of whole groups alone"):
        opened(root / "lone.csv", fold=Fold(1, 3))
