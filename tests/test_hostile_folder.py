"""Nothing that lies in the current folder runs, whatever it is called: not in a command, and in no child of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import xfer.backends
from xfer.testing.fixtures import targets
from xfer.testing.pictures import write_class_folders

ROOT = Path(xfer.backends.__file__).parents[1]
FRAMEWORKS = sorted({target.backend for target in targets()} - {"numpy"})
OURS = ("xfer", "xfer_torch", "xfer_mindspore", "numpy", "torch", "torchvision", "mindspore", "click", "PIL", "scipy")
PYTHONS = ("sitecustomize", "usercustomize", "multiprocessing", "json", "struct", "socket", "selectors", "encodings")
SCRIPT = """
import multiprocessing, os, sys
from xfer.__main__ import run
if __name__ == "__main__":
    if how := os.environ.get("TEST_START"):
        multiprocessing.set_start_method(how)
    run()
"""
MARK = "open({!r}, 'a').write(__name__ + '\\n')\n"


LONG = "XFER_TEST_LONG" in os.environ


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


def call(script, folder, *words, codes=(0,), **environment):
    here, ran = folder
    paths = [str(ROOT), str(ROOT / "backends")]
    paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
    words = [sys.executable, script, *map(str, words)]
    done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in codes, done
    assert not ran.exists(), ran.read_text()
    return done


def test_the_traps_would_spring(folder):
    here, ran = folder
    subprocess.run([sys.executable, "-m", "xfer"], cwd=here, check=False, capture_output=True)
    assert ran.exists()


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_no_command_runs_what_lies_in_the_folder(script, folder, backend):
    here, _ = folder
    flags = ["--arch", "convnet", "--weights", "random", "--size", 32, "--epochs", 1, "--batch-size", 6]
    call(script, folder, "train", "pictures", "--backend", backend, *flags, "--output", "run", "--quiet")
    (here / "study.toml").write_text('name = "s"\nseeds = 1\n[modes.a]\nrecipe = "run/config.toml"\n')
    call(script, folder, "study", "study.toml", "--backend", backend, "--quiet")
    call(script, folder, "predict", "run", "pictures/val", "--output", "p.csv", "--quiet")
    if backend != FRAMEWORKS[0]:
        return
    parity = ("parity", "--arch", "convnet", "--backends", f"{backend},{backend}", "--weights", "random")
    call(script, folder, *parity, "--size", 32, "--classes", 2, "--steps", 1, "--batch-size", 4, "--quiet")
    call(script, folder, "convert", "run/best.safetensors", "m.ckpt")
    call(script, folder, "compare", "run", "run")
    call(script, folder, "data", "check", "pictures", codes=(0, 1))
    call(script, folder, "cache", "prune")


def test_doctor_runs_nothing_of_the_folder(script, folder):
    call(script, folder, "doctor", codes=(0, 1))


@pytest.mark.skipif("torch" not in FRAMEWORKS, reason="torch's native reader starts processes")
@pytest.mark.parametrize("how", ["spawn", "forkserver"] if LONG else ["spawn"])  # which start Python anew
def test_native_readers_workers_run_nothing_of_the_folder(script, folder, how):
    flags = ["--arch", "convnet", "--weights", "random", "--size", 32, "--epochs", 1, "--batch-size", 6]
    native = ["--set", "data.pipeline=native", "--set", "data.workers=2", "--views", "fresh"]
    words = ["train", "pictures", "--backend", "torch", *flags, *native, "--output", "run", "--quiet"]
    call(script, folder, *words, TEST_START=how)
    assert json.loads((folder[0] / "run" / "result.json").read_text())["n_train"] == 12


def test_the_python_interface_starts_its_own_children_safely(folder):
    """From a script that lies elsewhere."""
    _, ran = folder
    lines = "from xfer.doctor import survey\nprint([record['works'] for record in survey()])\n"
    (ran.parent / "elsewhere").mkdir()
    (ran.parent / "elsewhere" / "script.py").write_text(lines)
    call(ran.parent / "elsewhere" / "script.py", folder)
