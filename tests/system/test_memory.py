"""Memory is told in bytes: what was taken, though it was given back, and what may still be taken."""

import subprocess
import sys

import pytest

from xfer.errors import ConfigError
from xfer.system import memory

TAKEN = 200_000_000


def test_peak_holds_what_was_taken_and_given_back():
    code = "taken = bytearray({}); taken[::4096] = b'x' * len(taken[::4096]); del taken\n"
    code += "from xfer.system.memory import peak_memory; print(peak_memory())"
    little, much = (
        int(subprocess.run([sys.executable, "-c", code.format(size)], capture_output=True, check=True).stdout)
        for size in (4096, TAKEN)
    )
    assert 0.9 * TAKEN < much - little < 1.2 * TAKEN


# What may still be taken


GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 24 GiB free, and no limits."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {24 * 2**20} kB\n")
    return tmp_path


def group(folder, limit, taken, freed=0, v2=True):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, taken), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{'' if v2 else 'total_'}inactive_file {freed}\nslab 2\n")


def test_the_machine_says_what_is_free(machine):
    assert memory.free_memory() == 24 * GIB
    assert memory.shortage(24 * GIB) is None
    assert memory.shortage(1945 * GIB) == "needs about 1.9 TiB, this machine has 24 GiB free"


def test_what_needs_more_is_refused_with_both_amounts(machine):
    memory.refuse_memory("a batch", 24 * GIB, "a smaller one")
    with pytest.raises(ConfigError) as caught:
        memory.refuse_memory("a batch", 1945 * GIB, "a smaller one")
    assert str(caught.value) == ("a batch: needs about 1.9 TiB, this machine has 24 GiB free. Cure: a smaller one")


def test_a_container_may_have_less_of_it(machine):
    (machine / "proc/self/cgroup").write_text("0::/a/b\n")
    group(machine / "cgroup/a/b", "max", GIB)
    group(machine / "cgroup/a", 4 * GIB, 2 * GIB, freed=GIB)
    assert memory.free_memory() == 3 * GIB


def test_so_may_an_old_one(machine):
    (machine / "proc/self/cgroup").write_text("9:name=systemd:/\n4:memory:/box\n")
    group(machine / "cgroup/memory/box", 5 * GIB, 2 * GIB, v2=False)
    group(machine / "cgroup/memory/elsewhere", GIB, GIB, v2=False)
    assert memory.free_memory() == 3 * GIB


def test_a_container_that_is_full_has_nothing_free(machine):
    (machine / "proc/self/cgroup").write_text("0::/\n")
    group(machine / "cgroup", GIB, 2 * GIB)
    assert memory.free_memory() == 0
    assert memory.shortage(1) == "needs about 1 bytes, this machine has 0 bytes free"


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v holds on Linux alone")
def test_a_limit_of_the_process_counts():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
    code += "from xfer.system.memory import free_memory; print(free_memory())"
    said = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 2**30 < said < 2**31


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (1536, "1.5 KiB"), (348_000, "340 KiB"), (2**41, "2 TiB"), (2**60, "1024 PiB")]
)
def test_sizes_are_told_as_people_read_them(size, words):
    assert memory.in_units(size) == words
