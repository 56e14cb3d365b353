"""Data sets by their addresses: archives, tables and folders elsewhere, and tables whose pictures have addresses."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urljoin

from xfer.data.archives import LONGEST, is_archive, unpack
from xfer.data.columns import Columns, Task, find_columns
from xfer.data.fetched import Wanted, fetched, is_kept, names_kept, place_of
from xfer.data.layout import has_suffix, is_hidden
from xfer.data.made import UNPACKED
from xfer.data.rows import Row, is_table, table_rows
from xfer.errors import DataError
from xfer.pixels.images import MORE_SUFFIXES, SUFFIXES
from xfer.progress import Progress
from xfer.system import remote
from xfer.system.addresses import WEB, file_name, given, is_address, protocol_of, public, urlsplit_of
from xfer.system.doors import open_regular
from xfer.system.files import json_text, write_text

_CHUNK = 2**20
_MARK = b"://"


def open_address(source: str, columns: Columns, task: Task, cache: Path, progress: Progress) -> tuple[str, Path]:
    """The name of a set, and its folder or table below `cache`. Raises DataError where it cannot be had.

    What is kept is compared with what there is elsewhere, and used as it is where nobody answers.
    """
    address = given(source)
    name = file_name(address)
    shown, place = public(address), place_of(cache, public(address))
    short = name.split(".")[0]
    if not (is_archive(Path(name)) or is_table(name)):
        return short, _folder(address, place, progress)
    inside = name_below(address) if is_table(name) else name
    wanted = Wanted(address, inside, _now(address, is_kept(place, [inside])))
    files, gone = fetched(place, [wanted], shown, progress, all_bytes=True)
    if gone:
        raise DataError(f"data {shown}: there is nothing. Cure: look at the address")
    if is_archive(Path(name)):
        return short, unpack(files / inside, cache / UNPACKED, progress)
    return short, _with_pictures(_Rows(files / inside, columns, task), address, place, progress)


def with_pictures(table: Path, columns: Columns, task: Task, cache: Path, progress: Progress) -> Path:
    """A table on this machine; where pictures in it have addresses, one that names where they are kept instead."""
    if not _may_name_addresses(table):
        return table
    return _with_pictures(_Rows(table, columns, task), "", place_of(cache, f"pictures of {table}"), progress)


def _now(address: str, kept: bool) -> remote.Found | None:
    """What is told of a file now; None where nobody tells and it is kept."""
    try:
        return remote.look(address)
    except DataError:
        if kept:
            return None
        raise


def _folder(address: str, place: Path, progress: Progress) -> Path:
    """Pictures alone: by their suffixes, and nothing hidden."""
    shown, suffixes = public(address), (*SUFFIXES, *MORE_SUFFIXES)
    try:
        listed = remote.listing(address.rstrip("/"))
    except DataError:
        if not (names := names_kept(place)):
            raise
        listed = {name: remote.Found() for name in names}  # nobody answers
    wanted = []
    for name, found in sorted(listed.items()):
        parts = PurePosixPath(name).parts
        if has_suffix(name, suffixes) and not any(map(is_hidden, parts)):
            _refuse_name(parts, shown)
            wanted.append(Wanted(f"{address.rstrip('/')}/{name}", name, found))
    if not wanted:
        raise DataError(f"data {shown}: no pictures in it. Expected one folder of them for each class")
    return fetched(place, wanted, shown, progress, alone=True)[0]


def _refuse_name(parts: Sequence[str], shown: str) -> None:
    wrong = any(part in ("", ".", "..", "/") or "\0" in part or len(os.fsencode(part)) > LONGEST for part in parts)
    if wrong or not parts:
        raise DataError(f"data {shown}: {'/'.join(parts)!r} is no name of a file here. Cure: rename it there")


def name_below(address: str) -> str:
    """Where a file by its address lies below `files`: protocol, host and path, each part as it is written there."""
    parts = urlsplit_of(address)
    path = posixpath.normpath("/" + unquote(parts.path, errors="surrogateescape")).strip("/")
    host = parts.netloc.rpartition("@")[2].replace(":", "_") or "here"
    inside = PurePosixPath(protocol_of(address), host, path)
    if parts.query:
        mark = hashlib.blake2b(public(address).partition("?")[2].encode(), digest_size=6).hexdigest()
        inside = inside.with_name(f"{inside.stem}-{mark}{inside.suffix}")
    _refuse_name(inside.parts, public(address))
    return str(inside)


def _may_name_addresses(table: Path) -> bool:
    """Whether the bytes of an address's mark stand anywhere in it. Those of Parquet may be packed."""
    if table.suffix.lower() == ".parquet":
        return True
    before = b""
    try:
        with open_regular(table) as file:
            while chunk := file.read(_CHUNK):
                if _MARK in before + chunk or b":\\/\\/" in before + chunk:
                    return True
                before = chunk[-8:]
    except OSError:  # whoever reads it says why
        pass
    return False


