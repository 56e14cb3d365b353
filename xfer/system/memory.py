"""How much memory a process has taken."""

from __future__ import annotations

import re
import sys
from pathlib import Path


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
