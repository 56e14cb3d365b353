"""Processes that work for another: results in order, errors and deaths in their place, and nobody left behind."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pool_functions import Do

from xfer.errors import DataError, XferError
from xfer.system import worker_pool
from xfer.system.shared import CAN_SHARE, Room
from xfer.system.worker_pool import Group, WorkerPool, close_idle, pool_of

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="this system has no memory and no counters without a name")
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def found():
    """The processes find the functions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([HERE, *sys.path]))
        yield


@pytest.fixture(scope="module")
def shared():
    with closing(WorkerPool("pool_functions", 2)) as pool:
        yield pool


@pytest.fixture
def pool():
    with closing(WorkerPool("pool_functions", 2)) as pool:
        yield pool


def groups(*words, size=3):
    items = list(zip(words, range(len(words)), strict=True))
    return [Group(items[i : i + size]) for i in range(0, len(items), size)]


def made(module, count, numbers):
    return WorkerPool(module, count)


def pids(pool):
    return [process.pid for process in pool._processes]


def is_there(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("ahead", [1, 2, 50])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_results_come_in_the_order_of_the_items(shared, size, ahead):
    assert list(shared.map_ahead(Do(), groups(*["ok"] * 40, size=size), ahead)) == [10 * i for i in range(40)]


def test_all_processes_work(shared):
    assert set(shared.map_ahead(Do(0.02), groups(*["pid"] * 20, size=1), 8)) == set(pids(shared))


def test_no_more_groups_than_those_ahead_are_taken(shared):
    taken = []

    def counted():
        for group in groups(*["ok"] * 30):
            taken.append(group)
            yield group

    results = shared.map_ahead(Do(), counted(), 4)
    for done in range(30):
        assert next(results) == 10 * done
        assert len(taken) <= done // 3 + 4
    results.close()


@pytest.mark.parametrize(
    ("word", "kind", "said"), [("fail", DataError, "item 4"), ("odd", XferError, "OddError: 4 and 4")]
)
def test_an_exception_comes_behind_the_results_before_it(shared, word, kind, said):
    results = shared.map_ahead(Do(), groups("ok", "ok", "ok", "ok", word, *["ok"] * 50), 4)
    assert [next(results) for _ in range(4)] == [0, 10, 20, 30]
    with pytest.raises(kind, match=said):
        next(results)
    assert list(shared.map_ahead(Do(), groups("ok", "ok"), 4)) == [0, 10]


def test_what_is_left_of_a_session_that_was_closed_is_not_worked_at(shared, tmp_path):
    log = tmp_path / "log"
    results = shared.map_ahead(Do(0.02, str(log)), groups(*["ok"] * 90, size=30), 3)
    next(results)
    results.close()
    before = log.stat().st_size
    assert before < 80
    assert list(shared.map_ahead(Do(), groups("ok"), 2)) == [0]
    time.sleep(0.1)
    assert log.stat().st_size == before


def test_nothing_is_written_once_a_session_is_closed(shared):
    """Its memory may be another's by then."""
    with closing(Room(40)) as room:
        parts = [Group([("room", i + 1)], room.handle, 4 * i, 4) for i in range(10)]
        results = shared.map_ahead(Do(0.1), parts, 6)
        next(results)
        results.close()
        before = room.array((40,), lambda room: None).tobytes()
        time.sleep(0.3)
        assert room.array((40,), lambda room: None).tobytes() == before


def test_bytes_go_into_the_room(shared):
    room = Room(100)
    items = [("room", i) for i in range(10)]
    parts = [Group(items[:4], room.handle, 8, 4), Group(items[4:], room.handle, 40, 6)]
    assert list(shared.map_ahead(Do(), parts, 2)) == [10 * i for i in range(10)]
    expected = np.zeros(100, np.uint8)
    expected[8:24] = np.repeat(np.arange(4), 4)
    expected[40:76].reshape(6, 6)[:, :4] = np.arange(4, 10)[:, None]
    np.testing.assert_array_equal(room.array((100,), lambda room: None), expected)
    room.close()


def test_more_answers_than_wait_at_once(shared):
    """The system keeps some two hundred: processes that wait for room for theirs take nothing."""
    assert list(shared.map_ahead(Do(), groups(*["ok"] * 1500, size=1), 1500)) == [10 * i for i in range(1500)]


def test_a_process_that_dies_is_named_with_what_it_had(pool):
    results = pool.map_ahead(Do(), groups(*["ok"] * 7, "die", *["ok"] * 20), 4)
    said = r"^item 7: its reader was killed by SIGKILL.*Cure: fewer workers, or XFER_READERS=threads"
    with pytest.raises(XferError, match=said):
        list(results)
    assert not any(map(is_there, pids(pool)))


def test_one_that_died_with_nothing_to_do_is_replaced(pool):
    assert list(pool.map_ahead(Do(), groups("ok"), 2)) == [0]
    os.kill(pids(pool)[0], signal.SIGKILL)
    assert wait_for(lambda: not is_there(pids(pool)[0]))
    assert list(pool.map_ahead(Do(), groups(*["ok"] * 20), 2)) == [10 * i for i in range(20)]


def test_an_interrupt_ends_the_processes_at_once(pool):
    results = pool.map_ahead(Do(), groups("ok", *["stay"] * 20, size=1), 4)
    next(results)
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(results)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not any(map(is_there, pids(pool)))


def test_what_all_processes_are_asked_is_for_the_first_to_decide(pool):
    """Also while they start."""
    results = pool.map_ahead(Do(0.05), groups(*["ok"] * 10, size=1), 4)
    pool._start()
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in pids(pool):
            os.kill(pid, number)
    assert next(results) == 0
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in pids(pool):
            os.kill(pid, number)
    assert list(results) == [10 * i for i in range(1, 10)]


def test_a_process_that_was_forked_has_no_part_in_it(shared):
    """Its end, or that it no longer needs an iterator, ends nothing here; and it keeps nobody alive."""
    results = shared.map_ahead(Do(), groups(*["ok"] * 40, size=1), 4)
    assert next(results) == 0
    if not (child := os.fork()):
        results.close()
        os._exit(shared.is_whole)
    assert os.waitpid(child, 0)[1] == 0
    assert list(results) == [10 * i for i in range(1, 40)]


def test_where_none_can_be_started_nothing_is_left(monkeypatch):
    gc.collect()  # what tests before this one left
    handles, before = [os.dup(0) for _ in range(4)], len(os.listdir("/proc/self/fd")) - 4
    pool = WorkerPool("pool_functions", 2, handles)
    monkeypatch.setattr(sys, "executable", str(Path(HERE) / "no such program"))
    with pytest.raises(FileNotFoundError):
        pool.start()
    assert not pool.is_whole
    del pool
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    monkeypatch.undo()
    handles = [os.dup(0) for _ in range(4)]
    monkeypatch.setattr(worker_pool, "anonymous_file", lambda name: os.open("/no/such/file", os.O_RDONLY))
    with pytest.raises(FileNotFoundError):
        WorkerPool("pool_functions", 2, handles)
    assert len(os.listdir("/proc/self/fd")) == before


def test_processes_that_end_at_once_are_no_pool():
    with closing(WorkerPool("no_such_module", 2)) as pool:
        with pytest.raises(XferError, match=r"^a process that reads died with exit code 1"):
            pool.start()
        assert not pool.is_whole


def test_standard_streams_may_be_closed():
    program = """
import os
os.closerange(0, 2)
from pool_functions import Do
from xfer.system.worker_pool import Group, WorkerPool
pool = WorkerPool("pool_functions", 2)
os._exit(list(pool.map_ahead(Do(), [Group([("ok", 7)])], 1)) != [70])
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("end", ["", "results.close(); held.__exit__(None, None, None)"])
@pytest.mark.parametrize("fork", ["", "import os; os.fork()"])
def test_nothing_is_said_at_the_end_of_a_program(end, fork):
    """Whether an iterator was left unfinished, or processes are idle."""
    program = f"""
from pool_functions import Do
from xfer.system.worker_pool import Group, WorkerPool, pool_of
held = pool_of("pool_functions", 2, lambda *how: WorkerPool(*how[:2]))
pool = held.__enter__()
results = pool.map_ahead(Do(), [Group([("ok", 0)]), *[Group([("ok" if {end!r} else "stay", 0)])] * 4], 3)
next(results)
{end}
{fork}
"""
    words = [sys.executable, "-X", "dev", "-c", program]
    assert subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stderr == ""


@pytest.mark.parametrize("word", ["ok", "stay"])
def test_they_end_with_the_process_that_was_killed(word):
    program = f"""
import sys, time
from pool_functions import Do
from xfer.system.worker_pool import Group, WorkerPool
if __name__ == "__main__":
    pool = WorkerPool("pool_functions", 2)
    results = pool.map_ahead(Do(), [Group([("ok", 0)]), *[Group([({word!r}, 0)])] * 40], 8)
    next(results)
    print(*[process.pid for process in pool._processes], flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        left = list(map(int, parent.stdout.readline().split()))
        assert len(left) == 2
        assert all(map(is_there, left))
        parent.kill()
    assert wait_for(lambda: not any(map(is_there, left)))


def test_idle_processes_are_used_again():
    with pool_of("pool_functions", 1, made) as first:
        list(first.map_ahead(Do(), groups("ok"), 1))
        with pool_of("pool_functions", 1, made) as second:
            assert second is not first
    with pool_of("pool_functions", 1, made) as third:
        assert third in (first, second)
    with pool_of("pool_functions", 2, made):  # whoever wants another number no longer wants those
        assert not worker_pool._idle
    close_idle()
    assert not worker_pool._idle
    assert not any(map(is_there, pids(first)))


def test_processes_that_died_are_not_kept():
    with pytest.raises(XferError), pool_of("pool_functions", 1, made) as pool:
        list(pool.map_ahead(Do(), groups("die"), 1))
    assert not worker_pool._idle
