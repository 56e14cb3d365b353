"""Warnings of a process of xfer's own, as everything else that it says: a line on standard error."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from typing import Any

from xfer.display.escape import escaped
from xfer.display.language import translated


def show_in_lines() -> None:
    """From now on, in this process."""
    warnings.showwarning = _show


def _show(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """One of a library with its kind, and the place in the library's code."""
    own = category.__module__.startswith("xfer")
    source = "" if own else f" ({category.__name__}, {filename}:{lineno})"
    with suppress(AttributeError, OSError, ValueError):  # there is no standard error, it is closed, or its disk is full
        sys.stderr.write(translated(escaped(f"warning: {' '.join(str(message).split())}{source}")) + "\n")
