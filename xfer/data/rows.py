"""Tables as they lie in files: CSV, TSV, JSON Lines and Parquet, row by row, with the cells that somebody asks for."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from xfer.errors import DataError
from xfer.system.doors import open_lines, open_regular, parse_json
from xfer.system.limits import limit, variable_of
from xfer.system.tables import read_rows

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SHEETS = (".xlsx", ".xls", ".ods")
"""What spreadsheets keep for themselves: no table here, but they can write one."""

LIMIT = "table"
_ROWS_AT_ONCE = 4096

Choose: TypeAlias = Callable[[Sequence[str]], Sequence[int]]
"""From the names of all columns to the places of those that are wanted."""

Row: TypeAlias = tuple[str, list[Any]]
"""Where it stands (`line 7`), and its cells in the order of what was chosen; None for one that is not there."""


Reader: TypeAlias = Callable[[Path, Choose], Iterator[Row]]


def is_table(name: str) -> bool:
    """Whether a file is one, by its name."""
    return name.lower().endswith(TABLES)


def table_rows(path: Path, choose: Choose, lists: bool = False) -> Iterator[Row]:
    """Raises DataError for what cannot be read, and for rows that do not fit the columns.

    `lists`: whether a cell of Parquet may be a list; in JSON Lines whoever asks for it says what it may be.
    """
    suffix = path.suffix.lower()
    of_parquet = partial(_of_parquet, lists=lists)
    known: Mapping[str, Reader] = {".parquet": of_parquet, ".jsonl": _of_json, ".ndjson": _of_json}
    read = known.get(suffix, _of_csv)
    try:
        yield from read(path, choose)
    except UnicodeDecodeError as error:
        raise DataError(f"table {path}: is not UTF-8 text. Cure: save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"table {path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, csv.Error) as error:
        first, *_ = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"table {path}: cannot be read ({first.rstrip('.')}). Cure: write it anew") from error


def _of_csv(path: Path, choose: Choose) -> Iterator[Row]:
    with open_lines(path, LIMIT) as lines:
        first = next(lines, "").removeprefix("\ufeff")  # which spreadsheets begin UTF-8 with
        count = 1

        def counted() -> Iterator[str]:
            nonlocal count
            yield first
            for line in lines:
                count += 1
                yield line

        rows = read_rows(counted(), raw=True, delimiter=_delimiter(path, first))
        columns = [name.strip() for name in next(rows, [])]
        places = choose(columns)
        for row in rows:
            if not row:
                continue  # an empty line
            if len(row) != len(columns):
                raise DataError(f"table {path}: line {count} has {len(row)} cells, expected {len(columns)}, as the "
                                "first has. Cure: put a cell with a comma in it into quotes")  # fmt: skip
            yield f"line {count}", [row[place] for place in places]


def _delimiter(path: Path, first: str) -> str:
    """A comma, or a tab; or a semicolon, which spreadsheets write where a comma is in their numbers."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in ",;\t" if mark in first), ",")


def _of_json(path: Path, choose: Choose) -> Iterator[Row]:
    with open_lines(path, LIMIT) as lines:
        names, wanted = None, list[str]()
        for number, line in enumerate(lines, start=1):
            line = line.removeprefix("\ufeff") if number == 1 else line
            if not line.strip():
                continue
            row = parse_json(line)
            if not isinstance(row, dict):
                raise DataError(f"table {path}: line {number} is no JSON object. Expected one in each line, such as "
                                '{"path": "a.jpg", "label": "ants"}')  # fmt: skip
            if names is None:
                names = list(row)
                wanted = [names[place] for place in choose(names)]
            if new := sorted(row.keys() - names):
                raise DataError(f"table {path}: line {number} has {new[0]!r}, which the first has not. "
                                "Cure: give every line the same keys")  # fmt: skip
            yield f"line {number}", [row.get(name) for name in wanted]
        if names is None:
            choose([])


def _of_parquet(path: Path, choose: Choose, lists: bool) -> Iterator[Row]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except Exception as error:  # one whose libraries do not fit raises whatever it likes
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        cure = "Cure: pip install 'xfer-vision[tables]', or write the table as CSV"
        raise DataError(f"table {path}: pyarrow cannot be imported ({first}). {cure}") from error
    most = limit(LIMIT)
    try:
        with open_regular(path) as raw, parquet.ParquetFile(raw) as whole:
            schema = whole.schema_arrow
            texts = [part.name for part in schema if arrow.types.is_string(part.type)]
        # A text that a million rows share is then one text here as well, and not a million.
        with open_regular(path) as raw, parquet.ParquetFile(raw, read_dictionary=texts) as file:
            about = file.metadata
            groups = (about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            size = max(os.fstat(raw.fileno()).st_size, sum(map(abs, groups)), about.num_rows)
            if size > most:
                cure = f"Cure: {variable_of(LIMIT)}"
                raise DataError(f"table {path}: more than {most:,} bytes when it is unpacked. {cure}")
            places = choose(names := schema.names)
            for part in (schema.field(place) for place in places):
                if arrow.types.is_nested(part.type) and not (lists and _is_list(part.type)):
                    raise DataError(f"table {path}: column {part.name!r} holds {part.type}, expected texts")
            number = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list({names[place] for place in places})):
                columns = [_cells(batch.column(names[place])) for place in places]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield f"row {number}", list(cells)
    except (arrow.ArrowException, KeyError) as error:
        raise ValueError(str(error)) from error


def _is_list(kind: Any) -> bool:
    """Whether a type of pyarrow's is of lists of what is not nested itself."""
    from pyarrow import types

    of_lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return of_lists and not types.is_nested(kind.value_type)


def _cells(column: Any) -> list[Any]:
    """Of a column of pyarrow's, those that are one text in it as one object."""
    if not hasattr(column, "dictionary"):
        cells: list[Any] = column.to_pylist()
        return cells
    texts = column.dictionary.to_pylist()
    return [None if place is None else texts[place] for place in column.indices.to_pylist()]
