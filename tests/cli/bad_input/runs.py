"""Folders of runs: to resume, to write into, to evaluate and to compare."""

from pathlib import Path

from bad_input.shared import class_folders, table, train

ROWS, row = table()


@row("resuming nothing", "expected the folder of a run")
def _(here):
    return ["train", "--resume", "nowhere", "-q"]


@row("resuming a folder of something else", "expected the folder of a run")
def _(here):
    Path("other").mkdir()
    return ["train", "--resume", "other", "-q"]


@row("resuming with another recipe", "goes on with its own recipe")
def _(here):
    return ["train", "--resume", "RUN", "--lr", "3", "-q"]


@row("resuming and replacing", "leave out one of them")
def _(here):
    return ["train", "--resume", "RUN", "--overwrite", "-q"]


@row("a run folder that holds a run", "already holds a run")
def _(here):
    class_folders()
    words = train()
    words[words.index("out")] = "RUN"
    return words


@row("an output that is a file", "cannot be written")
def _(here):
    class_folders()
    Path("out").write_text("mine")
    return train()


@row("evaluating on other classes", "wasps")
def _(here):
    class_folders(classes=["bees", "wasps"])
    return ["evaluate", "RUN", "--data", "set", "-q"]


@row("comparing one run", "")
def _(here):
    return ["compare", "RUN"]
