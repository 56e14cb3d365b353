"""What is given to `xfer predict` and where its result goes."""

from pathlib import Path

from bad_input.shared import picture, table

ROWS, row = table()


@row("predicting without pictures", "Missing argument")
def _(here):
    return ["predict", "RUN"]


@row("a pattern that matches nothing", "a pattern that matches some")
def _(here):
    return ["predict", "RUN", "*.webp", "-o", "out/p.csv"]


@row("a folder without pictures", "a folder with pictures")
def _(here):
    Path("none").mkdir()
    Path("none/notes.txt").write_text("x")
    return ["predict", "RUN", "none", "-o", "out/p.csv"]


@row("predictions into no known format", ".csv or .json")
def _(here):
    Path("x.png").write_bytes(picture())
    return ["predict", "RUN", "x.png", "-o", "out/p.txt"]
