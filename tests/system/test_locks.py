import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from xfer.errors import CheckpointError
from xfer.system import locks
from xfer.system.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from xfer.system import locks
if sys.argv[2] == "without":
    locks.fcntl = None
with locks.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, way):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock", way], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_refused_with_the_holder_and_the_cure(tmp_path, holder):
    with pytest.raises(CheckpointError) as caught, locked(tmp_path / "lock"):
        pass
    assert f"lock: is held by process {holder.pid} on {socket.gethostname()}, since 20" in str(caught.value)
    assert "Cure: " in str(caught.value)
    assert holder.poll() is None


def test_a_dead_holder_is_no_holder(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_who_waits_gets_it_when_the_holder_dies(tmp_path, holder):
    threading.Timer(0.3, holder.kill).start()
    threading.Timer(0.4, holder.wait).start()
    started = time.monotonic()
    with locked(tmp_path / "lock", wait=True):
        assert time.monotonic() - started > 0.25


def test_the_same_process_is_refused_too_and_the_file_goes(tmp_path, way):
    with locked(tmp_path / "lock"), pytest.raises(CheckpointError), locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "lock").exists()
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "lock"):
        pass


def test_of_many_that_wait_one_at_a_time_gets_in(tmp_path, way):
    inside, most, turns = 0, [], []

    def work():
        nonlocal inside
        for _ in range(5):
            with locked(tmp_path / "lock", wait=True):
                inside += 1
                most.append(inside)
                time.sleep(0.001)
                inside -= 1
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(turns)) == (1, 20)


def test_a_file_that_names_nobody_of_this_host_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    for text in ("", f"process {2**22 + 1} on elsewhere, since then", "process x"):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(CheckpointError, match="is held by"), locked(tmp_path / "lock"):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on Windows")
def test_a_pipe_in_its_place_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(CheckpointError, match=r"lock: is no lock of xfer's"), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").is_fifo()
