"""What killed processes leave half written is swept away, and nothing that a living one writes."""

import os
import signal
import subprocess
import sys

from click.testing import CliRunner

from xfer.cli.main import main
from xfer.system import locks, parts
from xfer.system.files import replacing, write_text

WRITE = """
import os, signal, sys, time
from pathlib import Path
from xfer.system import locks
from xfer.system.files import replacing
if sys.argv[2] == "without":
    locks.fcntl = None
with replacing(Path(sys.argv[1])) as written:
    written.write_text("half")
    written.with_name(".tmpX1").write_text("what a library writes before that")
    print("writing", flush=True)
    time.sleep(60)
"""

FORK = """
import os, sys, time
from pathlib import Path
from xfer.system.locks import locked
with locked(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def writer(path, way="with"):
    process = subprocess.Popen([sys.executable, "-c", WRITE, path, way], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def killed(path, way="with"):
    process = writer(path, way)
    process.kill()
    process.communicate()
    return process


def test_the_next_write_takes_away_what_a_killed_one_left(tmp_path, way):
    process = killed(tmp_path / "a.json", way)
    assert [path.name for path in tmp_path.iterdir()] == [f".a.json.{process.pid}.part"]
    (tmp_path / ".b.json.1.part").mkdir()  # of another file
    write_text(tmp_path / "a.json", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.1.part", "a.json"]
    assert (tmp_path / "a.json").read_text() == "whole"


def test_what_a_living_process_writes_stays(tmp_path, way):
    process = writer(tmp_path / "a.json", way)
    try:
        write_text(tmp_path / "a.json", "whole")
        assert parts.remove_abandoned(parts.parts_below(tmp_path)) == []
        assert (tmp_path / f".a.json.{process.pid}.part" / "a.json").read_text() == "half"
    finally:
        process.kill()
        process.communicate()
    assert len(parts.remove_abandoned(parts.parts_below(tmp_path))) == 1


def test_a_number_that_another_process_has_by_now_does_not_keep_it(tmp_path):
    process = killed(tmp_path / "a.json")
    old = tmp_path / f".a.json.{os.getppid()}.part"
    (tmp_path / f".a.json.{process.pid}.part").rename(old)
    assert parts.remove_abandoned([old]) == []  # it may have been made just now
    os.utime(old, (0, 0))
    assert parts.remove_abandoned([old]) == [old]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "a.json") as first, replacing(tmp_path / "a.json") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_child_that_is_forked_keeps_no_lock_of_its_parent(tmp_path):
    words = [sys.executable, "-c", FORK, tmp_path / "lock"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        with locks.locked(tmp_path / "lock"):  # refused where the child holds it still
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_the_end_of_a_forked_child_leaves_its_parents_lock(tmp_path):
    held = locks.locked(tmp_path / "lock")
    held.__enter__()
    child = os.fork()
    if child == 0:
        try:
            held.__exit__(None, None, None)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "lock").exists()
    held.__exit__(None, None, None)
    assert not (tmp_path / "lock").exists()


def test_prune_sweeps_caches_runs_and_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    for name in ("runs/a-1", "studies/s/runs/head-numpy-0"):
        (tmp_path / name).mkdir(parents=True)
        write_text(tmp_path / name / "env.json", '{"backend": "numpy", "device": "cpu", "versions": {}}')
        write_text(tmp_path / name / "config.toml", "")
        killed(tmp_path / name / "best.safetensors")
        killed(tmp_path / name / "plots" / "curves.png")
        killed(tmp_path / name / "from_random" / "log.txt")
    (tmp_path / "studies" / "s" / "study.lock").touch()
    killed(tmp_path / "studies" / "s" / "study.json")
    killed(tmp_path / "cache" / "weights" / "resnet18.pth")
    killed(tmp_path / "cache" / "datasets" / "demo-1")
    living = writer(tmp_path / "cache" / "weights" / "resnet34.pth")
    killed(tmp_path / "runs" / "mine")  # of nobody's run
    (tmp_path / "runs" / "x-1").mkdir()
    (tmp_path / "runs" / "x-1" / "run.lock").touch()  # killed as it began
    result = CliRunner().invoke(main, ["cache", "prune"])
    try:
        assert result.exit_code == 0, result.output
        left = [path.name for path in parts.parts_below(tmp_path)]
        assert sorted(name.split(".")[1] for name in left) == ["mine", "resnet34"]
        assert not (tmp_path / "runs" / "x-1").exists()
        assert (tmp_path / "runs" / "a-1" / "config.toml").exists()
    finally:
        living.kill()
        living.communicate()
