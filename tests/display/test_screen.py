"""What a terminal shows while xfer works: whole lines, and a bar that never stands beside them or wraps."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
from contextlib import suppress

import click
import pytest
from rich.cells import cell_len
from rich.table import Table

import xfer
from xfer.cli import console
from xfer.cli.main import main
from xfer.display import screen
from xfer.testing.pictures import write_class_folders

ERASE = "\x1b[K"
RECIPE = {"arch": "tiny", "size": 8, "weights": "random", "batch_size": 4, "epochs": 3}
pytestmark = pytest.mark.usefixtures("declare")


@pytest.fixture
def terminal(monkeypatch):
    """Runs `work` on a terminal of so many columns, which `streams` of this process then are, and gives what it got."""
    monkeypatch.setattr(screen, "DRAWN_EVERY", 0.0)
    monkeypatch.setenv("TERM", "xterm")

    def run(columns, work, encoding="utf-8", streams=("stdout", "stderr")):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        received = bytearray()
        reader = threading.Thread(target=_receive, args=(ours, received))
        reader.start()
        with os.fdopen(theirs, "w", encoding=encoding) as stream, monkeypatch.context() as patch:
            for name in streams:
                patch.setattr(sys, name, stream)
            work()
        reader.join()
        os.close(ours)
        return received.decode(encoding)

    return run


def _receive(terminal, received):
    with suppress(OSError):  # the other end is closed
        while part := os.read(terminal, 4096):
            received.extend(part)


def drawn(sent):
    """Every bar that was drawn: what follows an erasure up to the next one, or the end of the line."""
    parts = sent.split("\r" + ERASE)[1:]
    return [part for part in parts if part and "\n" not in part]


def rows(sent):
    """What is left on the screen, by line: what was erased is not."""
    return [line.rpartition("\r" + ERASE)[2] for line in sent.replace("\r\n", "\n").split("\n")]


@pytest.mark.parametrize("columns", [60, 120])
@pytest.mark.parametrize("asked_from", ["command", "python"])
def test_training_leaves_whole_lines_and_no_bar(terminal, tmp_path, asked_from, columns):
    data = write_class_folders(tmp_path / "pictures")
    words = ["train", str(data), "-b", "numpy", "-o", str(tmp_path / "r")]
    words += [word for key, value in RECIPE.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    works = {
        "command": lambda: main(words, standalone_mode=False),
        "python": lambda: xfer.train(None, "numpy", output=tmp_path / "r", data=str(data), **RECIPE),
    }
    sent = terminal(columns, works[asked_from])
    bars = drawn(sent)
    assert {bar.split()[0] for bar in bars} >= {"checking", "epoch"}
    assert max(map(cell_len, bars)) < columns
    left = rows(sent)
    epochs = [line[:9] for line in left if "train loss" in line]
    assert epochs == ["epoch   1", "epoch   2", "epoch   3"]
    assert not [line for line in left if any(bar in line for bar in bars)]


@pytest.mark.parametrize("columns", [12, 60, 120])
def test_a_bar_is_cut_to_the_screen_with_wide_characters_too(terminal, columns):
    def work():
        with console.progress_bars(quiet=False) as progress:
            for done in range(1, 5):
                progress("蚂蚁与蜜蜂的照片" * 8, done, 500)

    bars = drawn(terminal(columns, work))
    assert len(bars) == 4
    assert columns - 2 <= max(map(cell_len, bars)) <= columns - 1
    assert all("/500" in bar for bar in bars) or columns == 12


def test_other_text_comes_in_place_of_the_bar(terminal):
    table = Table.grid()
    table.add_row("second")

    def work():
        with console.progress_bars(quiet=False) as progress:
            progress("reading", 1, 3)
            click.echo("first")
            progress("reading", 2, 3)
            console.table(table)
            print("half of ", end="", file=sys.stderr)
            progress("reading", 2, 3)
            print("a line", file=sys.stderr)
            progress("reading", 2, None)

    assert rows(terminal(40, work)) == ["first", "second", "half of a line", ""]


def test_what_goes_into_a_file_does_so_while_the_bar_is_drawn(terminal, monkeypatch, tmp_path):
    with (tmp_path / "out.txt").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)

        def work():
            with console.progress_bars(quiet=False) as progress:
                progress("reading", 1, 3)
                click.echo("a result")

        sent = terminal(40, work, streams=["stderr"])
    assert (tmp_path / "out.txt").read_text() == "a result\n"
    assert "a result" not in sent
    assert "1/3" in sent


def test_a_terminal_without_line_drawing_gets_plain_characters(terminal):
    def work():
        with console.progress_bars(quiet=False) as progress:
            progress("蚂\x1b[2J", 1, 2)

    (bar,) = drawn(terminal(60, work, encoding="ascii"))
    assert bar == r"\u8682\x1b[2J " + "#" * 20 + "-" * 20 + " 1/2"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_all_views(clock):
    work = screen.Work()
    for done, seconds in ((10, 100), (20, 105), (110, 150)):
        clock[0] = seconds
        work.tell(done, 400)
    assert work.figures() == "110/400 2/s 0:02:25"
    work.tell(10, 150)  # another piece of work, of which nothing is known yet
    assert work.figures() == "10/150"


def test_a_pipe_gets_a_line_every_ten_seconds(clock, capsys):
    with console.progress_bars(quiet=False) as progress:
        for second in range(1, 26):
            clock[0] += 1
            progress("reading", 4 * second, 200)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["reading: 40 of 200, 0:00:40 left", "reading: 80 of 200, 0:00:30 left"]


def test_quiet_shows_nothing(terminal):
    def work():
        with console.progress_bars(quiet=True) as progress:
            progress("reading", 1, 2)

    assert terminal(60, work) == ""
