"""`metrics.csv` in the run folder: a line for each epoch, for spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xfer.system.doors import to_append
from xfer.system.files import write_text
from xfer.system.tables import csv_text
from xfer.tracking.logger import Started

FILE = "metrics.csv"


class Table:
    def __init__(self, started: Started) -> None:
        self.file: Path = started.path / FILE
        self.columns: tuple[str, ...] = ()
        self._begin(started.history)

    def epoch(self, record: Mapping[str, Any]) -> None:
        if not self.columns:
            self._begin([record])
            return
        with open(self.file, "a", encoding="utf-8", newline="", opener=to_append) as lines:
            lines.write(csv_text([record.get(column, "") for column in self.columns], []))

    def end(self, result: Mapping[str, Any] | None) -> None:
        pass  # every line is written when it comes

    def _begin(self, records: Sequence[Mapping[str, Any]]) -> None:
        if records:
            self.columns = tuple(records[0])
            write_text(self.file, csv_text(self.columns, ([r.get(c, "") for c in self.columns] for r in records)))
