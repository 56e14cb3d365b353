"""A part of the sweep of hostile calls (all of it: `make sweep`), and that it sees what it looks for."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hostile.ground import Call

pytest.importorskip("resource", reason="it bounds its calls as POSIX does")
import sweep

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it counts by /proc and by what Linux's getrusage says")
QUIET = sweep.Outcome("kind", "name", ["train"], 0, 1.0, 1.0, 10**8, "", "")
REFUSED = replace(QUIET, code=2, stderr="error: set: no such folder. Cure: check the path\n")
PLAIN = replace(QUIET, cpu=2.0, memory=2 * 10**8)


@LINUX
def test_hostile_calls_end_in_one_line():
    words = [sys.executable, sweep.__file__, "--quick", "--calls", "16", "--seed", "1"]
    plain = {**os.environ, "PYTHONSAFEPATH": ""}  # a command that another test ran in here may have set it
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=plain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 calls, seed 1," in done.stdout
    assert done.stdout.rstrip().endswith("none fails")


@pytest.mark.parametrize("outcome", [QUIET, REFUSED, replace(QUIET, code=1, stderr="1 of 3 pictures: see above\n")])
def test_what_is_as_it_should_be_breaks_no_law(outcome):
    assert list(sweep.laws_broken(outcome, PLAIN)) == []


BROKEN = {
    "traceback": replace(QUIET, code=70, stderr="Traceback (most recent call last):\nValueError: x\n"),
    "hangs": replace(QUIET, code=-9, hangs=True),
    "died by SIGBUS": replace(QUIET, code=-7),
    "exit code 3": replace(QUIET, code=3),
    "not one line": replace(REFUSED, stderr=REFUSED.stderr * 2),
    "processor time": replace(QUIET, cpu=12.1),
    "memory": replace(QUIET, memory=12 * 10**8 + 1),
    "control characters": replace(REFUSED, stderr="error: \x1b[31mred\n"),
    "executed": replace(QUIET, executed=True),
    "orphans": replace(QUIET, orphans=True),
    "no JSON": replace(QUIET, words=["compare", "--json"], stdout='{"loss": NaN}'),
    "input not made": replace(QUIET, unmade=True),
}


@pytest.mark.parametrize("law", BROKEN)
def test_what_is_not_is_named(law):
    assert list(sweep.laws_broken(BROKEN[law], PLAIN)) == [law]


@pytest.mark.parametrize("code", [0, 2])
@pytest.mark.parametrize("line", ["", "no error of xfer's\n"])
def test_a_refusal_is_a_line_that_begins_with_error(code, line):
    broken = list(sweep.laws_broken(replace(QUIET, code=code, stderr=line), PLAIN))
    assert broken == (["not one line"] if code == 2 else [])


def split_off(work):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        work()
        os._exit(3)
    return pid


@LINUX
def test_a_call_that_waits_for_nothing_hangs_and_one_that_works_does_not(monkeypatch):
    monkeypatch.setattr(sweep, "WAITING", 2.0)
    began = time.monotonic()
    assert sweep._wait(split_off(lambda: time.sleep(60)), began, 30)[0] == -signal.SIGKILL
    assert time.monotonic() - began < 30
    began = time.monotonic()
    code, usage, _ = sweep._wait(split_off(lambda: sum(range(10**7))), began, 30)
    assert code == 3
    assert usage.ru_utime > 0


@LINUX
def test_a_call_without_end_is_ended_after_its_processor_time():
    def work():
        while True:
            pass

    code, _, used = sweep._wait(split_off(work), time.monotonic(), 0.5)
    assert code == -signal.SIGKILL
    assert used > 0.5


@LINUX
def test_what_a_call_leaves_behind_is_found_and_ended():
    pid = split_off(lambda: subprocess.Popen(["sleep", "60"]))
    os.waitpid(pid, 0)
    assert sweep._end(pid)
    time.sleep(0.2)
    assert not sweep._end(pid)


def test_kinds_take_turns_and_the_seed_decides():
    def make(here: Path, random: object) -> list[str]:
        return []

    calls = [
        Call(kind, f"{kind}{i}", "train", make)
        for kind, count in (("a", 100), ("b", 2), ("c", 1))
        for i in range(count)
    ]
    picked = sweep.chosen(calls, 8, 1)
    assert sorted(call.kind for call in picked) == list("aaaaabbc")
    assert picked == sweep.chosen(calls, 8, 1)
    assert picked != sweep.chosen(calls, 8, 2)
    assert picked[:3] == sweep.chosen([call for call in calls if call not in picked[3:]], 3, 1)
