"""`make cuts-all` on small networks, and that it tells a backend that drifts, or computes otherwise with features."""

import numpy as np
import pytest

from tests import cuts_all
from tests.cuts_all import verdicts
from xfer.testing.broken.mechanics import predictions, steps
from xfer.testing.broken.steps import MovesAFrozenOne
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend


def found(monkeypatch, backend, arch="tiny", size=16):
    monkeypatch.setattr(cuts_all, "load_backend", lambda name: backend)
    return list(verdicts(backend.name, arch, size))


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_the_same_bits_at_every_cut(name, monkeypatch):
    backend, _ = require(name)
    rows = found(monkeypatch, backend, "convnet", 20)
    assert [row.cut for row in rows] == ["stem", "layer1", "layer2", "fc1", "head"]
    assert all(row.passes for row in rows)


def test_what_drifts_is_named(monkeypatch):
    rows = found(monkeypatch, steps(MovesAFrozenOne)(NumpyBackend()))
    assert [row.drifted for row in rows] == [(), ("stem.bias",), ("layer1.weight",), ("layer1.weight",)]


def test_features_that_are_not_what_a_step_computes_are_seen(monkeypatch):
    wrong = predictions(lambda predict, inputs, start, stop: predict(inputs) + np.float32(1e-3))
    rows = found(monkeypatch, wrong(NumpyBackend()))
    assert not any(row.apart for row in rows if row.cut == "stem")
    assert all(row.apart for row in rows if row.cut != "stem")


@pytest.mark.long
def test_where_memory_is_kept_each_cut_has_a_process_to_itself():
    require("mindspore")
    rows = list(cuts_all.each_alone("mindspore", "convnet", 20, ["layer2"]))
    assert rows == [cuts_all.Verdict("layer2", (), ())]
