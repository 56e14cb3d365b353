"""How much memory a process has taken, how much more there is, and what is refused for want of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xfer.errors import ConfigError

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_GROUP_FILES = (  # the limit, what is taken, and what of that the system would give up: cgroup v2 and v1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def peak_memory() -> int | None:
    """The most bytes of main memory that this process has held at once, where the system says so.

    What a device holds of its own is not in it.
    """
    try:
        # On Linux getrusage would count what the parent held before this program took its place.
        match = re.search(r"VmHWM:\s*(\d+) kB", (PROC / "self/status").read_text(encoding="ascii"))
        if match:
            return int(match[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def shortage(needed: int) -> str | None:
    """`needs about 1.9 TiB, this machine has 24 GiB free`; None where there is room, or the system does not say."""
    free = free_memory()
    if free is None or needed <= free:
        return None
    return f"needs about {in_units(needed)}, this machine has {in_units(free)} free"


def refuse_memory(what: str, needed: int, cure: str) -> None:
    """Raises ConfigError where `what` needs more bytes of main memory than are free; never where nobody knows."""
    if short := shortage(needed):
        raise ConfigError(f"{what}: {short}. Cure: {cure}")


def free_memory() -> int | None:
    """Bytes of main memory that this process may still take; None where the system does not say.

    The least of what the machine has free, what its container may take, and what `ulimit -v` leaves.
    """
    return min((max(0, room) for room in (*_of_machine(), *_of_containers(), *_of_process())), default=None)


def in_units(size: int) -> str:
    """`24 GiB`, with two digits or more."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.2g} {_UNITS[unit]}" if value < 10 else f"{value:.0f} {_UNITS[unit]}"


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError):
        match = re.search(r"MemAvailable:\s*(\d+) kB", (PROC / "meminfo").read_text(encoding="ascii"))
        if match:
            yield int(match[1]) * 1024
            return
    with suppress(OSError, ValueError, AttributeError):  # not Linux: all that the machine has, if it says so
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_containers() -> Iterator[int]:
    """Of each group of processes that this one is in, up to the outermost."""
    with suppress(OSError, ValueError):
        for line in (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                root = GROUPS / controllers
                group = root / name.lstrip("/")
                for folder in (group, *(above for above in group.parents if above.is_relative_to(root))):
                    yield from _of_group(folder)


def _of_group(folder: Path) -> Iterator[int]:
    for limit, taken, freed in _GROUP_FILES:
        with suppress(OSError, ValueError):  # `max`: none
            room = int((folder / limit).read_text(encoding="ascii")) - int((folder / taken).read_text(encoding="ascii"))
            match = re.search(rf"^{freed} (\d+)$", (folder / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
            yield room + (int(match[1]) if match else 0)


def _of_process() -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int((PROC / "self/statm").read_text(encoding="ascii").split()[0])
            yield most - pages * os.sysconf("SC_PAGE_SIZE")
