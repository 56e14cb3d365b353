"""Tables of paths and labels that cannot be one: what they say of a row is the line, and no picture is looked at."""

import os
from pathlib import Path

from bad_input.shared import check, class_folders, table, train

ROWS, row = table()


def written(content, name="labels.csv"):
    class_folders()
    Path("set", name).write_bytes(content.encode() if isinstance(content, str) else content)
    return f"set/{name}"


@row("a table without labels", "no column for the label")
def _(here):
    return train(written("path\ntrain/ants/0.png\n"))


@row("a table with a NUL byte in a path", "is no name of a file")
def _(here):
    return train(written("path,label\na\0.png,ants\n"))


@row("a table of addresses of no known kind", "unknown protocol")
def _(here):
    return check(written("path,label\nnowhere://example.org/a.png,ants\n"))


@row("a table of names that are not there", "no picture in this class (1 files left out")
def _(here):
    return train(written("path,label\na.png,ants\nb.png,bees\n"))


@row("a table whose rows each have their own label", "train and val hold different classes")
def _(here):
    rows = "".join(f"{i}.png,{i},{'train' if i % 2 else 'val'}\n" for i in range(20_000))
    return train(written("path,label,split\n" + rows))


@row("a table with a weight below 0", "'-1' is no weight: expected a number of 0 to 1,000,000")
def _(here):
    return train(written("path,label,weight\ntrain/ants/0.png,ants,1\ntrain/bees/0.png,bees,-1\n"))


@row("a table of one row of a million cells", "cells, expected 2")
def _(here):
    return train(written("path,label\n" + "," * 1_000_000 + "\n"))


@row("a table of a million columns", "1,000,001 columns, expected at most 10,000")
def _(here):
    return train(written("," * 1_000_000 + "\n"))


@row("a line of JSON that nests deeply", "cannot be read (")
def _(here):
    return train(written("[" * 100_000, "labels.jsonl"))


@row("a line of JSON of a million keys", "columns, expected at most 10,000")
def _(here):
    return check(written("{" + ", ".join(f'"{i}": 1' for i in range(200_000)) + "}", "labels.jsonl"))


@row("a pipe in the place of a table", "a pipe, expected a regular file")
def _(here):

    Path("set").mkdir()
    os.mkfifo("set/labels.csv")
    return train("set/labels.csv")
