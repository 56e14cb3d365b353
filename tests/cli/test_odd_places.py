"""The command in places where it is not at home: each works, or says in one line what is missing.

In processes of their own, as environments, streams and users are theirs. The NumPy backend is installed beside xfer.
"""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input.shared import TRAIN
from installed import numpy_installed

import xfer
from xfer.testing.pictures import write_class_folders

ROOT = Path(xfer.__file__).parents[1]
PICTURES = {f"{name}.png" for name in ("samples", "curves", "confusion_matrix", "predictions", "top_losses")}
NOBODY = """
import pwd, sys
def unknown(number): raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
from xfer.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages, in which one declares the backend."""
    return numpy_installed(tmp_path_factory.mktemp("site"))


@pytest.fixture
def here(tmp_path):
    write_class_folders(tmp_path / "set", ["ants", "bees"], (4, 3))
    return tmp_path


@pytest.fixture
def run(site, here):
    """Runs words of the command in `here`, with these variables alone, and gives what has ended."""

    def start(*words, code=None, streams=(), **variables):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "backends", site)))
        usual = {"PATH": os.environ["PATH"], "HOME": str(here), "XFER_CACHE": str(here / "cache"), "PYTHONPATH": path}
        known = {name: value for name, value in (usual | variables).items() if value is not None}
        begin = [sys.executable, *(["-c", code] if code else ["-m", "xfer"])]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | dict(streams)
        return subprocess.run([*begin, *words], cwd=here, env=known, encoding="utf-8", timeout=60, **pipes)

    return start


def trained(done, here, pictures=PICTURES, errors=""):
    assert done.returncode == 0, done.stderr
    assert done.stderr == errors
    assert json.loads((here / "out/result.json").read_text())["n_val"] == 6
    assert not (here / "out/state.safetensors").exists(), "the run counts as finished"
    assert {path.name for path in (here / "out/plots").glob("*")} == pictures
    assert (here / "out/report.html").exists()


def refused(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line


ODD = {
    "a notebook's way of showing figures": {"MPLBACKEND": "module://nowhere.to_be_found"},
    "no such way": {"MPLBACKEND": "nonsense"},
    "a damaged file of settings": {"MATPLOTLIBRC": "damaged"},
    "warnings that are errors": {"PYTHONWARNINGS": "error"},
    "no docstrings and no assertions": {"PYTHONOPTIMIZE": "2"},
    "a home that cannot be": {"HOME": "HERE/damaged/home", "XFER_CACHE": None},
    "a home that is no path": {"HOME": "~nosuchuser", "XFER_CACHE": None, "TMPDIR": "HERE"},
    "the locale C": {"LC_ALL": "C"},
    "an output in ASCII": {"PYTHONIOENCODING": "ascii"},
    "a cache that is a file": {"XFER_CACHE": "damaged"},
    "a temporary folder that is not there": {"TMPDIR": "HERE/none"},
}


TOGETHER = [
    ("a notebook's way of showing figures", "warnings that are errors", "the locale C"),
    ("no such way", "no docstrings and no assertions", "an output in ASCII", "a cache that is a file"),
    ("a damaged file of settings", "a home that cannot be", "a temporary folder that is not there"),
    ("a home that is no path",),
]
"""All of them in few processes. Each by itself is a long test."""


def test_each_odd_place_is_among_those_that_are_tested_together():
    assert sorted(name for names in TOGETHER for name in names) == sorted(ODD)
    assert all(
        len({key for name in names for key in ODD[name]}) == sum(len(ODD[name]) for name in names) for names in TOGETHER
    )  # none takes away what another has set


@pytest.mark.parametrize(
    "names",
    [*TOGETHER, *(pytest.param((name,), marks=pytest.mark.long) for name in ODD if (name,) not in TOGETHER)],
    ids=" and ".join,
)
def test_training_works_where(names, run, here):
    (here / "damaged").write_bytes(b"\xff\xfe")
    (here / "set/train/ants").rename(here / "set/train/蚂蚁")
    (here / "set/val/ants").rename(here / "set/val/蚂蚁")
    odd = {variable: value for name in names for variable, value in ODD[name].items()}
    variables = {variable: value and value.replace("HERE", str(here)) for variable, value in odd.items()}
    done = run("train", "set", *TRAIN, "-o", "out", **variables)
    warning = done.stderr if "no installed font" in done.stderr else ""
    assert warning.count("\n") <= 1
    trained(done, here, errors=warning)
    assert not (here / "~nosuchuser").exists()


def test_a_picture_that_cannot_be_drawn_is_a_warning_and_the_run_is_finished(run, here):
    (here / "matplotlibrc").write_bytes(b"\xff\xfe")  # in the current folder, matplotlib looks first
    done = run("train", "set", *TRAIN, "-o", "out")
    lines = done.stderr.splitlines()
    trained(done, here, pictures=set(), errors=done.stderr)
    assert [line.split(": not drawn (UnicodeDecodeError: ")[0] for line in lines] == [
        f"warning: out/plots/{name}.png"
        for name in ("samples", "curves", "confusion_matrix", "predictions", "top_losses")
    ]
    assert "picture " not in done.stdout
    done = run("data", "check", "set", "-o", "report")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: report/data_check.png: not drawn")
    assert "data_check.json" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="fonts are found otherwise")
