"""A table as a data set: a row for each picture, in the order that the same pictures have in class folders."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from xfer.arrays import Int64
from xfer.data.columns import Columns, Task, find_columns
from xfer.data.files import Files
from xfer.data.layout import ROLES, role_of
from xfer.data.lists import Skipped
from xfer.data.rows import table_rows
from xfer.data.split import Split
from xfer.errors import DataError, expected
from xfer.multilabel import several
from xfer.progress import Progress, silent
from xfer.system.limits import limit, variable_of
from xfer.system.memory import shortage

MANY = 100_000  # rows between two tellings of how many are read
ROW = 300  # bytes that sorting and parting takes for each of them, at least
MOST_WEIGHT = 1_000_000  # as of a class
LONGEST_LABEL = 255  # bytes, as of a class folder
TWICE = "in more than one row of the table"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BETWEEN = re.compile(r"[|;]")
_SEVERAL = re.compile(r"\[.*\]|[^|;]+([|;][^|;]+)+", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one split. `classes` are those it has, sorted, and its labels count them."""

    split: Split
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass
class _Read:
    """What the rows say so far. Labels and groups are numbers of texts, in the order in which these are first met."""

    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # none where there is no such column
    at: dict[str, int] = field(default_factory=dict)
    classes: dict[str | tuple[str, ...], int] = field(default_factory=dict)
    known_groups: dict[str | int, int] = field(default_factory=dict)
    again: dict[tuple[str, str], None] = field(default_factory=dict)  # names with a row in another split as well
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_table(
    path: Path, columns: Columns, progress: Progress = silent, task: Task = "classification"
) -> dict[str, Rows]:
    """The rows of each split by its role (`train`, `val`, `test`); without a column for splits, all are `train`.

    Paths are relative to the table's folder, or absolute; the files are not looked at. Raises DataError for a table
    that cannot be read, and for a row that says nothing usable: no path, an address that nobody has put a path in the
    place of, no label or several, an unknown split, no weight where there is a column for it. `multilabel`: a row has
    any number of labels, and those of the splits are (n, C).
    """
    read, folder, many = _Read(), str(path.parent), task == "multilabel"
    asked = has_groups = has_weights = False

    def choose(names: Sequence[str]) -> list[int]:
        nonlocal asked, has_groups, has_weights
        places = find_columns(path, names, columns, task)
        asked, has_groups = places.split is not None, places.group is not None
        has_weights = places.weight is not None
        return [place for place in places if place is not None]

    for number, (where, cells) in enumerate(table_rows(path, choose, lists=many)):
        name, label = _name(folder, cells[0], path, where), cells[1]
        if many:
            label = _labels(label, path, where)
        elif not (isinstance(label, str) and label in read.classes):
            label = _label(label, path, where)
        role = _role(cells[2], path, where) if asked else "train"
        weight = _weight(cells[-1], path, where) if has_weights else None
        _add(read, name, label, role, cells[2 + asked] if has_groups else None, weight, path, where)
        if not (number + 1) % MANY:
            _refuse_many(path, number + 1)
            progress(f"reading {path.name}", number, None)
    _refuse_many(path, len(read.names) + len(read.skipped))
    if not read.names:
        raise DataError(f"table {path}: has no rows. Expected one for each picture")
    if many:
        _refuse_wide(read, path)
    return _parted(read, folder, has_groups, many)


def _refuse_many(path: Path, count: int) -> None:
    """Raises DataError for more rows than are allowed, or than there is room for."""
    most = limit("table_rows")
    if count > most:
        raise DataError(f"table {path}: more than {most:,} rows. Cure: {variable_of('table_rows')}")
    if short := shortage(count * ROW):
        raise DataError(f"table {path}: {count:,} rows so far: {short}. Cure: fewer pictures at a time")


def _refuse_wide(read: _Read, path: Path) -> None:
    """Raises DataError for labels that no row has, and for more of them than there is room for."""
    names = {name for own in read.classes for name in own}
    if not names:
        raise DataError(f"table {path}: no row has a label. Cure: another column, data.columns = {{ label = ... }}")
    if short := shortage(8 * len(read.names) * len(names)):
        raise DataError(f"table {path}: {len(read.names):,} rows of {len(names):,} labels: {short}. Cure: fewer labels")


