"""The same picture twice: across splits, across classes, within a class; named, refused or dropped."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xfer.cli.main import main
from xfer.data.dataset import open_dataset
from xfer.data.leaks import KINDS, find_leaks
from xfer.data.lists import write_leaks_csv
from xfer.errors import DataError
from xfer.recipe.load import make_recipe
from xfer.training.resume import data_digest

TWO_CLASSES, SPLITS, ONE_CLASS = KINDS
NAMES = [f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("a", "b") for i in range(4)]


@pytest.fixture
def pictures(tmp_path):
    """Class folders without any copies."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return tmp_path / "set"


def copy(root, source, target):
    (root / target).write_bytes((root / source).read_bytes())


def opened(root, on_leak="warn"):
    return open_dataset(str(root), workers=1, on_leak=on_leak)


def copies(data):
    return [tuple(part.removeprefix(f"{data.root}/") for part in row) for row in data.leaks.rows()]


def names(data):
    return [str(f).removeprefix(f"{data.root}/") for split in (data.train, data.val) for f in split.files]


@pytest.mark.parametrize("on_leak", ["warn", "error", "drop"])
def test_without_copies_nothing_changes(pictures, on_leak):
    data = opened(pictures, on_leak)
    assert names(data) == NAMES
    assert data_digest(data) == data_digest(opened(pictures))
    assert (copies(data), data.leaks.summary(), data.skipped) == ([], "", ())


def test_each_kind_is_told_from_the_others(pictures):
    copy(pictures, "train/a/1.png", "train/a/3.png")
    copy(pictures, "train/b/0.png", "val/b/2.png")
    copy(pictures, "val/a/0.png", "val/b/3.png")
    data = opened(pictures)
    assert copies(data) == [
        ("val/a/0.png", "val/b/3.png", TWO_CLASSES),
        ("train/b/0.png", "val/b/2.png", SPLITS),
        ("train/a/1.png", "train/a/3.png", ONE_CLASS),
    ]
    assert names(data) == NAMES
    assert list(data.leaks.counts().values()) == [1, 1, 1]
    summary = data.leaks.summary()
    assert f"1 {SPLITS}" in summary
    assert str(pictures / "val/a/0.png") in summary
    assert "\n" not in summary


def test_dropping_leaves_validation_comparable_and_says_what_is_gone(pictures):
    copy(pictures, "train/a/1.png", "val/a/3.png")
    copy(pictures, "train/a/1.png", "train/a/2.png")
    copy(pictures, "train/b/0.png", "val/a/0.png")
    copy(pictures, "val/b/0.png", "val/b/1.png")
    data = opened(pictures, "drop")
    gone = {"train/a/1.png", "train/a/2.png", "train/b/0.png", "val/a/0.png"}
    assert names(data) == [name for name in NAMES if name not in gone]
    assert {s.path.removeprefix(f"{pictures}/") for s in data.skipped} == gone
    assert {s.reason.split(":")[0] for s in data.skipped} == {TWO_CLASSES, SPLITS}
    assert all("same bytes as" in s.reason for s in data.skipped)
    again = find_leaks(*((getattr(data.train, f), getattr(data.val, f)) for f in ("files", "labels", "digests")))
    assert set(again.counts()) <= {ONE_CLASS}


def test_an_error_names_the_worst_pair_and_the_cure(pictures):
    copy(pictures, "train/a/1.png", "train/a/3.png")
    opened(pictures, "error")
    copy(pictures, "train/a/0.png", "val/a/0.png")
    with pytest.raises(DataError, match=r"train/a/0\.png = .*val/a/0\.png .*Cure: .*drop") as raised:
        opened(pictures, "error")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("into", ["val/b", "val/a"])
def test_a_class_that_is_emptied_is_the_usual_error(pictures, into):
    for i in range(4):
        copy(pictures, f"train/a/{i}.png", f"{into}/{i}.png")
    with pytest.raises(DataError, match=r"train/a: no picture in this class \(4 files left out.*same bytes"):
        opened(pictures, "drop")


def test_a_part_that_is_split_off_is_looked_at_too(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(5):
            colour = np.full((8, 8, 3), i if name == "a" else 100 + i, np.uint8)
            Image.fromarray(colour).save(tmp_path / "set" / name / f"{i}.png")
    data = opened(tmp_path / "set")
    (out,) = (f for f, label in zip(data.val.files, data.val.labels, strict=True) if label == 0)
    copy(tmp_path / "set", next(f for f in data.train.files if "/a/" in f), out)
    assert opened(tmp_path / "set").leaks.counts() == {SPLITS: 1}
    assert len(opened(tmp_path / "set", "drop").train.files) == 7


pictures_ = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans()), max_size=12)


