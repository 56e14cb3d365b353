"""CSV in which no cell is a formula, and from which every cell is read again as it was written.

A spreadsheet runs what begins with =, +, - or @: a folder called `=HYPERLINK(...)` would be one. An apostrophe before
it makes it a text, and so does another one before a cell that has the apostrophe of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_RUN = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]], raw: bool = False) -> str:
    """A table with a line for the columns and one for each row; numbers stay numbers. `raw`: formulas stay formulas."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows if raw else ([_quoted(cell) for cell in row] for row in rows))
    return text.getvalue()


def read_csv(lines: Iterable[str]) -> tuple[list[str], list[dict[str | Any, Any]]]:
    """The columns, and each row by column, with the cells that `csv_text` was given.

    A cell that a row lacks is None, and what a row has too much lies under None. Raises csv.Error.
    """
    reader = csv.DictReader(lines)
    rows = [{column: _unquoted(cell) for column, cell in row.items()} for row in reader]
    return list(reader.fieldnames or ()), rows


def read_rows(lines: Iterable[str], raw: bool = False, delimiter: str = ",") -> Iterator[list[str]]:
    """The columns, and then each row, with the cells that `csv_text` was given. Raises csv.Error.

    `raw`: as the file has them, which somebody else has written.
    """
    for row in csv.reader(lines, delimiter=delimiter, strict=raw):
        yield row if raw else [_unquoted(cell) for cell in row]


def _quoted(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _runs(cell) else cell


def _unquoted(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _runs(cell) else cell


def _runs(cell: str) -> bool:
    """Whether a spreadsheet would run it, were it without its apostrophes."""
    return bool(_RUN.match(cell)) and not _NUMBER.fullmatch(cell.lstrip("'"))
