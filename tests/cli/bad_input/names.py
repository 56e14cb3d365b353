"""Names of data sets and classes that lead nowhere, or that no file or recipe can bear."""

import os
import sys

import pytest

from bad_input.shared import check, class_folders, table, train

ROWS, row = table()


@row("a name nearly right", "Did you mean 'ants_bees'")
def _(here):
    return train("ants_bee")


@row("a name with a line break", "does not exist")
def _(here):
    return train("no\nwhere")


@row("a name that is no text", "does not exist")
def _(here):
    return check(os.fsdecode(b"\xff\xfe"))


@row("data whose name is no text", "is not UTF-8, as a recipe has to be. Cure: rename it")
def _(here):
    try:
        class_folders().rename(here / os.fsdecode(b"\xff"))
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    return train(os.fsdecode(b"\xff"))


@row("a class whose name is no text", r"class folder '\udcff' is not UTF-8. Cure: rename it")
def _(here):
    root = class_folders()
    try:
        (root / "train/ants").rename(root / "train" / os.fsdecode(b"\xff"))
    except OSError as error:
        pytest.skip(f"no such name on this disk: {error}")
    return train()


# From 3.14 on, Python counts it among the paths that do not exist.
@row("a name too long for a file", "too long" if sys.version_info < (3, 14) else "does not exist")
def _(here):
    return train("x" * 300)
