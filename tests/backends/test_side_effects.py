"""A program that imports xfer and trains with it keeps the process as it was; the command line tunes its own."""

import json
import subprocess
import sys

import pytest

from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

PROGRAM = """
import atexit, ctypes, gc, json, os, signal, sys, warnings
import matplotlib.backends.backend_agg, matplotlib.figure, numpy, PIL.Image, pydantic, scipy.stats
{imports}

tuned, load_library = [], ctypes.CDLL

class Libc:
    def __getattr__(self, name):
        return lambda *arguments: tuned.append(name)

def now():
    return {{
        "collection": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "filters": [list(map(str, entry)) for entry in warnings.filters],
        "functions at exit": atexit._ncallbacks(),
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "streams": [sys.stdout.errors, sys.stdout.encoding],
        "malloc": list(tuned),
    }}

before = now()
ctypes.CDLL = lambda name, *more, **options: Libc() if name is None else load_library(name, *more, **options)
import xfer
from xfer.testing.numpy_backend import NumpyBackend
recipe = {{"data": sys.argv[1], "arch": {arch!r}, "weights": "random", "epochs": 2, "size": 32}}
run = xfer.train(None, {backend}, device="cpu", output=sys.argv[2], **recipe)
run.predict(sys.argv[1], backend={backend})
after = now()
print(json.dumps({{key: [before[key], after[key]] for key in before if before[key] != after[key]}}))
"""


def changed(tmp_path, imports, backend, arch):
    data = write_class_folders(tmp_path / "data", counts=(6, 3))
    program = PROGRAM.format(imports=imports, backend=backend, arch=arch)
    words = [sys.executable, "-c", program, str(data), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_training_in_plain_numpy_leaves_the_process_as_it_was(tmp_path):
    assert changed(tmp_path, "", "NumpyBackend()", "tiny") == {}


@pytest.mark.parametrize(
    ("backend", "imports"),
    [("torch", "import torch, torchvision"), ("mindspore", "import xfer_mindspore")],  # it sets what MindSpore reads
)
def test_training_with_a_framework_leaves_the_process_as_it_was(tmp_path, backend, imports):
    require(backend)
    assert changed(tmp_path, imports, repr(backend), "convnet") == {}


def test_the_command_tunes_its_own_process():
    """In a process of its own, since it does that for good."""
    require("torch")
    code = """
import gc, sys, warnings
from xfer.system import own_process
usual, filters = gc.get_threshold(), len(warnings.filters)
own_process.begin()
assert gc.get_threshold() != usual
assert len(warnings.filters) == filters + 2
from xfer.backends import load_backend, settle
settle(load_backend("torch"), "cpu")
assert gc.get_threshold() == usual
assert gc.get_freeze_count() > 100_000
print("tuned")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "tuned\n", done.stderr
