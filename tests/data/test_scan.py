"""Every file of a split is inspected once, in order, and nothing goes on when nobody asks any more."""

import threading

import numpy as np
import pytest
from PIL import Image

from xfer.data import scan as scan_module
from xfer.data.scan import inspect_all, scan
from xfer.pixels.inspected import inspect_image

N = 150


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for i in range(N):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (8 + i % 7, 8 + i % 5)).save(root / "ab"[i % 2] / f"{i:03d}.png")
    (root / "a" / "100.png").write_bytes(b"")
    return scan(root, ("a", "b"), (".png",))[0]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_is_told_as_it_comes_and_counted_before(split, workers):
    steps, inspected = [], []
    for picture in inspect_all(split, workers, lambda *step: steps.append(step)):
        inspected.append(picture)
        assert steps == [("checking pictures", i + 1, N) for i in range(len(inspected))]
    assert inspected == [inspect_image(file) for file in split.files]
    assert [split.files[i][-9:] for i in range(N) if inspected[i].reason] == ["a/100.png"]
    assert np.bincount(split.labels).tolist() == [75, 75]


def test_leaving_early_stops_the_threads(split):
    def interrupt(what, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(inspect_all(split, 2, interrupt))
    for _ in inspect_all(split, 2, lambda *step: None):
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("xfer-read")]


def test_many_files_are_counted_while_they_are_listed(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.png").touch()
        (tmp_path / name / "notes.txt").touch()
    monkeypatch.setattr(scan_module, "MANY", 4)
    steps = []
    split, skipped = scan(tmp_path, "abc", (".png",), lambda *step: steps.append(step))
    assert (len(split.files), len(skipped)) == (9, 3)
    assert steps == [("listing pictures", 4, None), ("listing pictures", 8, None)]
