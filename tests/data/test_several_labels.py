"""Tables of any number of labels: read in every format, split and folded in equal shares of each, or refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import write_shapes

from xfer.data import stratified
from xfer.data.columns import Columns
from xfer.data.dataset import open_dataset
from xfer.data.files import Files
from xfer.data.grouped import deal
from xfer.data.split import Fold, Split, divide
from xfer.errors import ConfigError, DataError
from xfer.recipe.load import make_recipe


@pytest.fixture
def table(tmp_path):
    return write_shapes(tmp_path / "set", count=40)


def opened(source, **options):
    usual = {"task": "multilabel", "workers": 1, "cache": source.parent.parent / "cache"}
    return open_dataset(str(source), **usual | options)


def of(data):
    """The labels of each picture, by its file's name."""
    splits = (data.train, data.val)
    return {
        file.rsplit("/", 1)[1]: {data.classes[i] for i in np.flatnonzero(row)}
        for split in splits
        for file, row in zip(map(str, split.files), split.labels, strict=True)
    }


def test_rows_become_pictures_with_their_labels(table):
    data = opened(table)
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    assert data.classes == ("blue", "green", "red")
    assert of(data) == {path.split("/")[1]: set(filter(None, labels.split("|"))) for path, labels in rows}
    assert any(not own for own in of(data).values()), "some have none"
    assert len(data.val.labels) == pytest.approx(8, abs=1)


def as_lists(table, name):
    """The same rows as JSON Lines or Parquet, with lists for cells."""
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    rows = [{"path": path, "tags": labels.split("|") if labels else []} for path, labels in rows]
    new = table.with_name(name)
    if new.suffix == ".parquet":
        arrow, parquet = (pytest.importorskip(name, exc_type=ImportError) for name in ("pyarrow", "pyarrow.parquet"))
        parquet.write_table(arrow.Table.from_pylist(rows), new)
    else:
        new.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return new


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_lists_are_the_same_labels(table, name):
    first, second = opened(table), opened(as_lists(table, name))
    assert of(first) == of(second)
    assert (first.val.labels == second.val.labels).all()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_pictures_with_addresses_have_the_same_labels(table, name, tmp_path, monkeypatch):
    """Of files here: read where they lie, by a copy of the table."""
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    here = table.parent.as_uri()
    text = table.read_text().replace("\nimg/", f"\n{here}/img/")
    named = table.with_name("named.csv")
    named.write_text(text)
    other = named if name == "t.csv" else as_lists(named, name)
    assert of(opened(other)) == of(opened(table))


def test_semicolons_and_blanks_and_a_label_twice(table):
    text = table.read_text().replace("|", " ; ")
    spaced = table.with_name("spaced.csv")
    spaced.write_text(text.replace("img/000.png,", "img/000.png,red;red;", 1))
    assert of(opened(spaced)) == {**of(opened(table)), "000.png": of(opened(table))["000.png"] | {"red"}}


def write(table, *rows, head="path,labels"):
    own = table.with_name("own.csv")
    own.write_text("\n".join([head, *rows]) + "\n")
    return own


@pytest.mark.parametrize(
    ("rows", "head", "words"),
    [
        (["img/000.png,", "img/001.png,"], "path,labels", "no row has a label"),
        (["img/000.png,red", "img/000.png,blue"], "path,labels", "gives 'img/000.png' the label .*a row before it"),
        (["img/000.png,\"['red', 'blue']\""], "path,labels", "is a list as text. Cure: labels with | between"),
        ([f"img/000.png,{'x' * 300}"], "path,labels", "is no label: expected a text of at most 255 bytes"),
        (["img/000.png,red,blue"], "path,tags,classes", "'tags' and 'classes' may both be the label"),
        (["img/000.png,red"], "path,colour", "no column for the label"),
    ],
)
def test_what_cannot_be_read_is_refused(table, rows, head, words):
    with pytest.raises(DataError, match=words) as caught:
        opened(write(table, *rows, head=head))
    assert "\n" not in str(caught.value)


def test_a_label_with_the_separator_in_it_is_refused(table):
    file = table.with_name("own.jsonl")
    file.write_text('{"path": "img/000.png", "labels": ["red|blue"]}\n')
    with pytest.raises(DataError, match=r"'red\|blue' has \| or ; in it. Cure: another name"):
        opened(file)


