"""The same picture in both splits or in two classes, through training and through `xfer data check`."""

from bad_input.shared import check, class_folders, table, train

ROWS, row = table()


def copy_to(path):
    """A data set with a training picture of ants in a second place."""
    root = class_folders()
    (root / path).write_bytes((root / "train/ants/1.png").read_bytes())


@row("a copy in both splits", "in train and val")
def _(here):
    copy_to("val/ants/0.png")
    return train("set", "--on-leak", "error")


@row("a copy in two classes", "in two classes")
def _(here):
    copy_to("train/bees/0.png")
    return train("set", "--on-leak", "error")


@row("a class of copies alone", "same bytes as")
def _(here):
    root = class_folders(counts=(1, 3))
    (root / "val/ants/0.png").write_bytes((root / "train/ants/0.png").read_bytes())
    return train("set", "--on-leak", "drop")


@row("found: a copy in both splits", "in train and val", code=1)
def _(here):
    copy_to("val/ants/0.png")
    return check()


@row("found: a copy in two classes", "in two classes", code=1)
def _(here):
    copy_to("train/bees/0.png")
    return check()
