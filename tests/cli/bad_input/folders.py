"""Folders that hold no classes, no pictures or too few of them, or whose train and val do not match."""

from pathlib import Path

from bad_input.shared import class_folders, picture, table, train

ROWS, row = table()


@row("an empty folder", "no class folders")
def _(here):
    Path("set").mkdir()
    return train()


@row("pictures, but no classes", "no class folders")
def _(here):
    Path("set").mkdir()
    Path("set/0.png").write_bytes(picture())
    return train()


@row("a class without pictures", "no picture in this class")
def _(here):
    root = class_folders()
    for split in ("train", "val"):
        (root / split / "wasps").mkdir()
    return train()


@row("an empty class in train alone", "wasps: no picture in this class")
def _(here):
    (class_folders() / "train/wasps").mkdir()
    return train()


@row("a val folder with empty classes alone", "no picture in any class. Cure")
def _(here):
    for file in class_folders().glob("val/*/*.png"):
        file.unlink()
    return train()


@row("folders that may be splits or classes", "set1, set2 are splits of the classes ants, bees, or")
def _(here):
    root = class_folders("set")
    (root / "train").rename(root / "set1")
    (root / "val").rename(root / "set2")
    return train()


@row("the split kept for the end where there is none", "no third split lies beside them. Cure: --split val")
def _(here):
    class_folders()
    return ["evaluate", "RUN", "--data", "set", "--split", "test", "-q"]


@row("a class in val alone", "only in val: wasps")
def _(here):
    (class_folders() / "val/wasps").mkdir()
    return train()


@row("train without val", "Cure: add one")
def _(here):
    class_folders().joinpath("val").rename("elsewhere")
    return train()


@row("hidden folders alone", "no class folders")
def _(here):
    root = class_folders()
    (root / "train/ants").rename(root / "train/.ants")
    (root / "train/bees").rename(root / "train/__MACOSX")
    return train()


@row("hidden files alone in a class", "no picture in this class")
def _(here):
    root = class_folders()
    for i in range(4):
        (root / f"train/ants/{i}.png").rename(root / f"train/ants/.{i}.png")
    return train()


@row("documents in place of pictures", "not an image suffix")
def _(here):
    for name in ("ants", "bees"):
        Path("set", name).mkdir(parents=True)
        Path("set", name, "report.pdf").write_bytes(b"%PDF-1.4")
    return train()


@row("one class", "only one class, 'ants'")
def _(here):
    class_folders(classes=["ants"])
    return train()


@row("one picture in all", "no picture in this class")
def _(here):
    for name in ("ants", "bees"):
        Path("set", name).mkdir(parents=True)
    Path("set/ants/0.png").write_bytes(picture())
    return train()


@row("one picture a class", "too few pictures to split off")
def _(here):
    class_folders("with", counts=(1, 1)).joinpath("train").rename("set")
    return train()


@row("a picture in place of a folder", "is a file. Expected a folder")
def _(here):
    Path("set").write_bytes(picture())
    return train()


@row("a folder that is not there", "does not exist")
def _(here):
    return train("nowhere")
