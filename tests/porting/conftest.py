"""For the tests that port a person's module: a folder that it lies in, and what backends make of the file."""

import sys

import numpy as np
import pytest
from small_graphs import GRAPHS
from stand_in import CODE, Own, Tracing

import xfer.porting.port as porting
from xfer.archs import LOGITS
from xfer.porting import task as task_file
from xfer.porting.task import Measurement


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module, in which commands are started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "failing.py").write_text("import no_such_package")
    (tmp_path / "ending.py").write_text("raise SystemExit(5)")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def offered(monkeypatch):
    """What backends make of the file: `torch` its own logits with an error, which a test may change."""
    errors = {"torch": 0.0, "mindspore": 0.0}
    graph = GRAPHS["residual"]
    monkeypatch.setattr(porting, "load_backend", lambda name: Tracing(graph))

    def measured(backend, device, task):
        if isinstance(errors[backend], BaseException):
            raise errors[backend]
        own = Own(graph)
        own.import_weights(task.weights)
        scaled = (task.images.astype(np.float32) / np.float32(255) - np.float32(task.mean)) / np.float32(task.std)
        logits = own.predict(scaled.transpose(0, 3, 1, 2)) + np.float32(errors[backend])
        return Measurement(backend, "cpu", {}, {LOGITS: "head"}, {task_file.LOGITS_OF_ALL: {LOGITS: logits}})

    monkeypatch.setattr(porting, "measure_in_own_process", measured)
    return errors
