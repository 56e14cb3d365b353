"""What tests of resuming share: runs on the NumPy backend that stop where they are told to, and in processes."""

import signal
import subprocess
import sys
import time

import pytest

import xfer
from xfer.recipe.load import as_recipe
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend

CLI = """
import sys, time
from importlib.metadata import EntryPoint
import xfer.backends
entry = EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", xfer.backends.GROUP)
xfer.backends.declared = lambda: {"numpy": entry}
pause = float(sys.argv.pop(1))
from xfer.testing import numpy_backend
step = numpy_backend.NumpyTrainStep.__call__
def slow(self, batch, lrs):
    time.sleep(pause)
    return step(self, batch, lrs)
numpy_backend.NumpyTrainStep.__call__ = slow
import xfer.training.gallery
xfer.training.gallery.draw = lambda *args: None
from xfer.cli.main import main
main()
"""


def recipe_of(data, **overrides):
    usual = {
        "data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 4, "batch_size": 3, "views": 2,
        "train_from": "layer1", "model.dropout": 0.3, "optimizer.lr": 0.03,
    }  # fmt: skip
    return as_recipe(None, usual | overrides)


def train(recipe, path, **options):
    return xfer.train(recipe, NumpyBackend(), output=path, checkpoint_every=1e-9, **options)


def stop_now():
    raise Interrupted(signal.SIGINT, between=True)


def stopped_in(path, recipe):
    def stop_late(what, done, total):
        if what == "epoch 3" and done >= 6:
            stop_now()

    with pytest.raises(Interrupted):
        train(recipe, path, progress=stop_late)
    return path


def command(data, path, *more, pause=0.02):
    flags = ["--arch", "tiny", "--weights", "random", "--size", "32", "--lr", "0.05", "--epochs", "12"]
    words = ["train", "--data", data, "--output", path, "--backend", "numpy", "--batch-size", "3", *flags, *more]
    return [sys.executable, "-c", CLI, str(pause), *map(str, words)]


def started(path, epochs, words):
    """A process that has written down so many epochs."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = path / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and len(lines.read_text().splitlines()) >= epochs):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    return process


def again(path, *more, code=0, pause=0.0):
    words = [sys.executable, "-c", CLI, str(pause), "train", "--resume", str(path), *map(str, more)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return done
