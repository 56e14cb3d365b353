"""`xfer data check`: what a report counts, what it calls wrong, and what it writes."""

import csv
import json
import shutil
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xfer.cli.main import main
from xfer.data.dataset import open_dataset
from xfer.errors import DataError
from xfer.inspection.check import check_data
from xfer.inspection.figure import figure_data_check
from xfer.inspection.findings import find, verdict
from xfer.plots.style import settings
from xfer.recipe.load import make_recipe
from xfer.recipe.meaning import open_data
from xfer.testing.pictures import write_class_folders

SMALL = {"augment.size": 32, "data.workers": 1}


@pytest.fixture
def pictures(tmp_path):
    return write_class_folders(tmp_path / "set", counts=(8, 5))


def checked(root, **options):
    return check_data(str(root), make_recipe({}, SMALL | options))


def findings(root, **options):
    return [(f.level, f.text) for f in find(checked(root, **options))]


def command(*words, code=0):
    result = CliRunner().invoke(main, ["data", "check", *map(str, words), "--set", "augment.size=32", "-q"])
    assert result.exit_code == code, result.output + str(result.exception)
    return result


def test_nothing_is_found_where_nothing_is_wrong(pictures):
    check = checked(pictures)
    assert find(check) == []
    assert check.counts.tolist() == [[8, 5], [8, 5]]
    assert check.sizes.tolist() == [[40, 48]] * 26
    assert "ready to train" in verdict([])
    assert command(pictures).stdout.splitlines()[-1] == f"verdict  {verdict([])}"


@pytest.mark.parametrize("split", [True, False])
def test_the_pictures_are_those_of_training(pictures, split):
    root = pictures if split else pictures / "train"
    check, data = checked(root, seed=3), open_dataset(str(root), seed=3)
    for ours, theirs in ((check.train, data.train), (check.val, data.val)):
        assert list(ours.files) == list(theirs.files)
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert (ours.digests == theirs.digests).all()


def test_the_split_is_that_of_its_own_seed_or_else_of_the_seed(pictures):
    root = pictures / "train"

    def val(**keys):
        recipe = make_recipe({}, {"data": str(root), "augment.size": 32, **keys})
        opened = list(open_data(recipe).val.files)
        assert list(check_data(str(root), recipe).val.files) == opened
        return opened

    of_seeds = [list(open_dataset(str(root), seed=seed).val.files) for seed in (0, 3)]
    assert of_seeds[0] != of_seeds[1]
    assert val(seed=3) == val(seed=3, **{"data.split_seed": "seed"}) == of_seeds[1]
    assert val(seed=3, **{"data.split_seed": 0}) == of_seeds[0]
    assert val(**{"data.split_seed": 3}) == of_seeds[1]


def bad_picture(root):
    (root / "train/ants/0.png").write_bytes(b"no picture")


def leak(root):
    shutil.copy(root / "train/ants/1.png", root / "val/ants/1.png")


def contradiction(root):
    shutil.copy(root / "train/ants/1.png", root / "train/bees/1.png")


def only_in_train(root):
    (root / "train/wasps").mkdir()
    shutil.copy(root / "train/ants/1.png", root / "train/wasps/1.png")
    (root / "train/ants/1.png").unlink()


def only_in_val(root):
    (root / "val/wasps").mkdir()


def not_in_val(root):
    shutil.rmtree(root / "val/ants")


def hollow(root):
    for split in ("train", "val"):
        (root / split / "wasps").mkdir()


def repeated(root):
    shutil.copy(root / "train/ants/1.png", root / "train/ants/2.png")


def tiny(root):
    for i in range(2, 8):
        (root / f"train/ants/{i}.png").unlink()
    for i in range(3):
        (root / f"val/ants/{i}.png").unlink()


def single(root):
    tiny(root)
    for file in [root / "train/ants/1.png", *(root / "val/ants").iterdir()]:
        file.unlink()


def lopsided(root):
    for i in range(1, 8):
        (root / f"train/ants/{i}.png").unlink()
        Image.new("RGB", (40, 40), (i, 0, 0)).save(root / f"train/bees/more{i}.png")


def twins(root):
    for split in ("train", "val"):
        (root / split / "Ants").mkdir()
        for i in range(5):
            Image.new("RGB", (40, 40), (i, len(split), 0)).save(root / f"{split}/Ants/{i}.png")


def thin(root):
    Image.new("RGB", (300, 40)).save(root / "train/ants/0.png")


def huge(root):
    Image.new("L", (6000, 4001)).save(root / "train/ants/0.png")


