"""Named sets: unpacked and checked once, then taken from the cache. Nothing here reaches the network."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
from PIL import Image

from xfer.data import demo
from xfer.data import named as datasets
from xfer.data.dataset import open_dataset
from xfer.data.named import ARCHIVES, NAMED, fetch
from xfer.errors import DataError
from xfer.system import download


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_args, **_options):
        raise URLError(OSError("no route to host"))

    monkeypatch.setattr(download, "urlopen", refuse)


def place(cache: Path, name: str, counts: dict[str, int]) -> Path:
    """The archive of a named set, where a user would put it, with that many pictures in each class folder."""
    named = ARCHIVES[name]
    archive = cache / "downloads" / named.url.rsplit("/", 1)[1]
    archive.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(cache / "x.png")
    with zipfile.ZipFile(archive, "w") as file:
        for folder, count in counts.items():
            for i in range(count):
                file.write(cache / "x.png", f"{named.folder}/{folder}/{i}.png")
        file.writestr(f"{named.folder}/train/notes.txt", "not counted")
    return archive


ANTS_BEES = {"train/ants": 123, "train/bees": 121, "val/ants": 70, "val/bees": 83}


def test_every_name_says_what_it_is():
    assert set(NAMED) == {"demo", *ARCHIVES}
    assert all(NAMED.values())
    assert all(named.url.startswith(("https://", "http://")) for named in ARCHIVES.values())
    assert all(named.url.startswith("https://") or named.sha1 for named in ARCHIVES.values())


def test_an_archive_that_was_put_there(tmp_path):
    archive = place(tmp_path, "ants_bees", ANTS_BEES)
    data = open_dataset("ants_bees", cache=tmp_path, workers=2)
    assert (data.name, data.classes, len(data.train.files), len(data.val.files)) == (
        "ants_bees",
        ("ants", "bees"),
        244,
        153,
    )
    archive.unlink()
    assert fetch("ants_bees", tmp_path) == data.root


def test_downloads_are_shown(tmp_path, monkeypatch):
    def serve(url: str, target: Path, **_options: object) -> Iterator[tuple[int, int | None]]:
        yield 0, 7
        place(tmp_path, "ants_bees", ANTS_BEES)
        yield 7, 7

    monkeypatch.setattr(datasets, "download", serve)
    steps = []
    fetch("ants_bees", tmp_path, lambda *step: steps.append(step))
    assert steps[:2] == [("downloading hymenoptera_data.zip", 0, 7), ("downloading hymenoptera_data.zip", 7, 7)]
    assert steps[2][0] == "unpacking hymenoptera_data.zip"


@pytest.mark.parametrize("counts", [ANTS_BEES | {"val/bees": 82}, {"train/ants": 244}, {}])
def test_an_archive_with_other_contents_is_refused(tmp_path, counts):
    archive = place(tmp_path, "ants_bees", counts)
    with pytest.raises(DataError, match=r"hymenoptera_data\.zip holds \d+ images in .*expected (244|153).*delete it"):
        fetch("ants_bees", tmp_path)
    assert archive.exists()
    assert list((tmp_path / "datasets").iterdir()) == []


def test_where_no_counts_are_known_some_pictures_will_do(tmp_path):
    place(tmp_path, "dogs_wolves", {"train/dogs": 2, "train/wolves": 2, "val/dogs": 1, "val/wolves": 1})
    assert open_dataset("dogs_wolves", cache=tmp_path, workers=1).classes == ("dogs", "wolves")


def test_but_some_there_must_be(tmp_path):
    place(tmp_path, "dogs_wolves", {"train/dogs": 2, "train/wolves": 2})
    with pytest.raises(DataError, match="0 images in data/Canidae/val, expected some"):
        fetch("dogs_wolves", tmp_path)


def test_a_hash_is_checked(tmp_path, monkeypatch):
    counts = {"train/a": 1, "test/a": 1}
    archive = place(tmp_path, "hotdog", counts)
    with pytest.raises(DataError, match="sha1"):
        fetch("hotdog", tmp_path)
    sha1 = hashlib.sha1(archive.read_bytes()).hexdigest()
    right = replace(ARCHIVES["hotdog"], sha1=sha1, counts={"train": 1, "test": 1})
    monkeypatch.setattr(datasets, "ARCHIVES", {"hotdog": right})
    assert (fetch("hotdog", tmp_path) / "test" / "a" / "0.png").exists()


@pytest.mark.parametrize("name", list(ARCHIVES))
def test_without_a_network(tmp_path, name):
    """The URL, where a copy of the file goes, and what would do instead; nothing is left behind."""
    with pytest.raises(DataError) as raised:
        fetch(name, tmp_path / "cache")
    message, named = str(raised.value), ARCHIVES[name]
    assert "\n" not in message
    for part in (name, named.url, str(tmp_path / "cache" / "downloads" / named.url.rsplit("/", 1)[1]), "--data DIR"):
        assert part in message
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_the_demo_is_drawn_once(tmp_path, monkeypatch):
    drawn = []

    def draw(root, progress):
        drawn.append(root)
        for split in ("train", "val"):
            for kind in ("x", "y"):
                (root / split / kind).mkdir(parents=True)
                Image.new("RGB", (4, 4)).save(root / split / kind / "0.png")

    monkeypatch.setattr(demo, "write_demo", draw)
    first = open_dataset("demo", cache=tmp_path, workers=1)
    assert open_dataset("demo", cache=tmp_path, workers=1).root == first.root
    assert len(drawn) == 1
    monkeypatch.setattr(demo, "DEMO_VERSION", demo.DEMO_VERSION + 1)
    assert open_dataset("demo", cache=tmp_path, workers=1).root != first.root


def test_a_demo_half_drawn_is_none(tmp_path, monkeypatch):
    def stop(root, progress):
        (root / "train").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "write_demo", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch("demo", tmp_path)
    assert list((tmp_path / "datasets").iterdir()) == []
