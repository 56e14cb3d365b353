"""Parity of a network for any number of labels: its steps have its loss, the same on both frameworks."""

import dataclasses

import numpy as np

from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights
from xfer.pixels.augment import default_eval
from xfer.porting import parity
from xfer.porting.parity import noise
from xfer.porting.probe import measure
from xfer.porting.task import Task
from xfer.results.checkpoint import Checkpoint
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend


def test_frameworks_agree_on_the_loss_of_labels():
    task = Task("convnet", noise(8, 32, seed=0), classes=3, steps=2, batch_size=4, loss="sigmoid")
    ours, theirs = (measure(*require(name), task) for name in ("torch", "mindspore"))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)
    softmax = measure(*require("torch"), dataclasses.replace(task, loss="softmax"))
    assert abs(softmax.losses[0] - ours.losses[0]) > 0.01


def save(path, thresholds):
    """A checkpoint of the tiny network; gives its path."""
    spec = ModelSpec("tiny", 3, (16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    weights = init_weights(with_graph(spec, NumpyBackend()).network.graph.weights, 0)
    Checkpoint(weights, spec, ("a", "b", "c"), default_eval(16), {}, thresholds=thresholds).save(path)
    return path


def test_weights_of_such_a_network_ask_for_its_loss(monkeypatch, tmp_path):
    asked = []

    def here(backend, device, task, other=None):
        asked.append(task.loss)
        return dataclasses.replace(measure(NumpyBackend(), "cpu", task, other), backend=backend)

    monkeypatch.setattr(parity, "measure_in_own_process", here)
    usual = {"size": 16, "batch_size": 4, "steps": 1, "backends": ("numpy", "other")}
    plain, labelled = (save(tmp_path / f"{len(cuts or ())}.safetensors", cuts) for cuts in (None, (0.4, 0.5, 0.6)))
    parity.parity("tiny", plain, **usual)
    parity.parity("tiny", labelled, **usual)
    parity.parity("tiny", labelled, classes=4, **usual)
    assert [asked[0], asked[2], asked[-1]] == ["softmax", "sigmoid", "softmax"]
