"""Nothing that lies in the current folder runs, whatever it is called: not in a command, and in no child of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from installed import numpy_installed

import xfer.backends
from xfer.testing.fixtures import targets
from xfer.testing.pictures import write_class_folders

ROOT = Path(xfer.backends.__file__).parents[1]
FRAMEWORKS = sorted({target.backend for target in targets()} - {"numpy"})
OURS = ("xfer", "xfer_torch", "xfer_mindspore", "numpy", "torch", "torchvision", "mindspore", "click", "PIL", "scipy")
PYTHONS = ("sitecustomize", "usercustomize", "multiprocessing", "json", "struct", "socket", "selectors", "encodings")
SCRIPT = """
import multiprocessing, os, sys
from xfer import __main__ as command
codes = []
if __name__ == "__main__":
    if how := os.environ.get("TEST_START"):
        multiprocessing.set_start_method(how)
    command.leave = codes.append  # one command after another, each as it is run, but for its end
    words = sys.argv[1:] + ["then"]
    while words:
        sys.argv[1:] = words[:words.index("then")]
        del words[:words.index("then") + 1]
        command.run()
    print(*codes, file=sys.stderr)
"""
RECIPE = """
data.source = "pictures"
augment.size = 32
model.arch = "{arch}"
weights.source = "random"
train = {{ epochs = 1, batch_size = 6 }}
"""
MARK = "open({!r}, 'a').write(__name__ + '\\n')\n"


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The `xfer` command as pip installs it: a file in a folder of programs."""
    path = tmp_path_factory.mktemp("bin") / "xfer"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with modules and packages that write down that they have run; and the file they would write."""
    ran = tmp_path / "ran.txt"
    here = tmp_path / "here"
    here.mkdir()
    for name in (*OURS, *PYTHONS):
        (here / f"{name}.py").write_text(MARK.format(str(ran)))
    for name in ("xfer", "torch", "multiprocessing"):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text(MARK.format(str(ran)))
        (here / name / "__main__.py").write_text(MARK.format(str(ran)))
    write_class_folders(here / "pictures", counts=(6, 3))
    return here, ran


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages, in which one declares the NumPy backend."""
    return numpy_installed(tmp_path_factory.mktemp("site"))


def call(script, folder, *commands, **environment):
    """The exit codes of commands that run one after another in one process, each a list of words."""
    here, ran = folder
    paths = [str(ROOT), str(ROOT / "backends")]
    paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
    words = [str(word) for command in commands for word in ("then", *command)][1:]
    words = [sys.executable, script, *words]
    done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert not ran.exists(), ran.read_text()
    assert done.returncode == 0, done
    return done.stderr.splitlines()[-1].split()


def test_the_traps_would_spring(folder):
    here, ran = folder
    subprocess.run([sys.executable, "-m", "xfer"], cwd=here, check=False, capture_output=True)
    assert ran.exists()


FLAGS = ["--arch", "convnet", "--weights", "random", "--size", 32, "--epochs", 1, "--batch-size", 6, "--output", "run"]


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_no_command_runs_what_lies_in_the_folder(script, folder, backend):
    commands = [
        ("train", "pictures", "--backend", backend, *FLAGS, "--quiet"),
        ("predict", "run", "pictures/val", "--output", "p.csv", "--quiet"),
        ("convert", "run/best.safetensors", "m.ckpt"),
        ("compare", "run", "run"),
        ("cache", "prune"),
        ("data", "check", "pictures"),
    ]
    *codes, check = call(script, folder, *commands)
    assert codes == ["0"] * 5
    assert check in ("0", "1")  # pictures of noise are much alike


@pytest.mark.parametrize("backend", ["numpy", *(pytest.param(name, marks=pytest.mark.long) for name in FRAMEWORKS)])
def test_no_process_that_a_command_starts_runs_what_lies_in_the_folder(script, site, folder, monkeypatch, backend):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    here, _ = folder
    arch = "tiny" if backend == "numpy" else "convnet"
    (here / "recipe.toml").write_text(RECIPE.format(arch=arch))
    (here / "study.toml").write_text('name = "s"\nseeds = 1\n[modes.a]\nrecipe = "recipe.toml"\n')
    study = ("study", "study.toml", "--backend", backend, "--output", "study", "--quiet")
    parity = ("parity", "--arch", arch, "--backends", f"{backend},{backend}", "--weights", "random", "--size", 32)
    parity += ("--classes", 2, "--steps", 1, "--batch-size", 4, "--quiet")
    assert call(script, folder, study, parity) == ["0", "0"]
    assert (here / f"study/runs/a-{backend}-0/result.json").exists()


@pytest.mark.long  # its children are those of `test_the_python_interface_starts_its_own_children_safely`
def test_doctor_runs_nothing_of_the_folder(script, folder):
    (code,) = call(script, folder, ["doctor"])
    assert code in ("0", "1")


READING = """
import multiprocessing, sys
import numpy as np
from xfer.backend import InputSpec
from xfer.backends import load_backend
from xfer.data.find import find_images
from xfer.pixels.augment import CenterCrop
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    files = find_images(["pictures/val"])
    spec = InputSpec(files, np.arange(len(files)), [CenterCrop(size=8)], [np.arange(len(files))], 0, 1)
    (batch,) = load_backend("torch").native_batches(spec)
    print(len(batch.inputs), multiprocessing.get_start_method(), file=sys.stderr)
"""
needs_torch = pytest.mark.skipif("torch" not in FRAMEWORKS, reason="torch's native reader starts processes")
STARTS = ("spawn", "forkserver")  # which start Python anew


@needs_torch
@pytest.mark.long  # as its two neighbours: torch starts these processes, and `own_process` tells all of them the same
def test_native_readers_workers_run_nothing_of_the_folder(folder):
    """From a script that lies elsewhere: nothing has made the process one of xfer's own."""
    (folder[1].parent / "elsewhere").mkdir()
    (folder[1].parent / "elsewhere" / "script.py").write_text(READING)
    assert call(folder[1].parent / "elsewhere" / "script.py", folder, [STARTS[0]]) == ["6", STARTS[0]]


@needs_torch
@pytest.mark.long
@pytest.mark.parametrize("how", STARTS)
def test_native_readers_workers_of_a_command_run_nothing_of_the_folder(script, folder, how):
    native = ["--set", "data.pipeline=native", "--set", "data.workers=2", "--views", "fresh"]
    words = ["train", "pictures", "--backend", "torch", *FLAGS, *native, "--quiet"]
    assert call(script, folder, words, TEST_START=how) == ["0"]
    assert json.loads((folder[0] / "run" / "result.json").read_text())["n_train"] == 12


def test_the_python_interface_starts_its_own_children_safely(folder, site, monkeypatch):
    """From a script that lies elsewhere."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    _, ran = folder
    lines = "import sys\nfrom xfer import doctor\ndoctor.declared = lambda: ['numpy']\n"
    lines += "print([record['works'] for record in doctor.survey()], file=sys.stderr)\n"
    (ran.parent / "elsewhere").mkdir()
    (ran.parent / "elsewhere" / "script.py").write_text(lines)
    assert call(ran.parent / "elsewhere" / "script.py", folder) == ["[True]"]