def _add(
    read: _Read,
    name: str,
    label: str | tuple[str, ...],
    role: str,
    group: Any,
    weight: float | None,
    path: Path,
    where: str,
) -> None:
    number = read.classes.setdefault(label, len(read.classes))
    first = read.at.setdefault(name, len(read.names))
    if first < len(read.names):
        if read.labels[first] != number:
            other = next(text for text, place in read.classes.items() if place == read.labels[first])
            raise DataError(f"table {path}: {where} gives {_shown(name)} the label {label!r}, and a row before it "
                            f"{other!r}. Cure: remove one of them")  # fmt: skip
        if weight is not None and read.weights[first] != weight:
            raise DataError(f"table {path}: {where} gives {_shown(name)} the weight {weight:g}, and a row before it "
                            f"{read.weights[first]:g}. Cure: remove one of them")  # fmt: skip
        if read.roles[first] == role or (name, role) in read.again:
            read.skipped.append((role, name))
            return
        read.again[name, role] = None
    together = "" if group is None else str(group).strip()
    # One without a group is its own: no text is equal to a number
    read.groups.append(read.known_groups.setdefault(together or len(read.names), len(read.known_groups)))
    read.names.append(name)
    read.labels.append(number)
    if weight is not None:
        read.weights.append(weight)
    read.roles.append(role)


def _parted(read: _Read, folder: str, has_groups: bool, many: bool) -> dict[str, Rows]:
    """As `walk_files` would list them: by class, then by folder, then by name; of several labels, without the first."""
    classes, labels = _several(read) if many else _single(read)
    keys = ["\0".join(os.path.split(name)) for name in read.names]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    if not many:
        order = order[np.argsort(labels[order], kind="stable")]
    root = folder
    if any(os.path.isabs(name) for name in read.names):
        root = _common(folder, read.names)
    names = read.names if root == folder else [_below(root, os.path.join(folder, name)) for name in read.names]
    files = Files.below(root, (names[place] for place in order.tolist()))
    roles, groups = np.array(read.roles)[order], np.array(read.groups, np.int64)[order]
    weights = np.array(read.weights)[order] if read.weights else None
    parts = {}
    for role in ROLES:
        places = np.flatnonzero(roles == role)
        if len(places):
            skipped = tuple(Skipped(os.path.join(folder, n), TWICE) for r, n in read.skipped if r == role)
            present, own = _own(labels[order[places]])
            together = groups[places] if has_groups else None
            counting = None if weights is None else weights[places]
            split = Split(files[places], own, groups=together, weights=counting)
            parts[role] = Rows(split, tuple(classes[i] for i in present), skipped)
    return parts


def _single(read: _Read) -> tuple[list[str], Int64]:
    classes = sorted(name for name in read.classes if isinstance(name, str))
    rank = np.empty(len(classes), np.int64)
    rank[[read.classes[name] for name in classes]] = np.arange(len(classes))
    return classes, rank[read.labels]


def _several(read: _Read) -> tuple[list[str], Int64]:
    """The classes and the labels (n, C) of 0 and 1."""
    classes = sorted({name for own in read.classes for name in own})
    places = {name: i for i, name in enumerate(classes)}
    sets = np.zeros((len(read.classes), len(classes)), np.int64)
    for own, number in read.classes.items():
        sets[number, [places[name] for name in own]] = 1
    return classes, sets[read.labels]


def _own(labels: Int64) -> tuple[Int64, Int64]:
    """The places of the classes that occur, and labels that count these alone."""
    if several(labels):
        present = np.flatnonzero(labels.any(axis=0))
        return present, labels[:, present]
    present, own = np.unique(labels, return_inverse=True)
    return present, own.reshape(-1).astype(np.int64)


def _common(folder: str, names: Sequence[str]) -> str:
    """The folder that all files lie in, at whatever depth."""
    try:
        return os.path.commonpath({os.path.dirname(os.path.join(folder, name)) for name in names})
    except ValueError as error:  # of Windows
        raise DataError(f"data {folder}: a table's pictures lie on several drives. Cure: move them to one") from error


