"""Linux's control groups, by which containers bound what a process may take."""

from __future__ import annotations

from pathlib import Path


def group_folders(controller: str, root: Path = Path("/")) -> list[Path]:
    """The folders of the groups that bound `memory` or `cpu`, of version 2 or 1: this process's own, and those above.

    `root` is where the system's files lie. None where there are none.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, place = line.partition(":")
        controllers, _, path = place.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = top / path.strip("/")
        folders += [group, *(above for above in group.parents if above.is_relative_to(top))]
    return folders
