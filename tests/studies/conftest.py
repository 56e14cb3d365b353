"""A study of four runs on the NumPy backend, and that backend where other processes find it."""

import os

import pytest

import xfer.backends
from xfer.studies.study import study
from xfer.testing.pictures import write_class_folders

RECIPE = """
[data]
source = "{data}"
[augment]
size = 32
[model]
arch = "tiny"
[weights]
source = "random"
[train]
epochs = 2
batch_size = 4
views = 2
[optimizer]
lr = 0.05
"""
STUDY = """
name = "two"
backends = ["numpy"]
seeds = 2
[modes.head]
recipe = "recipe.toml"
[modes.all]
recipe = "recipe.toml"
set = { train.train_from = "stem", "train.epochs" = 4 }
"""
UNDRAWN = """
import xfer.training.record
from xfer.testing.numpy_backend import NumpyBackend

def note(p, path, best):
    (path / "plots").mkdir(exist_ok=True)
    (path / "plots" / "curves.png").write_bytes(b"")

xfer.training.record.draw = note
"""
DYING = '''
import os
from xfer.errors import DataError
from xfer.testing.numpy_backend import NumpyBackend

class Dying(NumpyBackend):
    """Takes its process along, or raises what no backend should."""

    def import_weights(self, model, weights):
        super().import_weights(model, weights)
        if os.environ.get("DYING") == "raise":
            raise RuntimeError("out of order")
        if os.environ.get("DYING") == "data":
            return
        os.write(2, b"some fault\\n")
        os._exit(7)

    def make_train_step(self, *arguments):
        raise DataError("data x.png: changed since it was checked")
'''


@pytest.fixture(scope="module")
def installed(declared_backends, tmp_path_factory):
    """The NumPy backend, and one that dies, as packages that other processes find too.

    Runs in those draw nothing, which would take most of their time, and note that they would have drawn.
    """
    site = tmp_path_factory.mktemp("site")
    (site / "dying_backend.py").write_text(DYING)
    (site / "undrawn_backend.py").write_text(UNDRAWN)
    assert set(declared_backends) == {"numpy"}
    entries = {"numpy": "undrawn_backend:NumpyBackend", "dying": "dying_backend:Dying"}
    about = site / "xfer_test_backends-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: xfer-test-backends\nVersion: 1\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (about / "entry_points.txt").write_text(f"[{xfer.backends.GROUP}]\n{lines}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        patch.syspath_prepend(str(site))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(installed, tmp_path_factory):
    """The folder of a study's file and its recipe."""
    folder = tmp_path_factory.mktemp("study")
    data = write_class_folders(folder / "pictures", counts=(8, 10))
    (folder / "recipe.toml").write_text(RECIPE.format(data=data))
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The study's output folder and its results."""
    output = tmp_path_factory.mktemp("finished") / "out"
    return output, study(folder / "study.toml", output=output)
