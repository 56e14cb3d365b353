"""Folds of a data set: stratified parts that hold every picture once, the same for the same seed."""

import shutil

import numpy as np
import pytest

from xfer.data.dataset import open_dataset
from xfer.data.split import Fold, folds_of
from xfer.errors import ConfigError, DataError
from xfer.recipe.load import make_recipe
from xfer.recipe.meaning import open_data
from xfer.testing.pictures import write_class_folders


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("folds") / "set", ("a", "b", "c"), counts=(7, 2), size=(12, 12))


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_no_class_and_no_fold_varies_by_more_than_one(count):
    labels = np.repeat([0, 1, 2, 3], [13, 2, 7, 10])
    folds = folds_of(labels, count, seed=4)
    sizes = np.array([np.bincount(folds[labels == label], minlength=count + 1)[1:] for label in range(4)])
    assert (np.ptp(sizes, axis=1) <= 1).all()
    assert np.ptp(sizes.sum(axis=0)) <= 1
    assert sizes.sum() == len(labels)
    assert np.array_equal(folds_of(labels, count, seed=4), folds)
    assert not np.array_equal(folds_of(labels, count, seed=5), folds)


def opened(root, number, of=3, **options):
    return open_dataset(str(root), fold=Fold(number, of), workers=2, cache=root.parent / "cache", **options)


@pytest.mark.parametrize("splits", [True, False])
def test_every_picture_is_in_one_fold_and_val_is_not_looked_at(root, tmp_path, splits):
    source = root if splits else root / "train"
    if splits:  # a file that would be refused
        shutil.copytree(root, tmp_path / "set")
        source = tmp_path / "set"
        (source / "val" / "a" / "0.png").write_bytes(b"no picture")
    parts = [opened(source, number, on_bad_image="error") for number in (1, 2, 3)]
    folder = source / "train" if splits else source
    every = sorted(str(file) for file in folder.rglob("*.png"))
    assert sorted(str(file) for part in parts for file in part.val.files) == every
    for part in parts:
        assert sorted([*map(str, part.train.files), *map(str, part.val.files)]) == every
        for split, places in ((part.train, part.folded.train), (part.val, part.folded.val)):
            assert [str(part.folded.whole.files[place]) for place in places] == list(map(str, split.files))
            assert np.array_equal(part.folded.whole.labels[places], split.labels)
            assert np.array_equal(part.folded.whole.digests[places], split.digests)


def test_copies_that_are_dropped_leave_the_places_right(root, tmp_path):
    shutil.copytree(root / "train", tmp_path / "set")
    for i in range(4):
        shutil.copy(tmp_path / "set" / "a" / f"{i}.png", tmp_path / "set" / "a" / f"copy{i}.png")
    data = opened(tmp_path / "set", 2, on_leak="drop")
    assert len(data.skipped) > 0, "this test needs copies on both sides"
    assert len(data.train.labels) + len(data.val.labels) == 25 - len(data.skipped)
    for split, places in ((data.train, data.folded.train), (data.val, data.folded.val)):
        assert [str(data.folded.whole.files[place]) for place in places] == list(map(str, split.files))


def test_what_cannot_be_parted_is_refused_in_one_line(root, tmp_path):
    with pytest.raises(DataError, match=r"21 pictures, expected 22 or more for as many folds. Cure: fewer folds"):
        opened(root, 1, of=22)
    shutil.copytree(root / "train", tmp_path / "set")
    for i in range(1, 7):
        (tmp_path / "set" / "b" / f"{i}.png").unlink()
    with pytest.raises(DataError, match=r"/b: 1 picture, expected 2 or more for folds"):
        opened(tmp_path / "set", 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data.folds": 3}, "fold = None of folds = 3: expected both"),
        ({"data.fold": 1}, "fold = 1 of folds = None: expected both"),
        ({"data.folds": 3, "data.fold": 4}, "expected both, and 1 to folds"),
        ({"data.folds": 1, "data.fold": 1}, "data.folds = 1"),
        ({"data.folds": 101, "data.fold": 1}, "expected at most 100"),
    ],
)
def test_a_recipe_names_a_fold_of_some(keys, message):
    with pytest.raises(ConfigError, match=message):
        make_recipe({}, keys)


def test_a_fold_is_of_what_is_trained_on_alone(root):
    """Of other data every picture counts, and a test folder is what it is."""
    recipe = make_recipe({}, {"data.source": str(root), "data.folds": 3, "data.fold": 1})
    assert len(open_data(recipe).val.labels) == 7
    assert len(open_data(recipe, source=str(root / "train"), whole=True).train.labels) == 21
