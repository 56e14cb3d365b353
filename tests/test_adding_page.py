"""docs/adding.md, and the logger of docs/tracking.md: their snippets are run, and do what is said of them."""

import re

import numpy as np
import pytest

import xfer
from tests.conftest import draw_nothing
from tests.documents import ROOT, blocks
from xfer.backends import load_backend
from xfer.porting import port
from xfer.porting.probe import measure
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
SNIPPETS = {
    heading: block.text
    for heading, part in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for block in blocks(part)
    if block.language == "python"
}


@pytest.fixture(scope="module", autouse=True)
def no_pictures_drawn():
    yield from draw_nothing()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    write_class_folders(tmp_path / "pictures", counts=(4, 2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executed(heading):
    names = {}
    exec(compile(SNIPPETS[heading], heading, "exec"), names)
    return names


def test_a_network(monkeypatch):
    for backend in ("torch", "mindspore"):
        require(backend)
    here = lambda backend, device, task: measure(load_backend(backend), "cpu", task)  # noqa: E731
    monkeypatch.setattr(port, "measure_in_own_process", here)
    names = executed("A network")
    assert names["ported"].passes
    assert names["ported"].arch.stage_names[-1] == "head"
    assert xfer.Run.load("runs/small").result["arch"] == "small.safetensors"


def test_a_backend():
    names = executed("A backend")
    assert names["backend"].built > 1
    assert xfer.Run.load("runs/tiny").result["backend"] == "counting"


def test_a_logger(here):
    require("torch")
    run = executed("A logger")["run"]
    best = max(epoch["val_accuracy"] for epoch in run.history)
    assert (here / "runs/logged/best.txt").read_text() == f"{best:.4f}\n"


def test_the_logger_of_the_page_on_tracking(here):
    require("torch")
    page = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    (snippet,) = [block.text for block in blocks(page) if block.language == "python"]
    names = {}
    exec(compile(snippet, "tracking.md", "exec"), names)
    run = xfer.train(data="pictures", arch="convnet", weights="random", size=32, train_from="stem", epochs=2,
                     output="runs/lines", loggers=[names["Lines"]], progress=False)  # fmt: skip
    lines = [f"{epoch['epoch']} {epoch['val_accuracy']}\n" for epoch in run.history]
    assert (here / "runs/lines/lines.txt").read_text() == "".join(lines)


def test_an_augmentation():
    names = executed("An augmentation")
    fade, share, faded = names["fade"], names["share"], np.asarray(names["faded"])
    assert 0 < share < 0.8
    assert faded.shape == (4, 6, 3)
    assert np.abs(faded - 128 * share).max() <= 1
    assert np.array_equal(np.asarray(fade.apply(names["picture"], share)), faded)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        type(fade)(most=2)


def test_each_of_the_four_is_there():
    assert list(SNIPPETS) == ["A network", "A backend", "A logger", "An augmentation"]
