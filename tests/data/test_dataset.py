"""Folders, archives and names become checked splits, or one line that says why not."""

import csv
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.data.files import Files
from xfer.data.find import find_images
from xfer.data.lists import Skipped, write_skipped_csv
from xfer.errors import ConfigError, DataError

GOOD = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))


def make(root, *names):
    """Files below a folder: pictures where the name ends like one, a few bytes otherwise; `x/` for an empty folder."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp")):
            GOOD.save(path)
        elif not name.endswith("/"):
            path.write_bytes(b"text")
    return root


def numbered(*folders, count=3):
    return [f"{folder}/{i}.png" for folder in folders for i in range(count)]


def opened(root, **options):
    return open_dataset(str(root), workers=2, cache=root.parent / "cache", **options)


def contents(split, root):
    return [(os.path.relpath(f, root), int(label)) for f, label in zip(split.files, split.labels, strict=True)]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "test", "VAL"])
def test_train_and_val_folders(tmp_path, val):
    root = make(tmp_path / "set", *numbered("train/b", "train/a", count=2), f"{val}/a/0.png", f"{val}/b/0.png")
    data = opened(root)
    assert (data.name, data.root, data.classes, data.skipped) == ("set", root, ("a", "b"), ())
    assert contents(data.train, root) == [
        ("train/a/0.png", 0),
        ("train/a/1.png", 0),
        ("train/b/0.png", 1),
        ("train/b/1.png", 1),
    ]
    assert contents(data.val, root) == [(f"{val}/a/0.png", 0), (f"{val}/b/0.png", 1)]
    assert data.train.labels.dtype == np.int64
    assert all(os.path.isabs(f) for f in data.train.files)


def test_val_comes_before_test(tmp_path):
    root = make(tmp_path / "set", *numbered("train/a", "train/b", "test/a", "test/b", "val/a", "val/b", count=1))
    assert contents(opened(root).val, root) == [("val/a/0.png", 0), ("val/b/0.png", 1)]


NAMES = ["Training Testing", "seg_train seg_test", "training_set test_set", "Train Validation", "trainset Test-Data"]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("again", [False, True])
def test_usual_names_of_splits(tmp_path, names, again):
    """`again`: seg_train/seg_train/class, as archives of some sites unpack."""
    train, val = (f"{name}/{name}" if again else name for name in names.split())
    root = make(tmp_path / "set", *numbered(f"{train}/a", f"{train}/b"), f"{val}/a/0.png", f"{val}/b/0.png")
    data = opened(root)
    assert (data.classes, len(data.train.files), data.test) == (("a", "b"), 6, None)
    assert contents(data.val, root) == [(f"{val}/a/0.png", 0), (f"{val}/b/0.png", 1)]


@pytest.mark.parametrize("classes", [("bus", "train"), ("test tube", "train"), ("train station", "validation stamp")])
def test_classes_whose_names_are_near_those_of_splits(tmp_path, classes):
    assert opened(make(tmp_path / "set", *numbered(*classes))).classes == classes


@pytest.mark.parametrize("inside", [("images",), ("day", "night")])
def test_folders_within_classes_are_classes_only_where_they_could_be(tmp_path, inside):
    folders = [f"a/{name}" for name in inside] + ["b/images"]
    assert opened(make(tmp_path / "set", *numbered(*folders))).classes == ("a", "b")


def test_a_third_split_is_neither_read_nor_counted(tmp_path):
    kept = ["test/a/0.png", "test/b/0.png", "test/b/bad.jpg", "test/c/0.png"]
    root = make(tmp_path / "set", *numbered("train/a", "train/b", "val/a", "val/b"), *kept)
    (root / "test/b/bad.jpg").write_bytes(b"")
    for side, file in enumerate(sorted(root.rglob("*.png")), start=8):  # no two alike
        GOOD.resize((side, 8)).save(file)
    (root / "test/a/0.png").write_bytes((root / "train/a/1.png").read_bytes())
    steps = []
    data = opened(root, progress=lambda *step: steps.append(step), on_leak="warn")
    assert (data.classes, len(data.train.files), len(data.val.files)) == (("a", "b"), 6, 6)
    assert (data.skipped, data.test, len(steps)) == ((), root / "test", 12)
    assert not list(data.leaks.rows())
    with pytest.raises(DataError, match="only in test: c"):
        opened(root, held_out="test")
    (root / "test/c/0.png").unlink()
    (root / "test/c").rmdir()
    last = opened(root, held_out="test")
    assert contents(last.val, root) == [("test/a/0.png", 0), ("test/b/0.png", 1)]
    assert last.skipped == (Skipped(str(root / "test/b/bad.jpg"), "empty file"),)
    assert [(leak.kind, leak.copy) for leak in last.leaks.rows()] == [("in train and val", str(root / "test/a/0.png"))]


def test_a_test_folder_without_val_is_what_training_validates_with(tmp_path):
    root = make(tmp_path / "set", *numbered("train/a", "train/b", "test/a", "test/b"))
    assert opened(root).test is None
    with pytest.raises(DataError, match=r"training validates with test, .*Cure: --split val"):
        opened(root, held_out="test")


@pytest.mark.parametrize("val", [("val/a/0.png", "val/c/0.png"), ("val/a/0.png", "val/b/", "val/c/0.png")])
def test_a_class_without_validation_pictures_is_named(tmp_path, val):
    root = make(tmp_path / "set", *numbered("train/a", "train/b", "train/c"), *val)
    data = opened(root)
    assert (data.classes, data.unvalidated) == (("a", "b", "c"), ("b",))
    assert contents(data.val, root) == [("val/a/0.png", 0), ("val/c/0.png", 2)]


def test_nothing_is_split_off_where_nobody_asks(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b"))
    data = opened(root, val_fraction=None)
    assert (len(data.train.files), len(data.val.files)) == (6, 0)


def test_a_part_is_split_off(tmp_path):
    root = make(tmp_path / "set", *numbered("a", count=10), *numbered("b", count=20), "c/0.png", "c/1.png", "d/0.png")
    data = opened(root, val_fraction=0.3, seed=5)
    assert np.bincount(data.train.labels).tolist() == [7, 14, 1, 1]
    assert np.bincount(data.val.labels, minlength=4).tolist() == [3, 6, 1, 0]
    assert list(data.val.files) == sorted(data.val.files)
    everything = sorted(contents(data.train, root) + contents(data.val, root))
    assert [name for name, _ in everything] == sorted(str(p.relative_to(root)) for p in root.rglob("*.png"))
    assert all(data.classes[label] == name.split("/")[0] for name, label in everything)


def test_the_seed_decides_the_split(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b", count=20))
    splits = [tuple(opened(root, seed=seed).val.files) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_an_unreadable_picture_does_not_move_the_others(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b", count=20))
    before = opened(root)
    make(root, "a/00.txt")
    (root / "a" / "00.jpg").write_bytes(b"broken")
    after = opened(root)
    assert list(after.train.files) == list(before.train.files)
    assert list(after.val.files) == list(before.val.files)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_a_fraction_that_is_none(tmp_path, fraction):
    with pytest.raises(ConfigError, match="val_fraction"):
        opened(tmp_path, val_fraction=fraction)


@pytest.mark.parametrize("around", ["one", "one/two"])
@pytest.mark.parametrize("parts", [("train/a", "train/b", "val/a", "val/b"), ("a", "b")])
def test_folders_around_are_entered(tmp_path, around, parts):
    root = make(tmp_path / "set", *numbered(*(f"{around}/{part}" for part in parts)), "README", "__MACOSX/._x")
    assert opened(root).classes == ("a", "b")


def test_suffixes_and_depth(tmp_path):
    names = ["a/z.png", "a/B.JPG", "a/sub/deep/1.png", "a/sub.d/1.jpeg", "a/a.bmp"]
    root = make(tmp_path / "set", *names, "b/0.png", "b/1.png", "a/notes.txt", "a/x.gif")
    data = opened(root, val_fraction=0.01)
    pictures = sorted(contents(data.train, root) + contents(data.val, root), key=lambda c: c[0])
    assert {name for name, label in pictures if label == 0} == set(names)
    assert data.skipped == tuple(
        Skipped(str(root / "a" / name), "not an image suffix") for name in ("notes.txt", "x.gif")
    )
    only_bmp = opened(
        make(tmp_path / "other", "a/0.bmp", "a/1.bmp", "a/2.png", "b/0.bmp", "b/1.bmp"), suffixes=(".BMP",)
    )
    assert len(only_bmp.train.files) + len(only_bmp.val.files) == 4
    assert [s.reason for s in only_bmp.skipped] == ["not an image suffix"]


def test_the_order_of_files(tmp_path):
    """Folder by folder, and by name in each."""
    names = ["train/a/B.png", "train/a/a.png", "train/a/sub/0.png", "train/a/sub-1/0.png", "train/b/0.png"]
    root = make(tmp_path / "set", *reversed(names), "val/a/0.png", "val/b/0.png")
    in_order = ["train/a/B.png", "train/a/a.png", "train/a/sub/0.png", "train/a/sub-1/0.png", "train/b/0.png"]
    assert [name for name, _ in contents(opened(root).train, root)] == in_order


def test_what_tools_leave_behind_is_no_data(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b"), ".ipynb_checkpoints/x.png", "__MACOSX/a/x.png", "a/.DS_Store")
    make(root, "a/.ipynb_checkpoints/x.png", "a/._0.png")
    data = opened(root)
    assert data.classes == ("a", "b")
    assert len(data.train.files) + len(data.val.files) == 6
    assert data.skipped == ()


def test_pictures_outside_any_class_are_named(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b"), "lost.png", "._lost.png", "README.md")
    assert opened(root).skipped == (Skipped(str(root / "lost.png"), "in no class folder"),)


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path / "elsewhere", "0.png", "1.png")
    root = make(tmp_path / "set", *numbered("a", "b", count=2), "a/sub/5.png")
    make(root, "c/0.png")
    (root / "c" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "sub" / "loop").symlink_to(root / "a")
    (root / "cb").mkdir()
    (root / "cb" / "all").symlink_to(root / "c")
    data = opened(root)
    assert data.classes == ("a", "b", "c", "cb")
    assert np.bincount(np.concatenate([data.train.labels, data.val.labels])).tolist() == [3, 2, 3, 3]


def test_unreadable_pictures_are_left_out_and_named(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b", count=4))
    (root / "a" / "1.png").write_bytes(b"")
    (root / "b" / "2.png").write_bytes((root / "b" / "2.png").read_bytes()[:60])
    steps = []
    data = opened(root, progress=lambda *step: steps.append(step))
    assert data.skipped == (
        Skipped(str(root / "a" / "1.png"), "empty file"),
        Skipped(str(root / "b" / "2.png"), "truncated"),
    )
    assert not {s.path for s in data.skipped} & {*data.train.files, *data.val.files}
    assert len(data.train.files) + len(data.val.files) == 6
    assert [step[1:] for step in steps] == [(i + 1, 8) for i in range(8)]


def test_or_are_an_error(tmp_path):
    root = make(tmp_path / "set", *numbered("a", "b", count=4))
    (root / "a" / "1.png").write_bytes(b"")
    (root / "b" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1\.png: cannot be used: empty file.*skip"):
        opened(root, on_bad_image="error")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class folders"),
        (["0.png", "1.png"], "no class folders"),
        (numbered("a"), "only one class, 'a'"),
        (numbered("train/a", "val/a"), "only one class, 'a'"),
        ([*numbered("a"), "b/"], "b: no picture in this class.*Cure"),
        (
            [*numbered("a"), "b/x.gif", "b/y.GIF", "b/notes.txt"],
            r'b: no picture in this class .3 files left out.*Cure: add "\.gif" to data\.suffixes of the recipe$',
        ),
        ([*numbered("a"), "b/notes.txt"], "b: no picture in this class .1 files left out.*not an image suffix"),
        ([*numbered("train/a", "train/b"), "val/a/", "val/b/notes.txt"], "val: no picture in any class .1 files left"),
        (numbered("train/a", "train/b", "val/a", "val/c"), "only in train: b; only in val: c.*Cure"),
        (numbered("train/a", "train/b", "val/a", "val/b", "val/c"), "different classes .only in val: c"),
        (
            numbered("x/a", "x/b", "y/a", "y/b"),
            "x, y all hold the same folders: a, b. .*splits: .*for classes: ",
        ),
        ([*numbered("train/a", "train/b"), "val/"], "val: no class folders"),
        (numbered("train/a", "train/b", "other/x"), "train has no val.*or test beside it.*Cure"),
        (["a/0.png", "b/0.png"], "too few pictures to split off"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_folders_that_cannot_be_meant(tmp_path, names, message):
    root = make(tmp_path / "set", *names)
    root.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message) as raised:
        opened(root)
    assert "\n" not in str(raised.value)
    assert str(root) in str(raised.value)


def test_a_class_called_train(tmp_path):
    assert opened(make(tmp_path / "set", *numbered("bus", "train"))).classes == ("bus", "train")


def test_a_class_emptied_by_bad_pictures(tmp_path):
    root = make(tmp_path / "set", *numbered("a", count=4), "b/0.png")
    (root / "b" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b: no picture in this class .*b/0\.png: empty file"):
        opened(root)


def test_the_first_class_without_a_usable_picture_ends_the_look(tmp_path):
    make(tmp_path / "set", *numbered("ants", "bees", "wasps", count=20))
    for path in (tmp_path / "set" / "bees").iterdir():
        path.write_bytes(b"no picture")
    seen = []
    with pytest.raises(DataError, match=r"bees: no picture in this class \(20 files left out"):
        opened(tmp_path / "set", progress=lambda what, done, total: seen.append(done))
    assert seen == list(range(1, 41)), "the wasps were not read"


def test_a_class_without_a_validation_picture_does_not_end_it(tmp_path):
    make(tmp_path / "set", *numbered("train/ants", "train/bees"), *numbered("val/ants", "val/bees", count=2))
    for path in (tmp_path / "set" / "val" / "ants").iterdir():
        path.write_bytes(b"")
    data = opened(tmp_path / "set")
    assert data.unvalidated == ("ants",)
    assert len(data.val.labels) == 2
    assert [skipped.reason for skipped in data.skipped] == ["empty file"] * 2


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"ants_beees.*ants_bees, .*Did you mean 'ants_bees'.*does not exist"):
        open_dataset("ants_beees", cache=tmp_path)


TABLES = [
    (["set/0.png", "set/labels.CSV"], "labels.CSV"),
    (["set/train/0.png", "set/labels.csv"], "labels.csv"),
    (["set/train/0.png", "set/test/1.png", "set/labels.csv"], "labels.csv"),
]


@pytest.mark.parametrize(("names", "table"), TABLES)
def test_a_table_of_labels_among_the_pictures_or_beside_them(tmp_path, names, table):
    make(tmp_path, *names)
    with pytest.raises(DataError, match=rf"Expected .*class.*\. Cure: --data .*/set/{table}, if the labels are in"):
        opened(tmp_path / "set")


def test_a_table_of_labels_in_place_of_data(tmp_path):
    make(tmp_path, "labels.tsv")
    with pytest.raises(DataError, match=r"labels\.tsv: no column for the path \(path, .* among text\. Cure: data"):
        opened(tmp_path / "labels.tsv")


def test_a_file_that_is_no_archive(tmp_path):
    make(tmp_path, "x.txt")
    with pytest.raises(DataError, match=r"x\.txt: is a file. Expected a folder, or an archive \(\.zip"):
        opened(tmp_path / "x.txt")


@pytest.mark.parametrize("around", ["", "wrapped/"])
def test_archives(tmp_path, around):
    root = make(tmp_path / "set", *numbered("train/a", "train/b", "val/a", "val/b"))
    archive = tmp_path / "My set.v2.zip"

    def pack():
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(root.rglob("*.png")):
                file.write(path, around + str(path.relative_to(root)))

    pack()
    first = open_dataset(str(archive), cache=tmp_path / "cache")
    assert (first.name, first.classes, len(first.train.files), len(first.val.files)) == ("My set", ("a", "b"), 6, 6)
    assert open_dataset(str(archive), cache=tmp_path / "cache").root == first.root
    make(root, "train/a/new.png")
    pack()
    assert len(open_dataset(str(archive), cache=tmp_path / "cache").train.files) == 7


def test_files_are_a_sequence_of_paths():
    names = ["a/0.png", "b/读.png", "b/\udcff.png"]
    files = Files.below("/pictures", names)
    paths = [f"/pictures/{name}" for name in names]
    assert (list(files), len(files), files[-1], files[np.int64(1)]) == (paths, 3, paths[-1], paths[1])
    assert list(files[np.array([2, 0])]) == [paths[2], paths[0]]
    assert list(files[1:]) == paths[1:]
    assert "/pictures/a/0.png" in files
    with pytest.raises(IndexError):
        files[3]


def test_a_hundred_thousand_paths_take_little_memory():
    tracemalloc.start()
    files = Files.below("/some/long/root" * 5, (f"class_{i % 1000:04d}/IMG_2024_{i:08d}.jpg" for i in range(100_000)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert files[99_999].endswith("class_0999/IMG_2024_00099999.jpg")
    assert kept < 5e6
    assert peak < 20e6


def test_find_images(tmp_path, monkeypatch):
    make(
        tmp_path,
        "d/b.png",
        "d/sub/a.JPG",
        "d/notes.txt",
        "d/.hidden.png",
        "e/1.png",
        "e/2.png",
        "odd[1].png",
        "raw.dat",
    )
    monkeypatch.chdir(tmp_path)
    assert find_images(["d"]) == ["d/b.png", "d/sub/a.JPG"]
    assert find_images(["e/*.png", "d/b.png", "e"]) == ["e/1.png", "e/2.png", "d/b.png"]
    assert find_images(["raw.dat", "odd[1].png"]) == ["raw.dat", "odd[1].png"]
    assert find_images(["d/*"]) == ["d/b.png", "d/sub/a.JPG"]
    assert find_images(["**/*.png"]) == ["d/b.png", "e/1.png", "e/2.png", "odd[1].png"]
    for nothing in ("gone.png", "*.webp", "d/*.txt"):
        with pytest.raises(DataError, match="expected a file, a folder with pictures or a pattern"):
            find_images(["d", nothing])


def test_the_csv_of_what_was_left_out(tmp_path):
    skipped = (Skipped('/a/"quoted", 读.png', "cannot be decoded (a, b)"), Skipped("/a/\udcff.png", "empty file"))
    write_skipped_csv(tmp_path / "s.csv", skipped)
    with open(tmp_path / "s.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *map(list, skipped)]
    write_skipped_csv(tmp_path / "none.csv", ())
    assert (tmp_path / "none.csv").read_text().split() == ["path,reason"]


@pytest.mark.skipif("XFER_TEST_DATA" not in os.environ, reason="XFER_TEST_DATA is not set")
def test_ants_and_bees():
    folder = os.environ["XFER_TEST_DATA"]
    root = folder if os.path.isdir(os.path.join(folder, "train")) else os.path.join(folder, "hymenoptera_data")
    data = open_dataset(root)
    assert (data.classes, len(data.train.files), len(data.val.files)) == (("ants", "bees"), 244, 153)
    assert [(os.path.basename(s.path), s.reason) for s in data.skipped] == [
        ("imageNotFound.gif", "not an image suffix")
    ]
