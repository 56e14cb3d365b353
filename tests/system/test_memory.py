"""Memory is told in bytes, and holds what was taken, though it was given back."""

import subprocess
import sys

import pytest

from xfer.errors import ConfigError
from xfer.system.memory import amount, free_memory, refuse_memory, shortage

TAKEN = 200_000_000


def test_peak_holds_what_was_taken_and_given_back():
    code = "taken = bytearray({}); taken[::4096] = b'x' * len(taken[::4096]); del taken\n"
    code += "from xfer.system.memory import peak_memory; print(peak_memory())"
    little, much = (
        int(subprocess.run([sys.executable, "-c", code.format(size)], capture_output=True, check=True).stdout)
        for size in (4096, TAKEN)
    )
    assert 0.9 * TAKEN < much - little < 1.2 * TAKEN


def system_files(root, **files):
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")


MEMINFO = "MemTotal: 24000000 kB\nMemFree: 1000 kB\nMemAvailable: 16000000 kB\n"


def test_free_memory_is_what_the_machine_has_left(tmp_path):
    assert free_memory(tmp_path) is None
    system_files(tmp_path, proc__meminfo=MEMINFO)
    assert free_memory(tmp_path) == 16_000_000 * 1024


def test_a_container_leaves_less_and_files_that_it_keeps_are_free(tmp_path):
    system_files(tmp_path, proc__meminfo=MEMINFO)
    system_files(tmp_path / "proc" / "self", cgroup="0::/a/b\n")
    group = tmp_path / "sys" / "fs" / "cgroup" / "a"
    for place, most in ((group / "b", "max\n"), (group, "2000000000\n")):
        place.mkdir(parents=True, exist_ok=True)
        (place / "memory.max").write_text(most)
        (place / "memory.current").write_text("1500000000\n")
        (place / "memory.stat").write_text("anon 5\ninactive_file 300000000\nactive_file 7\n")
    assert free_memory(tmp_path) == 800_000_000
    (group / "memory.max").write_text("1000000000")
    assert free_memory(tmp_path) == 0


def test_groups_of_version_1_are_read_too(tmp_path):
    system_files(tmp_path, proc__meminfo=MEMINFO)
    system_files(tmp_path / "proc" / "self", cgroup="8:pids:/\n4:cpu,memory:/a\n0::/\n")
    group = tmp_path / "sys" / "fs" / "cgroup" / "memory" / "a"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("3000000000")
    (group / "memory.usage_in_bytes").write_text("1000000000")
    (group / "memory.stat").write_text("cache 1\n")
    assert free_memory(tmp_path) == 2_000_000_000


def test_what_needs_more_is_refused_with_both_amounts(monkeypatch):
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: 24 * 2**30)
    refuse_memory("a batch", 24 * 2**30, "a smaller one")
    with pytest.raises(ConfigError) as caught:
        refuse_memory("a batch", int(1.9 * 2**40), "a smaller one")
    assert str(caught.value) == (
        "a batch: needs about 1.9 TiB of memory, this machine has 24 GiB free. Cure: a smaller one"
    )
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: None)
    refuse_memory("a batch", 2**70, "nobody knows")


def test_what_fits_is_no_shortage(monkeypatch):
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: 200_000)
    assert shortage(200_000) == ""
    assert shortage(200_001) == "needs about 195 KiB of memory, this machine has 195 KiB free"


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v holds on Linux alone")
def test_a_limit_of_the_process_leaves_less():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
    code += "from xfer.system.memory import free_memory; print(free_memory())"
    left = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 2**30 < left < 2**31


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 KiB"), (348_000, "340 KiB"), (2**29, "512 MiB"), (24 * 2**30, "24 GiB"), (2**41, "2.0 TiB")],
)
def test_amounts_are_told_as_people_read_them(count, words):
    assert amount(count) == words
