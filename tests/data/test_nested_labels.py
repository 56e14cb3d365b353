"""Folders as labels: those on the way to a picture, and of copies of it all of theirs; or a line that says why not."""

import numpy as np
import pytest
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.errors import DataError
from xfer.inspection.check import check_data
from xfer.recipe.load import make_recipe

PICTURES = ("outdoor/beach/1.png", "outdoor/beach/2.png", "outdoor/forest/3.png", "outdoor/4.png", "5.png",
            "indoor/people/6.png", "outdoor/people/7.png", "indoor/8.png")  # fmt: skip


def write(root, names=PICTURES):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def opened(root, **options):
    usual = {"task": "multilabel", "workers": 1, "cache": root.parent / "cache", "val_fraction": None}
    return open_dataset(str(root), **usual | options)


def of(split, classes):
    return {
        str(file).rsplit("/", 1)[1]: {classes[i] for i in np.flatnonzero(row)}
        for file, row in zip(split.files, split.labels, strict=True)
    }


LABELS = {
    "1.png": {"outdoor", "beach"},
    "2.png": {"outdoor", "beach"},
    "3.png": {"outdoor", "forest"},
    "4.png": {"outdoor"},
    "5.png": set(),
    "6.png": {"indoor", "people"},
    "7.png": {"outdoor", "people"},
    "8.png": {"indoor"},
}


def test_every_folder_on_the_way_is_a_label(tmp_path):
    data = opened(write(tmp_path / "set"))
    assert data.classes == ("beach", "forest", "indoor", "outdoor", "people")
    assert of(data.train, data.classes) == LABELS
    assert not data.skipped


def test_a_picture_in_several_folders_has_all_of_their_labels(tmp_path):
    root = write(tmp_path / "set")
    (root / "people" / "many").mkdir(parents=True)
    (root / "people" / "many" / "copy.png").write_bytes((root / "outdoor/beach/1.png").read_bytes())
    (root / "people" / "again.png").symlink_to(root / "indoor" / "8.png")
    data = opened(root)
    wanted = LABELS | {"1.png": {"outdoor", "beach", "people", "many"}, "8.png": {"indoor", "people"}}
    assert of(data.train, data.classes) == wanted
    assert sorted(file.path.rsplit("/", 1)[1] for file in data.skipped) == ["again.png", "copy.png"]
    assert all("a copy of" in file.reason for file in data.skipped)
    assert not len(data.leaks.pairs)
    check = check_data(str(root), make_recipe({}, {"data.task": "multilabel", "data.val_fraction": 0.2}))
    assert len(check.train.labels) + len(check.val.labels) == len(check.sizes) == 8


def test_splits_lie_on_top_and_one_folder_around_says_nothing(tmp_path):
    write(tmp_path / "set" / "photos" / "train")
    write(tmp_path / "set" / "photos" / "val", [f"beach/{i}.png" for i in range(3)])
    data = opened(tmp_path / "set")
    assert data.classes == ("beach", "forest", "indoor", "outdoor", "people")
    assert of(data.train, data.classes) == LABELS
    assert set(map(frozenset, of(data.val, data.classes).values())) == {frozenset({"beach"})}


def test_folds_and_splits_are_made_as_of_a_table(tmp_path):
    own = [f"a/{i}.png" for i in range(8)] + [f"a/b/{i}.png" for i in range(8, 16)]
    root = write(tmp_path / "set", [*own, *(f"c/{i}.png" for i in range(4))])
    data = opened(root, val_fraction=0.25)
    assert data.val.labels.sum(axis=0).tolist() == [4, 2, 1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/train/1.png", "b/train/2.png"], "train: is called after a split, and lies where folders are labels"),
        (["a;b/1.png", "c/2.png"], r"a label has no \\| or ; in its name. Cure: rename"),
        (["1.png"], "no folders in it, so that no picture has a label"),
        (["train/a/1.png", "train/b/2.png", "val/c/3.png"], "different classes"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, names, words):
    with pytest.raises(DataError, match=words.replace("\\\\", "\\")) as caught:
        opened(write(tmp_path / "set", names))
    assert "\n" not in str(caught.value)
    assert "Cure" in str(caught.value)