@given(pictures_)
def test_copies_are_those_of_equal_digests_and_nothing_else(rows):
    """Against the definition, pair by pair. Digests that end in zeros are digests like others."""
    rows = sorted(rows, key=lambda row: row[2])
    digests = np.zeros((len(rows), 16), np.uint8)
    digests[:, 3] = [content for content, _, _ in rows]
    labels, cut = np.array([label for _, label, _ in rows], np.int64), sum(not val for _, _, val in rows)
    files = [str(i) for i in range(len(rows))]
    parts = ((x[:cut], x[cut:]) for x in (files, labels, digests))
    leaks = find_leaks(*parts)
    pairs = {(i, j) for j in range(len(rows)) for i in range(j) if rows[i][0] == rows[j][0]}
    torn = {k for i, j in pairs for k in (i, j) if rows[i][1] != rows[j][1]}
    for i, members in enumerate(rows):
        if any(rows[k][0] == members[0] for k in torn):
            torn.add(i)
    leaking = {i for i, j in pairs if not rows[i][2] and rows[j][2]} - torn
    assert {i for i, _ in leaks.drops.tolist()} == torn | leaking
    assert set(map(tuple, leaks.pairs.tolist())) <= pairs
    for first, second, kind in ((int(r.path), int(r.copy), r.kind) for r in leaks.rows()):
        crossing = rows[first][1] != rows[second][1], rows[first][2] != rows[second][2]
        assert {TWO_CLASSES: crossing[0], SPLITS: crossing[1], ONE_CLASS: crossing == (False, False)}[kind]
    assert all(rows[i][0] == rows[j][0] and i != j for i, j in leaks.drops.tolist())
    assert bool(len(leaks.pairs)) == bool(pairs)


def test_a_hundred_thousand_pictures_take_a_moment():
    n = 100_000
    digests = np.random.default_rng(0).integers(0, 256, (n, 16), np.uint8)
    digests[n // 2] = digests[7]
    half = n // 2
    leaks = find_leaks((range(half), range(half)), (np.zeros(half, np.int64),) * 2, (digests[:half], digests[half:]))
    assert leaks.pairs.tolist() == [[7, n // 2]]


def test_the_csv(pictures, tmp_path):
    copy(pictures, "train/b/0.png", "val/b/2.png")
    write_leaks_csv(tmp_path / "l.csv", opened(pictures).leaks)
    with open(tmp_path / "l.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "copy", "kind"],
        [str(pictures / "train/b/0.png"), str(pictures / "val/b/2.png"), SPLITS],
    ]


def trained(pictures, tmp_path, *more):
    flags = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "1"]
    words = ["train", "--data", str(pictures), "--output", str(tmp_path / "run"), *flags, *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line.startswith("warning: ")]


def listed(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


@pytest.mark.usefixtures("declare")
def test_a_training_warns_in_one_line_and_lists_the_copies(pictures, tmp_path):
    copy(pictures, "train/b/0.png", "val/b/2.png")
    (line,) = trained(pictures, tmp_path)
    assert f"1 {SPLITS}; the first: {pictures}/train/b/0.png = {pictures}/val/b/2.png" in line
    assert "--on-leak drop" in line
    rows = [(f"{pictures}/train/b/0.png", f"{pictures}/val/b/2.png", SPLITS)]
    assert listed(tmp_path / "run/leaks.csv") == rows
    assert listed(tmp_path / "run/skipped_images.csv") == []


@pytest.mark.usefixtures("declare")
def test_a_training_that_drops_says_what(pictures, tmp_path):
    copy(pictures, "train/b/0.png", "val/b/2.png")
    (line,) = trained(pictures, tmp_path, "--on-leak", "drop")
    assert "; 1 left out; all in leaks.csv" in line
    ((path, reason),) = listed(tmp_path / "run/skipped_images.csv")
    assert path == f"{pictures}/train/b/0.png"
    assert reason == f"{SPLITS}: the same bytes as {pictures}/val/b/2.png"
    assert json.loads((tmp_path / "run/result.json").read_text())["n_train"] == 7


@pytest.mark.usefixtures("declare")
def test_a_training_without_copies_says_nothing_and_takes_an_old_list_away(pictures, tmp_path):
    content = (pictures / "val/b/2.png").read_bytes()
    copy(pictures, "train/b/0.png", "val/b/2.png")
    trained(pictures, tmp_path)
    (pictures / "val/b/2.png").write_bytes(content)
    assert trained(pictures, tmp_path, "--overwrite") == []
    assert not (tmp_path / "run/leaks.csv").exists()


def test_the_recipe_says_what_to_do():
    assert make_recipe({}, {}).data.on_leak == "warn"
    assert make_recipe({}, {"on_leak": "drop"}).data.on_leak == "drop"


def test_digests_that_begin_alike_are_no_copies():
    digests = np.zeros((4, 16), np.uint8)
    digests[:, 12] = [1, 2, 1, 3]
    labels = np.zeros(4, np.int64)
    files = ["0", "1", "2", "3"]
    leaks = find_leaks((files[:2], files[2:]), (labels[:2], labels[2:]), (digests[:2], digests[2:]))
    assert [tuple(row) for row in leaks.rows()] == [("0", "2", SPLITS)]
    assert leaks.drops.tolist() == [[0, 2]]
