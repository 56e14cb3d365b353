"""Folders below a folder: each once, whatever links lead where, and no deeper than a limit."""

import os
import pickle
from glob import glob
from pathlib import Path

import numpy as np
import pytest

from xfer.data import files as files_module
from xfer.data.files import Files, chained
from xfer.data.find import find_images
from xfer.data.layout import walk_files
from xfer.data.scan import scan
from xfer.errors import DataError
from xfer.system import memory


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def link(name, to):
    Path(name).symlink_to(to, target_is_directory=True)


@pytest.mark.usefixtures("here")
def test_links_that_lead_to_each_other_are_followed_once():
    files("set/ants/1.png", "set/bees/2.png")
    link("set/ants/bees", "../bees")
    link("set/bees/ants", "../ants")
    assert list(walk_files("set/ants")) == ["1.png", "bees/2.png"]
    split, _ = scan(Path("set"), ("ants", "bees"), [".png"])
    names = [os.path.relpath(name, "set") for name in split.files]
    assert names == ["ants/1.png", "ants/bees/2.png", "bees/2.png", "bees/ants/1.png"]
    assert split.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.usefixtures("here")
def test_of_a_folder_and_a_link_to_it_the_folder_is_entered():
    files("set/a/1.png", "set/z/y/x/2.png", "other/3.png")
    link("set/near", "z/y/x")
    link("set/first", "../other")
    link("set/second", "../other")
    assert list(walk_files("set")) == ["a/1.png", "first/3.png", "z/y/x/2.png"]


@pytest.mark.usefixtures("here")
def test_a_link_to_a_folder_above_is_not_followed():
    files("set/ants/1.png", "set/bees/2.png")
    link("set/ants/up", "..")
    link("set/ants/self", "self")
    assert list(walk_files("set/ants")) == ["1.png", "self"]


@pytest.mark.usefixtures("here")
def test_as_many_folders_as_the_limit_are_entered_and_one_more_is_refused(monkeypatch):
    files("set/1/2/3/x.png")
    monkeypatch.setenv("XFER_LIMIT_DEPTH", "3")
    assert list(walk_files("set")) == ["1/2/3/x.png"]
    Path("set/1/2/3/4").mkdir()
    with pytest.raises(DataError, match=r"set/1/2/3/4: is more than 3 folders deep\. Cure: XFER_LIMIT_DEPTH"):
        list(walk_files("set"))


PATTERNS = [
    *("set/**/*.png", "set/**", "**/*.png", "**/b/*.png", "set/*/**/[12].png", "set/**/b/**/*.png", "none/**/*.png"),
    *("set/**/b", "*/a/*.png", "[[]x[]]/**/*.png"),
]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_glob_finds(pattern, absolute, here):
    files("set/1.png", "set/a/2.png", "set/a/b/3.png", "set/a/b/.hidden.png", "set/.git/4.png", "set/b/5.txt")
    files("[x]/6.png", "set/b/c/b/7.png", "8.png", "a**b/9.png")
    pattern = str(here / pattern) if absolute else pattern
    found = [name for name in glob(pattern, recursive=True) if os.path.isfile(name) and name.endswith(".png")]
    inside = [name for name in glob(pattern, recursive=True) if os.path.isdir(name)]
    wanted = {*found, *(os.path.join(name, image) for name in inside for image in walk_files(name) if "png" in image)}
    if not wanted:
        with pytest.raises(DataError, match="a pattern that matches some"):
            find_images([pattern])
        return
    images = find_images([pattern])
    assert {os.path.normpath(name) for name in images} == {os.path.normpath(name) for name in wanted}
    assert images[: len(set(found))] == sorted(set(found))


@pytest.mark.usefixtures("here")
def test_a_pattern_over_links_in_a_circle_ends():
    files("a/1.png", "b/2.png")
    for name, other in ("ab", "ba"):
        link(f"{name}/x", f"../{other}")
        link(f"{name}/y", f"../{other}")
    images = sorted(map(os.path.realpath, find_images(["**/*.png"])))
    assert images == [os.path.realpath(name) for name in ("a/1.png", "b/2.png")]


def test_names_that_do_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    assert list(Files.below("/r", ["x" * 9] * 100)) == ["/r/" + "x" * 9] * 100
    with pytest.raises(
        DataError, match=r"101 names, the longest of 10 bytes: needs about 1 KiB of memory, this machine has"
    ):
        Files.below("/r", ["x" * 10] * 101)


def test_a_long_name_makes_no_other_longer(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000)
    names = ["x" * 250, *(str(i) for i in range(1000))]
    files = Files.below("/r", names)
    assert list(files) == [files[i] for i in range(1001)] == [f"/r/{name}" for name in names]


def test_a_selection_has_the_names_of_what_it_was_taken_from_and_no_copy_of_them():
    files = Files.below("/r", ["a", "", "bc", "d\udcff"])
    taken = files[np.array([3, 0])][1:]
    assert (list(taken), taken.buffer is files.buffer) == (["/r/a"], True)
    assert list(pickle.loads(pickle.dumps(taken))) == ["/r/a"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
def test_names_are_told_part_by_part(monkeypatch, count):
    monkeypatch.setattr(files_module, "AT_ONCE", count)
    names = [f"{'x' * (i % 3)}{i}" for i in range(4)]
    assert list(Files.below("/r", names)) == [f"/r/{name}" for name in names]


@pytest.mark.parametrize(
    ("parts", "root"),
    [
        ([Files.below("/r", ["a", "b"])[:1], Files.below("/r", ["c"])], "/r"),
        ([Files.below("/r/train", ["a", "b"]), Files.below("/r/val", ["c"])], "/r"),
        ([Files.below("/train", ["a"]), Files.below("/val", ["a"])], "/"),
        ([Files.below("/r", ["a"]), ["c"]], None),
        ([], None),
    ],
)
def test_files_one_part_after_the_other(parts, root):
    whole = chained(parts)
    assert list(whole) == [whole[i] for i in range(len(whole))] == [file for part in parts for file in part]
    assert getattr(whole, "root", None) == root


def test_parts_of_one_list_share_its_names():
    files = Files.below("/r", ["a", "b", "c"])
    whole = chained([files[2:], files[:2]])
    assert (list(whole), whole.buffer is files.buffer) == (["/r/c", "/r/a", "/r/b"], True)
