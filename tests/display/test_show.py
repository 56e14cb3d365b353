"""What `xfer.train` shows of a run: nothing, lines in a log, or one output of a notebook's cell."""

import sys
import time
import warnings
from types import ModuleType, SimpleNamespace

import pytest

import xfer
from xfer.display import notebook, show, warned
from xfer.plots.files import PictureWarning
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("show") / "pictures")


def train(data, output, **options):
    small = {"arch": "tiny", "size": 8, "weights": "random", "batch_size": 4, "epochs": 3}
    return xfer.train(None, NumpyBackend(), output=output, data=str(data), **small, **options)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_short_run_is_not_heard_of_where_nobody_watches(data, tmp_path, capfd):
    train(data, tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_a_log_gets_the_last_epoch_or_the_progress_every_ten_seconds(clock, capsys):
    with show.shown() as display:
        for epoch in (1, 2, 3):
            for step in range(1, 8):
                clock[0] += 1
                display.progress(f"epoch {epoch}", step, 7)
            display.say(f"epoch {epoch} ended")
        for step in range(1, 21):
            clock[0] += 1
            display.progress("drawing", step, 40)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["epoch 1 ended", "epoch 2 ended", "epoch 3 ended", "drawing: 19 of 40, 0:00:21 left"]


def test_a_log_shows_names_as_text_on_one_line(clock, capsys):
    with show.shown() as display:
        clock[0] += 10
        display.progress("reading a\n\x1b[2J\u202e", 1, 3)
    assert capsys.readouterr().err == "reading a\\n\\x1b[2J\\u202e: 1 of 3\n"


def refuse(text):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, SimpleNamespace(write=refuse)])
def test_where_nothing_can_be_written_work_goes_on(clock, capsys, monkeypatch, stream):
    with show.shown() as display:
        monkeypatch.setattr(sys, "stderr", stream)  # closed, or on a disk that is full
        clock[0] += 10
        display.progress("reading", 1, 3)
    assert capsys.readouterr().out == "", "nor into the results"


def test_a_warning_is_one_line_with_its_source_where_it_is_a_librarys(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # to be restored
    warned.show_in_lines()
    warnings.showwarning(UserWarning("of\n a \x1b[31mfile"), UserWarning, "/lib/torch/x.py", 7)
    warnings.showwarning(PictureWarning("a.png: not drawn"), PictureWarning, "/xfer/x.py", 7)
    assert capsys.readouterr().err.splitlines() == [
        r"warning: of a \x1b[31mfile (UserWarning, /lib/torch/x.py:7)",
        "warning: a.png: not drawn",
    ]


@pytest.fixture
def cell(monkeypatch):
    """Makes this process look like a notebook's; what the cell's output was, at each drawing, is in the list."""
    drawings = []

    def display(shown, display_id):
        def update(shown):
            drawings.append((repr(shown), shown._repr_html_()))

        update(shown)
        return SimpleNamespace(update=update)

    fake = ModuleType("IPython.display")
    fake.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr(show, "Console", lambda stderr: SimpleNamespace(is_jupyter=True))
    return drawings


def test_a_notebook_gets_one_output_that_ends_with_the_epochs_alone(cell, data, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(notebook, "DRAWN_EVERY", 0.0)
    train(data, tmp_path / "run")
    texts = [text for text, _ in cell]
    assert [line[:9] for line in texts[-1].splitlines()] == ["epoch   1", "epoch   2", "epoch   3"]
    assert any("━" in text.splitlines()[-1] for text in texts)
    assert any(text.startswith("epoch   1") and "━" in text.splitlines()[-1] for text in texts), "epochs above the bar"
    assert capfd.readouterr() == ("", "")


def test_what_a_notebook_shows_is_text_and_no_markup(cell):
    with show.shown() as display:
        display.progress("<b>$a$", 1, 3)
        display.say("<script>\x1b\n")
    text, html = cell[-1]
    assert text == "<script>\\x1b\\n"
    assert "&lt;script&gt;" in html
    assert "mathjax_ignore" in html
    assert "&lt;b&gt;$a$ ━" in cell[0][1]


def test_an_output_is_drawn_now_and_then(cell, clock):
    with show.shown() as display:
        for step in range(1, 101):
            clock[0] += 0.01
            display.progress("reading", step, 100)
    assert 5 <= len(cell) <= 7
    assert cell[-1][0] == "", "a finished bar leaves nothing behind"


def test_a_notebook_shows_nothing_where_nothing_was_done(cell):
    with show.shown():
        pass
    assert cell == []


@pytest.mark.parametrize("progress", [False, lambda what, done, total: None])
def test_nothing_is_shown_to_those_who_want_nothing_or_look_themselves(cell, data, tmp_path, progress, monkeypatch):
    train(data, tmp_path / "run", progress=progress)
    assert cell == []
