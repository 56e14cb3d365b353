"""Packages of the extras `export` and `serve`, which are imported where they are used and nowhere before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from xfer.errors import AbsentError


def package(name: str, extra: str = "export") -> Any:
    """Raises AbsentError where it is not installed, or does not work here."""
    try:
        return import_module(name)
    except Exception as error:  # one whose libraries do not fit raises whatever it likes
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AbsentError(f"{name} cannot be imported ({first}). Cure: pip install 'xfer-vision[{extra}]'") from error
