"""Lists of files as CSV: what was left out and why, and which pictures are copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from xfer.data.leaks import Leak, Leaks
from xfer.system.files import write_bytes
from xfer.system.tables import csv_text


class Skipped(NamedTuple):
    path: str
    reason: str


def write_skipped_csv(path: Path, skipped: Iterable[Skipped]) -> None:
    """Columns path and reason; a header alone where nothing was left out."""
    _write_csv(path, Skipped._fields, skipped)


def write_leaks_csv(path: Path, leaks: Leaks) -> None:
    """Columns path, copy and kind, a row for each pair."""
    _write_csv(path, Leak._fields, leaks.rows())


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    write_bytes(path, csv_text(columns, rows).encode("utf-8", "surrogateescape"))