def test_the_key_is_named_where_a_table_needs_it(table):
    with pytest.raises(DataError, match=r"column 'labels' in place of one for the label. Cure: data.task = "):
        opened(table, task="classification")
    single = write(table, "img/000.png,red|blue", "img/001.png,red", head="path,label")
    with pytest.raises(DataError, match=r"several labels, expected one. Cure: data.task = .multilabel."):
        opened(single, task="classification")
    assert opened(single, val_fraction=0.5).classes == ("blue", "red"), "a column for one label may hold several"
    named = write(table, "img/000.png,red|blue", "img/001.png,red", head="path,colours")
    assert opened(named, val_fraction=0.5, columns=Columns(label="colours")).classes == ("blue", "red")


def test_drawing_for_classes_is_refused():
    with pytest.raises(ConfigError, match=r"no single class to be drawn for. Cure: loss.class_weights"):
        make_recipe({}, {"data.task": "multilabel", "train.sampler": "balanced"})


def test_a_copy_with_other_labels_is_found(table):
    (table.parent / "img" / "001.png").write_bytes((table.parent / "img" / "000.png").read_bytes())
    rows = table.read_text().splitlines()
    rows[1], rows[2] = "img/000.png,red", "img/001.png,red|blue"
    table.write_text("\n".join(rows) + "\n")
    assert opened(table).leaks.counts()["in two classes"] == 1
    rows[2] = "img/001.png,red"
    table.write_text("\n".join(rows) + "\n")
    assert "in two classes" not in opened(table).leaks.counts()


def test_splits_of_a_table_may_lack_labels_but_add_none(tmp_path):
    table = write_shapes(tmp_path / "set", count=30, splits=("train", "train", "val"))
    data = opened(table)
    assert (len(data.train.labels), len(data.val.labels)) == (20, 10)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:3], "img/002.png,violet,val", *lines[4:]]) + "\n")
    with pytest.raises(DataError, match="violet"):
        opened(table)


LABELS = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=4, max_size=60)


@given(LABELS, st.integers(0, 5))
def test_each_label_is_on_both_sides_of_a_split(rows, seed):
    labels = np.array(rows, np.int64)
    held = stratified.held_out(labels, 0.25, seed)
    for label in range(3):
        own = held[labels[:, label] == 1]
        assert not len(own) or not own.all(), "all of a label is held out"
        assert len(own) < 2 or own.any(), "none of a label is held out"


@given(LABELS, st.integers(2, 4), st.integers(0, 5))
def test_no_label_lies_in_one_fold_alone(rows, count, seed):
    labels = np.array(rows, np.int64)[:, labels_of_two(rows)]
    folds = stratified.folds_of(labels, count, seed)
    if folds is not None:
        for label in range(labels.shape[1]):
            assert len(set(folds[labels[:, label] == 1])) > 1


def labels_of_two(rows):
    return np.array(rows).sum(axis=0) >= 2


def test_folds_have_equal_shares_of_every_label_where_chance_has_not():
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 8)) < (0.5, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02)).astype(np.int64)
    folds = stratified.folds_of(labels, 5, 0)
    by_chance = 1 + rng.permutation(500) % 5

    def unequal(parts):
        counts = np.array([labels[parts == fold].sum(axis=0) for fold in range(1, 6)])
        return np.abs(counts - labels.sum(axis=0) / 5).max()

    assert unequal(folds) <= 2 < 5 <= unequal(by_chance)
    assert np.bincount(folds)[1:].tolist() == pytest.approx([100] * 5, abs=6)
    assert (stratified.folds_of(labels, 5, 0) == folds).all()
    assert (stratified.folds_of(labels, 5, 1) != folds).any()


def test_groups_stay_whole():
    rng = np.random.default_rng(0)
    labels = (rng.random((120, 4)) < 0.3).astype(np.int64)
    groups = np.repeat(np.arange(40), 3)
    parts = deal(labels, groups, [0.25] * 4, [False] * 4, 0)
    assert all(len(set(parts[groups == group])) == 1 for group in range(40))
    assert all(len(set(parts[labels[:, label] == 1])) == 4 for label in range(4))
    files = Files.below("/", (f"{i}.png" for i in range(120)))
    train, val = divide(Split(files, labels, groups=groups), 0.25, 0)
    assert not set(train.groups) & set(val.groups)
    assert val.labels.any(axis=0).all()


def test_a_fold_of_a_table(table):
    every = [opened(table, fold=Fold(number, 4)) for number in range(1, 5)]
    held = [str(file) for data in every for file in data.val.files]
    assert len(held) == len(set(held)) == 40
    assert all(data.train.labels.any(axis=0).all() for data in every)
    lone = write(table, "img/000.png,red|blue", *(f"img/{i:03d}.png,red" for i in range(1, 9)))
    with pytest.raises(DataError, match="1 picture, expected 2 or more for folds"):
        opened(lone, fold=Fold(1, 2))
