"""How many processors there are for this process."""

import os

import pytest

from xfer.system.parallel import processors

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
V2, V1 = "0::/a/b\n", "3:cpu,cpuacct:/a/b\n1:memory:/other\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V2, {}, ALL),
        (V2, {"a/b/cpu.max": "max 100000\n"}, ALL),
        (V2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, 1),
        (V2, {"a/b/cpu.max": "100001 100000\n"}, min(ALL, 2)),
        (V2, {"a/b/cpu.max": "6400000 100000\n"}, min(ALL, 64)),
        (V2, {"a/b/cpu.max": "nonsense"}, ALL),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, ALL),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "100000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_those_that_a_container_leaves(tmp_path, groups, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert processors(tmp_path) == expected


def test_where_the_system_says_nothing_all_of_them(tmp_path):
    assert processors(tmp_path) == ALL