def test_a_program_that_a_library_asks_for_fonts_says_nothing(run, here):
    program = here / "bin/fc-list"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho Fontconfig error >&2\necho --format\n")
    program.chmod(0o755)
    for split in ("train", "val"):
        (here / "set" / split / "ants").rename(here / "set" / split / "\u0e4f\U00012000")  # which no font may have
    done = run("train", "set", *TRAIN, "-o", "out", PATH=os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    assert done.returncode == 0, done.stderr
    assert "Fontconfig" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers here")
def test_a_user_without_a_name_and_a_home_has_a_cache_of_his_own(run, here):
    place = {"HOME": None, "XFER_CACHE": None, "TMPDIR": str(here)}
    trained(run("train", "set", *TRAIN, "-o", "out", "--train-from", "head", code=NOBODY, **place), here)
    kept = here / f"xfer-{os.getuid()}"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert f"in {kept}/features\n" in run("cache", "ls", code=NOBODY, **place).stdout
    if os.geteuid() == 0:
        os.chown(kept, 12345, 12345)
        refused(run("cache", "ls", code=NOBODY, **place), str(kept), "another user", "Cure: XFER_CACHE=FOLDER")


def test_help_is_whole_without_docstrings(run):
    assert run("--help", PYTHONOPTIMIZE="2").stdout == run("--help").stdout
    words = run("predict", "--help", PYTHONOPTIMIZE="2").stdout
    assert "Classes and probabilities of pictures." in words


NOBODYS = {
    "data": (["train", "~nosuchuser/x", *TRAIN], {}, ["~nosuchuser/x does not exist"]),
    "weights": (["train", "set", *TRAIN, "--weights", "~nosuchuser/x"], {}, ["weights.source = '~nosuchuser/x'"]),
    "the cache": (["cache", "ls"], {"XFER_CACHE": "~nosuchuser/x"}, ["XFER_CACHE = '~nosuchuser/x'", "Cure: "]),
}


@pytest.mark.parametrize("what", NOBODYS)
def test_nobodys_home_is_not_there(what, run, here):
    words, variables, said = NOBODYS[what]
    refused(run(*words, **variables), *said)
    assert not (here / "~nosuchuser").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["train", "set", "-o", "out", *TRAIN], ["train", "--help"]])
def test_a_standard_output_without_room_is_one_line(words, run):
    with open("/dev/full", "wb") as full:
        refused(run(*words, streams={"stdout": full}), "No space left on device")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_an_error_that_nobody_can_read_still_has_its_exit_code(run):
    with open("/dev/full", "wb") as full:
        assert run("train", "nowhere", streams={"stderr": full}).returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="streams are closed otherwise")
@pytest.mark.parametrize(
    "closed", [(0, 1, 2), *(pytest.param(only, marks=pytest.mark.long) for only in [(0,), (1,), (2,)])]
)
def test_closed_streams_stop_no_training(closed, run, here):
    streams = {"preexec_fn": lambda: [os.close(number) for number in closed]}
    done = run("train", "set", *TRAIN, "-o", "out", streams=streams)
    trained(done, here)


def test_a_reader_that_goes_away_is_told_nothing(run, here):
    ours, theirs = os.pipe()
    os.close(ours)
    done = run("data", "check", "set", streams={"stdout": theirs})
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name == "nt", reason="no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), pytest.param(0o000, 0o666, marks=pytest.mark.long)])
def test_files_are_as_the_umask_says(umask, mode, run, here):
    trained(run("train", "set", *TRAIN, "-o", "out", streams={"umask": umask}), here)
    files = [path for path in (here / "out").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


CLOCK = """
import itertools, time
ticks = itertools.count()
time.time, time.time_ns = lambda: 2e9 - 1000 * next(ticks), lambda: int(2e18) - 10**12 * next(ticks)
from xfer.__main__ import run
run()
"""


def test_a_clock_that_goes_back_makes_no_negative_times(run, here):
    os.utime(here / "set/train/ants/0.png", (2**33, 2**33))  # in the year 2242
    done = run("train", "set", *TRAIN, "-o", "out", "--train-from", "head", code=CLOCK)
    trained(done, here)
    result = json.loads((here / "out/result.json").read_text())
    assert all(result[name] >= 0 for name in ("seconds_total", "seconds_features", "seconds_training"))
    (entry, *_) = [path for path in (here / "cache/features").iterdir() if path.is_dir()]
    os.utime(entry, (2**33, 2**33))
    assert "2242-" in run("cache", "ls").stdout


def test_names_as_long_as_the_disk_allows(run, here):
    name, data = "c" * 255, "d" * 255
    for split in ("train", "val"):
        (here / "set" / split / "ants").rename(here / "set" / split / name)
    (here / "set").rename(here / data)
    done = run("train", data, *TRAIN)
    assert done.returncode == 0, done.stderr
    (made,) = (here / "runs").iterdir()
    assert made.name == f"{'d' * 128}-tiny-numpy-1"
    assert run("predict", str(made), data, "-o", "p.csv", "-q").returncode == 0
    refused(run("predict", str(made), data, "-o", f"{'p' * 256}.csv"), "File name too long. Cure: a shorter name")
    refused(run("train", "x" * 256), "File name too long" if sys.version_info < (3, 14) else "does not exist")


def test_a_folder_that_may_not_be_made_is_named(run, here):
    (here / "runs").write_text("a file")
    refused(run("train", "set", *TRAIN), "error: runs: cannot be written", "Cure: another --output")
