"""The demo pictures: the same everywhere, all different, and with nothing but the object to tell the classes apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from xfer.data import demo

COUNT = len(demo.OBJECTS) * sum(demo.SPLITS.values())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder, and every call of progress."""
    root, calls = tmp_path_factory.mktemp("demo"), []
    demo.write_demo(root, lambda *call: calls.append(call))
    return root, calls


@pytest.fixture(scope="module")
def splits(written):
    """Split -> (pictures (N, H, W, 3) uint8, labels (N,))."""
    return {split: read(written[0] / split) for split in demo.SPLITS}


def read(folder: Path):
    classes = sorted(p.name for p in folder.iterdir())
    files = [(f, i) for i, name in enumerate(classes) for f in sorted((folder / name).iterdir())]
    return np.stack([np.asarray(Image.open(f)) for f, _ in files]), np.array([i for _, i in files])


def test_layout_is_split_class_number(written):
    names = sorted(str(p.relative_to(written[0])) for p in written[0].rglob("*") if p.is_file())
    assert names == sorted(
        f"{s}/{c}/{i:03d}.png" for s, n in demo.SPLITS.items() for c in demo.OBJECTS for i in range(n)
    )


def test_pictures_are_rgb_of_one_size(written):
    forms = {(im.format, im.mode, im.size) for im in map(Image.open, written[0].rglob("*.png"))}
    assert forms == {("PNG", "RGB", (demo.SIZE, demo.SIZE))}


def test_progress_counts_every_picture(written):
    assert [done for _, done, _ in written[1]] == list(range(1, COUNT + 1))
    assert {total for _, _, total in written[1]} == {COUNT}


def test_a_picture_depends_on_its_name_alone(written, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SPLITS", dict.fromkeys(reversed(demo.SPLITS), 2))
    monkeypatch.setattr(demo, "OBJECTS", dict(reversed(demo.OBJECTS.items())))
    np.random.seed(1)  # the global state of others is none of its business
    demo.write_demo(tmp_path)
    again = list(tmp_path.rglob("*.png"))
    assert len(again) == 4 * len(demo.OBJECTS)
    assert all(p.read_bytes() == (written[0] / p.relative_to(tmp_path)).read_bytes() for p in again)


def test_no_two_pictures_are_alike(splits):
    small = np.concatenate([thumbnails(pictures) for pictures, _ in splits.values()])
    assert len(small) == COUNT
    nearest = min(np.abs(a - b).mean() for a, b in combinations(small, 2))
    assert nearest > 5  # grey levels out of 255, mean over the thumbnail


def test_only_the_object_differs_between_classes():
    for seed in range(4):
        scenes = [np.asarray(demo.draw_scene(kind, default_rng(seed))) for kind in demo.OBJECTS]
        for a, b in combinations(scenes, 2):
            differing = (a != b).any(axis=2).mean()
            assert 0.05 < differing < 0.7


def thumbnails(pictures):
    n, side = len(pictures), demo.SIZE // 16
    return pictures.reshape(n, 16, side, 16, side, 3).mean(axis=(2, 4))


FEATURES = {
    "brightness": lambda x: x.mean(axis=(1, 2, 3))[:, None],
    "colour": lambda x: x.mean(axis=(1, 2)),
    "colour of the middle": lambda x: x[:, 40:120, 40:120].mean(axis=(1, 2)),
    "colour and contrast": lambda x: np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1),
    "thumbnail": lambda x: thumbnails(x).reshape(len(x), -1),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_colour_and_brightness_do_not_tell_the_classes_apart(splits, feature):
    (train, labels), (val, truth) = ((FEATURES[feature](x.astype(np.float32)), y) for x, y in splits.values())
    means = np.stack([train[labels == c].mean(axis=0) for c in range(len(demo.OBJECTS))])
    guess = ((val[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    chance = 1 / len(means)
    assert (guess == truth).mean() < chance + 3.5 * np.sqrt(chance * (1 - chance) / len(truth))