def _below(root: str, path: str) -> str:
    return path[len(os.path.join(root, "")) :]


def _name(folder: str, cell: Any, path: Path, where: str) -> str:
    """The file, relative to the folder where it lies below it; else absolute. `..` goes by names, as in a URL."""
    if not isinstance(cell, str) or not cell.strip():
        raise DataError(f"table {path}: {where} has no path but {_shown(cell)}. Cure: give it one, or remove the row")
    if _URL.match(cell):
        why = "is an address with :// written otherwise, so that it was not fetched"
        raise DataError(f"table {path}: {where}: {_shown(cell)} {why}. Cure: write the table anew, with :// as it is")
    if "\0" in cell or _is_no_text(cell):
        raise DataError(f"table {path}: {where}: {_shown(cell)} is no name of a file. Cure: write the table anew")
    name = os.path.normpath(cell)
    if not (os.path.isabs(name) or name.startswith(os.pardir)):
        return name
    return os.path.normpath(os.path.join(folder, name)).removeprefix(os.path.join(folder, ""))


def _label(cell: Any, path: Path, where: str) -> str:
    """A text; of a number, its text."""
    if isinstance(cell, list | tuple | dict) or (isinstance(cell, str) and _SEVERAL.fullmatch(cell.strip())):
        cure = 'Cure: data.task = "multilabel", or a row for each picture with one label, and no | or ; in it'
        raise DataError(f"table {path}: {where}: {_shown(cell)} is several labels, expected one. {cure}")
    label = "" if cell is None else str(cell).strip()
    if not label:
        raise DataError(f"table {path}: {where} has no label. Cure: give it one, or remove the row")
    if "\0" in label or _is_no_text(label) or len(label.encode()) > LONGEST_LABEL:
        expectation = f"expected a text of at most {LONGEST_LABEL} bytes"
        raise DataError(f"table {path}: {where}: {_shown(label)} is no label: {expectation}. Cure: a shorter name")
    return label


def _labels(cell: Any, path: Path, where: str) -> tuple[str, ...]:
    """Sorted, each once; of an empty cell, none. A text holds them between | or ;."""
    if isinstance(cell, str) and cell.strip().startswith("["):
        raise DataError(f"table {path}: {where}: {_shown(cell)} is a list as text. Cure: labels with | between them")
    if isinstance(cell, dict):
        raise DataError(f"table {path}: {where}: {_shown(cell)} is no list of labels. Cure: write the table anew")
    given = list(cell) if isinstance(cell, list | tuple) else _BETWEEN.split("" if cell is None else str(cell))
    if not isinstance(cell, list | tuple):
        given = [text for text in given if text.strip()]
    if torn := [name for name in given if isinstance(name, str) and _BETWEEN.search(name)]:
        raise DataError(f"table {path}: {where}: the label {_shown(torn[0])} has | or ; in it. Cure: another name")
    return tuple(sorted({_label(name, path, where) for name in given}))


def _role(cell: Any, path: Path, where: str) -> str:
    role = _role_of(cell) if isinstance(cell, str) and len(cell) <= LONGEST_LABEL else None
    if role is None:
        known = [name for names in ROLES.values() for name in names]
        text = expected("split", cell if isinstance(cell, str) and len(cell) <= 40 else _shown(cell), known)
        raise DataError(f"table {path}: {where}: {text} Cure: rename it, or the column")
    return role


def _weight(cell: Any, path: Path, where: str) -> float:
    """A number, also one in the text of a CSV file."""
    try:
        weight = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not 0 <= weight <= MOST_WEIGHT:
        cure = f"expected a number of 0 to {MOST_WEIGHT:,}. Cure: correct it, or rename a column that means another"
        raise DataError(f"table {path}: {where}: {_shown(cell)} is no weight: {cure}")
    return weight


_role_of = lru_cache(maxsize=64)(role_of)  # a million rows have a few names


def _is_no_text(text: str) -> bool:
    """Whether UTF-8 has no bytes for it: half a character, which JSON can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shown(cell: Any) -> str:
    text = ascii(cell) if isinstance(cell, str) and _is_no_text(cell) else repr(cell)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}"