def _with_pictures(rows: _Rows, base: str, place: Path, progress: Progress) -> Path:
    """A table like this one, with the names of what was fetched for addresses. `base`: the address it was fetched from.

    Its lines are the same, so that a message about one of them holds for both.
    """
    table, known, here = rows.table, dict[str, str](), False
    for where, cell in rows.paths():
        here = here or (isinstance(cell, str) and is_address(cell))
        is_new = isinstance(cell, str) and cell.strip() and cell not in known
        if is_new and (address := _address(cell, base, table, where)) is not None:
            known[cell] = address
    if not (known or here):
        return table
    names = {cell: name_below(address) for cell, address in known.items()}
    wanted = {names[cell]: Wanted(given(address), names[cell]) for cell, address in known.items()}
    about = f"pictures of {public(base) or table}"
    files, gone = fetched(place, list(wanted.values()), about, progress)
    if wanted and len(gone) == len(wanted):
        first = public(next(iter(wanted.values())).address)
        why = f"there is nothing at {first}, nor where any other picture is said to be"
        raise DataError(f"table {public(base) or table}: {why}. Cure: look at the addresses")
    folder = files / os.path.dirname(name_below(base)) if base else files
    local = {cell: os.path.relpath(files / name, folder) for cell, name in names.items()}
    copy = folder / f"{table.name.rpartition('.')[0]}.{rows.asked}{'.csv' if rows.is_csv else '.jsonl'}"
    write_text(copy, rows.text(local, None if base else table.parent))
    return copy


def _address(cell: str, base: str, table: Path, where: str) -> str | None:
    """Of a cell for paths; None for a file of this machine. Raises DataError for one that a table must not name."""
    if is_address(cell):
        protocol = protocol_of(cell)
        if protocol in ("file", "local"):
            if base:
                raise _foreign(cell, table, where)
            return None
        if base and protocol not in (*WEB, protocol_of(base)):
            raise _foreign(cell, table, where)
        return cell
    if not base:
        return None
    if os.path.isabs(cell) or PurePosixPath(cell).is_absolute() or "\\" in cell or "\0" in cell:
        raise _foreign(cell, table, where)
    return joined(base, cell)


def _foreign(cell: str, table: Path, where: str) -> DataError:
    shown = public(cell) if is_address(cell) else cell
    why = "is neither a file beside this table, which is from elsewhere, nor on the web, which is refused"
    return DataError(f"table {table}: {where}: {shown[:100]!r} {why}. Cure: copy the table here, and give its path")


def joined(base: str, name: str) -> str:
    """The address of a file by its path in the folder of another: urllib joins those of the web alone."""
    parts = urlsplit_of(base)
    folder = posixpath.dirname(parts.path)
    if protocol_of(base) in WEB:
        return urljoin(base, quote(name))
    path = posixpath.normpath(f"/{folder}/{name}").lstrip("/")
    host = f"{parts.netloc}/" if parts.path else ""  # memory://labels.csv is all path
    return f"{parts.scheme}://{host}{path}"


class _Rows:
    """The rows of a table, with all columns that can be written again. Lines as they are in the file."""

    def __init__(self, table: Path, columns: Columns, task: Task) -> None:
        self.table, self.columns, self.task = table, columns, task
        self.is_csv = table.suffix.lower() in (".csv", ".tsv")
        self.names: list[str] = []
        self.at = 0

    def _choose(self, names: Sequence[str]) -> list[int]:
        places = find_columns(self.table, names, self.columns, self.task)
        of_roles = sorted({place for place in places if isinstance(place, int)})
        chosen = of_roles if self.table.suffix.lower() == ".parquet" else list(range(len(names)))
        self.names, self.at = [names[place] for place in chosen], chosen.index(places.path)
        return chosen

    @property
    def asked(self) -> str:
        """A mark of what decides which columns these are."""
        asked = self.columns.model_dump_json() + ("" if self.task == "classification" else self.task)
        return hashlib.blake2b(asked.encode(), digest_size=4).hexdigest()

    def _rows(self) -> Iterator[Row]:
        return table_rows(self.table, self._choose, lists=self.task == "multilabel")

    def paths(self) -> Iterator[tuple[str, Any]]:
        for where, cells in self._rows():
            yield where, cells[self.at]

    def text(self, local: dict[str, str], folder: Path | None) -> str:
        """`local`: names of files for cells. `folder`: of the table, where others are relative to it."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if self.is_csv:
            writer.writerow(self.names)
        line = out.getvalue().count("\n")
        with closing(self._rows()) as rows:  # type: ignore[type-var]
            for where, cells in rows:
                cells[self.at] = _moved(cells[self.at], local, folder)
                row = io.StringIO()
                if self.is_csv:
                    csv.writer(row, lineterminator="\n").writerow(cells)
                else:
                    row.write(json_text(dict(zip(self.names, cells, strict=True))) + "\n")
                text = row.getvalue()
                own = text.count("\n")
                number = int(where.split()[1])
                out.write("\n" * max(0, number - own - line) + text)
                line = max(number, line + own)
        return out.getvalue()


def _moved(cell: Any, local: dict[str, str], folder: Path | None) -> Any:
    if not isinstance(cell, str):
        return cell
    if cell in local:
        return local[cell]
    if is_address(cell):  # of a file here
        return unquote(urlsplit_of(cell).path)
    return os.path.join(folder, cell) if folder is not None and cell.strip() else cell
