"""Links that lead nowhere or in a circle, and a folder that may not be read."""

import os
from pathlib import Path

import pytest

from bad_input.shared import class_folders, table, train

ROWS, row = table()


@row("a link that leads to itself", "set")
def _(here):
    Path("set").symlink_to("set")
    return train()


@row("a class that links to nothing", "no class folders")
def _(here):
    Path("set").mkdir()
    for name in ("ants", "bees"):
        Path("set", name).symlink_to("nowhere")
    return train()


@row("a class that is a circle of links", "no picture in this class")
def _(here):
    root = class_folders()
    for split in ("train", "val"):
        (root / split / "wasps").mkdir()
        (root / split / "wasps/again").symlink_to("..")
        (root / split / "wasps/itself").symlink_to("itself")
    return train()


@row("pictures that link to nothing", "no such file or directory")
def _(here):
    root = class_folders()
    for i in range(4):
        (root / f"train/ants/{i}.png").unlink()
        (root / f"train/ants/{i}.png").symlink_to("nowhere.png")
    return train()


@row("a folder that may not be read", "cannot be read")
def _(here):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (class_folders() / "train/ants").chmod(0)
    return train()
