"""Data sets and recipes that `xfer data check` reports on, or refuses."""

from bad_input.shared import check, class_folders, table

ROWS, row = table()


@row("found: class folders that differ", "class folders differ", code=1)
def _(here):
    (class_folders() / "val/wasps").mkdir()
    return check()


@row("found: one picture a class", "too few pictures to split off", code=1)
def _(here):
    class_folders("with", counts=(1, 1)).joinpath("train").rename("set")
    return check()


@row("checked: nothing there", "does not exist")
def _(here):
    return check("nowhere", "--output", "out")


@row("checked: nothing but bad pictures", "no usable picture")
def _(here):
    for path in (class_folders() / "train").rglob("*.png"):
        path.write_bytes(b"")
    return check("set", "--output", "out")


@row("checked: an unknown key", "Did you mean 'augment'")
def _(here):
    class_folders()
    return check("set", "--set", "augmnt.size=3")