def stray(root):
    (root / "train/ants/notes.txt").write_text("x")


def cut_short(root):
    path = root / "train/ants/0.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2])


FOUND = [
    (cut_short, "warning", "1 file without its last bytes, and used all the same, the first: "),
    (bad_picture, "problem", "1 unreadable picture (1 not an image), the first: "),
    (leak, "problem", "1 picture with a copy in train and val, the first: "),
    (contradiction, "problem", "1 picture with a copy in two classes, the first: "),
    (only_in_val, "problem", "class folders differ (only in val: wasps)"),
    (only_in_train, "warning", "1 class without validation pictures: wasps"),
    (not_in_val, "warning", "1 class without validation pictures: ants"),
    (hollow, "problem", "1 class without a usable picture in "),
    (repeated, "warning", "1 picture with a copy twice in one class, the first: "),
    (tiny, "warning", "1 class of fewer than 5 pictures: ants (4)"),
    (single, "warning", "1 class of one picture: ants"),
    (lopsided, "warning", "lopsided: 15 training pictures of bees, 1 of ants"),
    (twins, "warning", "class names that differ in upper case, blanks or Unicode form alone: 'Ants', 'ants'"),
    (thin, "warning", "1 picture more than 4:1 in shape, the first: "),
    (huge, "warning", "1 picture of more than 24,000,000 pixels, the first: "),
    (stray, "warning", "1 file left out: not an image suffix, the first: "),
]


@pytest.mark.parametrize(("make", "level", "text"), FOUND, ids=[row[0].__name__ for row in FOUND])
def test_what_is_wrong_is_found_and_decides_the_exit_code(make, level, text, pictures):
    make(pictures)
    assert next(f for f in findings(pictures) if f[1].startswith(text))[0] == level
    problems = any(f[0] == "problem" for f in findings(pictures))
    assert problems == (level == "problem")
    last = command(pictures, code=int(problems)).stdout.splitlines()[-1]
    assert last.startswith("verdict  not ready" if problems else "verdict  can be trained on")


def test_the_cure_for_pictures_of_another_suffix_is_the_recipe(pictures):
    stray(pictures)
    Image.new("RGB", (40, 40)).save(pictures / "train/ants/x.gif")
    (finding,) = find(checked(pictures))
    assert finding.text.startswith("2 files left out: not an image suffix")
    assert finding.cure == 'add ".gif" to data.suffixes of the recipe; move or remove others'
    suffixes = [".png", ".gif"]
    assert "1 GIF P" in command(pictures, "--set", f"data.suffixes={suffixes}").stdout


def test_the_split_kept_for_the_end_is_named_and_not_looked_at(pictures):
    shutil.copytree(pictures / "val", pictures / "test")
    check = checked(pictures)
    assert (check.test, len(check.train.labels), len(check.val.labels)) == (pictures / "test", 16, 10)
    assert find(check) == []
    assert any(line.startswith(f"kept      {pictures / 'test'}: not") for line in command(pictures).stdout.splitlines())
    assert json.loads(command(pictures, "--json").stdout)["test"] == str(pictures / "test")


@pytest.mark.parametrize(("split", "counts"), [("train", [[0, 5], [8, 5]]), ("val", [[8, 0], [8, 5]])])
def test_labels_are_right_where_a_split_lacks_a_class(pictures, split, counts):
    shutil.rmtree(pictures / split / "ants")
    check = checked(pictures)
    assert check.counts.tolist() == counts
    assert all(check.classes[label] in str(f) for f, label in zip(check.val.files, check.val.labels, strict=True))


def test_each_kind_of_copy_has_its_own_pair(pictures):
    for make in (leak, contradiction, repeated):
        make(pictures)
    texts = [text for _, text in findings(pictures)]
    for kind, copy in (
        ("two classes", "train/bees/1"),
        ("train and val", "val/ants/1"),
        ("one class", "train/ants/2"),
    ):
        assert any(kind in text and text.endswith(f"train/ants/1.png = {pictures}/{copy}.png") for text in texts)


def test_small_pictures_are_those_below_the_size_of_training(pictures):
    assert findings(pictures, **{"augment.size": 40}) == []
    assert findings(pictures, **{"augment.size": 41})[0][1].startswith("26 pictures smaller than the 41x41 of training")


@pytest.mark.parametrize("emptied", ["train", "val"])
def test_what_cannot_be_used_at_all(pictures, emptied):
    for file in (pictures / emptied).rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable picture in any class folder .*0\.png: empty file"):
        checked(pictures)


