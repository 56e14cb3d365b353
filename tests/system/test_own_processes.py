"""Children of xfer's own end with the process that started them, however that ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from xfer.system.processes import ending

PARENT = """
import sys
from xfer.system.processes import ask, Child, command
from pathlib import Path
if sys.argv[1] == "ask":
    ask("waiting_child")
else:
    Child(command("waiting_child"), Path(sys.argv[2], "log.txt"), __import__("os").environ).ask({})
"""
CHILD = """
import os, sys, time
from xfer.system.processes import end_with_parent
end_with_parent()
with open(os.environ["TOLD"], "w") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(60)
"""
POOL = """
import multiprocessing, os, signal, time
from xfer.system.processes import end_worker_with_parent
def work():
    end_worker_with_parent()
    with open(os.environ["TOLD"], "w") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(60)
if __name__ == "__main__":
    multiprocessing.get_context(os.environ["HOW"]).Process(target=work).start()
    time.sleep(60)
"""


def waits_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(process):
    """Also where it has ended and nobody has asked how: a zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends_with(words, told, monkeypatch):
    """Start it, wait for its child, kill it: the child ends, too, at once."""
    monkeypatch.setenv("TOLD", str(told))
    parent = subprocess.Popen(words)
    waits_for(lambda: told.exists() and told.read_text().endswith("\n"))
    child = int(told.read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    waits_for(lambda: not alive(child), 10)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", ["ask", "child"])
def test_a_child_ends_with_a_parent_that_was_killed(tmp_path, monkeypatch, how):
    (tmp_path / "waiting_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.pathsep.join(filter(None, sys.path))}")
    ends_with([sys.executable, "-c", PARENT, how, str(tmp_path)], tmp_path / "told", monkeypatch)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_worker_ends_with_a_parent_that_was_killed(tmp_path, monkeypatch, how):
    (tmp_path / "pool.py").write_text(POOL)
    monkeypatch.setenv("HOW", how)
    ends_with([sys.executable, str(tmp_path / "pool.py")], tmp_path / "told", monkeypatch)


def test_how_a_process_ended_is_said():
    assert ending(7) == "died with exit code 7"
    assert ending(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert ending(-signal.SIGKILL) == "was killed by SIGKILL, as by a system that is out of memory"
