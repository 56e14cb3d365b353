"""How much memory a process has taken, how much is left to it, and what is refused for want of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xfer.errors import ConfigError
from xfer.system.control_groups import group_folders


def peak_memory() -> int | None:
    """The most bytes of main memory that this process has held at once, where the system says so.

    What a device holds of its own is not in it.
    """
    try:
        # On Linux getrusage would count what the parent held before this program took its place.
        match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
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


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that this process may still take without swapping; None where the system does not say.

    On Linux: what the machine has left, or the control groups of a container or `ulimit -v` where one of them leaves
    less. `root` is where the system's files lie.
    """
    try:
        match = re.search(r"MemAvailable:\s*(\d+) kB", (root / "proc/meminfo").read_text(encoding="ascii"))
    except OSError:
        return None
    left = [int(match[1]) * 1024] if match else []
    for folder in group_folders("memory", root):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):  # "max" is no bound
                taken = _number(folder / used) - _reclaimable(folder / "memory.stat")
                left.append(max(_number(folder / most) - taken, 0))
    return min((*left, *_of_process(root)), default=None)


def _of_process(root: Path) -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[0])
            yield max(most - pages * resource.getpagesize(), 0)


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _reclaimable(file: Path) -> int:
    """Bytes of files that a group keeps in memory only as long as nobody needs the room."""
    match = re.search(r"^inactive_file (\d+)$", file.read_text(encoding="ascii"), re.MULTILINE)
    return int(match[1]) if match else 0


def refuse_memory(what: str, needed: int, cure: str) -> None:
    """Raises ConfigError where `what` needs more bytes of main memory than are free; never where nobody knows."""
    if short := shortage(needed):
        raise ConfigError(f"{what}: {short}. Cure: {cure}")


def shortage(needed: int) -> str:
    """What is to be said of more bytes of main memory than are free; empty where they are, and where nobody knows."""
    free = free_memory()
    if free is None or needed <= free:
        return ""
    return f"needs about {amount(needed)} of memory, this machine has {amount(free)} free"


def amount(count: int) -> str:
    """`1.9 TiB`, `24 GiB`, `512 MiB`, `195 KiB`."""
    for unit, name in ((2**60, "EiB"), (2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB")):
        if count >= unit:
            return f"{count / unit:.{1 if count < 10 * unit else 0}f} {name}"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