def test_the_report_is_written_and_is_what_was_said(pictures, tmp_path):
    leak(pictures)
    bad_picture(pictures)
    out = tmp_path / "report"
    report = json.loads(command(pictures, "--output", out, "--json", code=1).stdout)
    assert report == json.loads((out / "data_check.json").read_text())
    assert report["classes"] == [{"name": "ants", "train": 7, "val": 5}, {"name": "bees", "train": 8, "val": 5}]
    assert (report["n_train"], report["n_val"], report["kinds"]) == (15, 10, {"PNG RGB": 25})
    assert report["height"] == {"min": 40, "median": 40, "max": 40}
    assert report["left_out"]["reasons"] == {"not an image": 1}
    with (out / "leaks.csv").open() as file:
        assert list(csv.DictReader(file)) == report["copies"]["first"]
    with (out / "skipped_images.csv").open() as file:
        assert list(csv.DictReader(file)) == report["left_out"]["first"]
    with Image.open(out / "data_check.png") as image:
        assert image.width == 1320
    assert sorted(p.name for p in out.iterdir()) == [
        "data_check.json",
        "data_check.png",
        "leaks.csv",
        "skipped_images.csv",
    ]


def test_a_folder_that_cannot_be_written_is_one_line(pictures, tmp_path):
    (tmp_path / "file").write_text("x")
    result = command(pictures, "--output", tmp_path / "file" / "x", code=2)
    assert "cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_report_replaces_a_report_alone(pictures, tmp_path):
    for name in ("notes.txt", "skipped_images.csv", "data_check.json"):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        (out / name).write_text("mine")
        assert "Cure: another --output" in command(pictures, "-o", out, code=2).stderr
        assert [path.read_text() for path in out.iterdir()] == ["mine"]
    assert "is of no report" in command(pictures, "-o", tmp_path / "skipped_images", "--overwrite", code=2).stderr
    for flags in (["--overwrite"], []):  # into the folder with the notes, and then again, where a report is
        command(pictures, "-o", tmp_path / "notes", *flags)
        assert (tmp_path / "notes" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("count", [1, 2, 60, 300])
def test_names_in_the_picture_do_not_touch(count):
    """Neither each other nor the edge, whatever they are."""
    names = [f"{i:03d} {'蚂蚁' if i % 2 else '$x$ ' + 'long ' * 40}" for i in range(count)]
    counts = np.arange(2 * count).reshape(-1, 2) + 1
    samples = np.zeros((7, 8, 8, 3), np.uint8)
    with settings():
        figure = figure_data_check(names, counts, np.full((9, 2), 30, np.int32), (224, 224), samples, np.zeros(7, int))
        figure.canvas.draw()
        bars = figure.axes[0]
        boxes = [t.get_window_extent() for t in bars.get_yticklabels()]
    assert all(not a.overlaps(b) for a, b in pairwise(boxes))
    assert all(box.x0 >= 0 for box in boxes)
    assert len(boxes) == count or count > 100
    assert bars.get_xlabel() == ("pictures (one class in 3 is named)" if count == 300 else "pictures")
    assert sum(axes.get_visible() for axes in figure.axes) == 2 + 7


@pytest.mark.parametrize("most", [12, 1_000, 123_456])
def test_bars_tell_their_counts_inside_the_axes(most):
    counts = np.array([[most, most], [3, 0], [0, 7]])
    samples = np.zeros((7, 8, 8, 3), np.uint8)
    with settings():
        figure = figure_data_check(
            ["a", "b", "c"], counts, np.full((9, 2), 30, np.int32), (224, 224), samples, np.zeros(7, int)
        )
        figure.canvas.draw()
        bars = figure.axes[0]
        assert [text.get_text() for text in bars.texts] == [f"{most:,} + {most:,}", "3", "0 + 7"]
        assert all(text.get_window_extent().x1 <= bars.bbox.x1 for text in bars.texts)
        assert [text.get_position()[1] for text in bars.texts] == [0, 1, 2]


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    """Links to a few files: what counts is how much is kept for each."""
    root = write_class_folders(tmp_path / "set", counts=(2, 2), size=(9, 9))

    def kept(n):
        for split in ("train", "val"):
            for i in range(n):
                link = root / split / "ants" / f"more{i}.png"
                if not link.exists():
                    link.symlink_to(root / split / "ants" / "0.png")
        tracemalloc.start()
        check = checked(root)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return check, size

    kept(10)
    _, few = kept(100)
    check, many = kept(600)
    assert len(check.train.labels) == 604
    assert (many - few) / 1000 < 400, "bytes for each picture"
