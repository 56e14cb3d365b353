"""What the splits of a data set are before any picture is looked at: folders of class folders, or rows of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xfer.data.columns import AS_USUAL, Columns, Task
from xfer.data.layout import class_names, find_splits, refuse_unknown, two_or_more, unwrapped
from xfer.data.lists import Skipped
from xfer.data.nested import label_names, nested_splits, scan_nested
from xfer.data.rows import is_table
from xfer.data.scan import scan, suffixes_cure
from xfer.data.split import Split
from xfer.data.table import Rows, read_table
from xfer.errors import DataError
from xfer.multilabel import class_counts, placed, several
from xfer.progress import Progress, silent

HeldOut = Literal["val", "test"]
"""Of a set with three splits: what training validates with, or what it never reads."""


@dataclass(frozen=True, eq=False)
class Part:
    """One split. `place`: its folder; of a table the table's path and the split's name, for messages.

    `nested`: every folder on the way to a picture is a label of it.
    """

    place: Path
    rows: Rows | None = None
    nested: bool = False

    @property
    def present(self) -> tuple[str, ...]:
        """The classes it has, sorted. Raises DataError where a folder has none."""
        if self.rows is not None:
            return self.rows.classes
        return label_names(self.place) if self.nested else tuple(class_names(self.place))


class Parts(NamedTuple):
    """As `xfer.data.layout.Splits`."""

    train: Part
    val: Part | None = None
    test: Part | None = None


def find_parts(
    source: Path, columns: Columns = AS_USUAL, progress: Progress = silent, task: Task = "classification"
) -> Parts:
    """Of a folder or a table. Raises DataError as `find_splits` and `read_table`, and for a table without train."""
    if not is_table(source.name) or source.is_dir():
        nested = task == "multilabel"
        train, *held_out = nested_splits(source) if nested else find_splits(source)
        return Parts(
            Part(train, None, nested), *(Part(folder, None, nested) if folder else None for folder in held_out)
        )
    rows = read_table(source, columns, progress, task)
    if len(rows) == 1:  # the only split is all there is, as where one folder is wrapped in another
        return Parts(Part(source, next(iter(rows.values()))))
    if "train" not in rows:
        found = " and ".join(rows)
        raise DataError(f"data {source}: has rows of {found}, and none of train. Cure: call the others train")
    named = {role: Part(source / role, rows[role]) for role in rows}
    if "val" not in named:
        return Parts(named["train"], named["test"])
    return Parts(named["train"], named["val"], named.get("test"))


def classes_of(parts: Parts) -> tuple[str, ...]:
    """Those of train. Raises DataError where there is only one, or where val has others; test is not looked into."""
    classes = _two_or_more(parts.train, parts.train.present, parts.train.place)
    if parts.val is not None:
        _refuse_unknown(parts.train, classes, parts.val)
    return classes


def all_classes(parts: Sequence[Part], root: Path) -> tuple[str, ...]:
    """Those of any of them, sorted. Raises DataError where there is only one."""
    place = parts[0].place.parent if len(parts) > 1 else root
    return _two_or_more(parts[0], sorted(set(chain.from_iterable(part.present for part in parts))), place)


def _refuse_unknown(train: Part, classes: Sequence[str], part: Part) -> None:
    given = "labels" if part.rows else "class folders"
    refuse_unknown(train.place, classes, part.place, part.present, given)


def _two_or_more(part: Part, names: Sequence[str], place: Path) -> tuple[str, ...]:
    if part.nested or (part.rows is not None and several(part.rows.split.labels)):
        return tuple(names)
    if part.rows is not None and len(names) == 1:
        raise DataError(f"data {place}: only one class, {names[0]!r}. Expected two labels or more, a row a picture")
    return two_or_more(place, names)


def chosen(parts: Parts, held_out: HeldOut, whole: bool) -> list[Part]:
    """Those to read: train, and what is held out, where there is any."""
    train, val, test = parts
    if held_out == "test" and test is None and not (whole and val is None):
        validated = f"with {val.place.name}" if val else "on a part of it"
        why = f"training validates {validated}, and no third split lies beside {'them' if val else 'it'}"
        kind = "folder" if train.rows is None else "rows"
        raise DataError(f"data {train.place}: no test {kind}: {why}. Cure: --split val, or --data with test pictures")
    if val is None:
        return [train]
    if held_out == "test" and test:
        return [train, test if test.rows else replace(test, place=unwrapped(test.place))]
    return [train, val]


def listed(
    part: Part, train: Part, classes: Sequence[str], suffixes: Sequence[str], progress: Progress
) -> tuple[Split, list[Skipped]]:
    """The files of a part that may lack some of the classes, with labels that count all of them."""
    present = part.present
    if part is not train:
        _refuse_unknown(train, classes, part)
    split, ignored = files_of(part, suffixes, progress)
    return replace(split, labels=placed(split.labels, np.searchsorted(classes, present), len(classes))), ignored


def files_of(part: Part, suffixes: Sequence[str], progress: Progress) -> tuple[Split, list[Skipped]]:
    """All files, with labels that count the part's own classes; and what is no picture of it.

    A row names its file, whatever suffix that has.
    """
    if part.nested:
        return scan_nested(part.place, part.present, suffixes, progress)
    if part.rows is None:
        return scan(part.place, part.present, suffixes, progress)
    return part.rows.split, list(part.rows.skipped)


def refuse_empty(
    parts: Sequence[Part], splits: Sequence[Split], classes: Sequence[str], skipped: Sequence[Skipped]
) -> None:
    """Raises DataError for a class that nothing can be learned of, and where nothing at all is held out."""
    inside = "folder" if parts[0].rows is None else "label"
    for label in np.flatnonzero(class_counts(splits[0].labels, len(classes)) == 0):
        place = parts[0].place / ("..." if parts[0].nested else "") / classes[label]
        why, cure = _lost(parts[0], place, skipped, f"add pictures, or remove the {inside}")
        raise DataError(f"data {place}: no picture in this class{why}. Cure: {cure}")
    for part, split in list(zip(parts, splits, strict=False))[1:]:
        if not len(split.labels):
            why, cure = _lost(part, part.place, skipped, "add pictures")
            raise DataError(f"data {part.place}: no picture in any class{why}. Cure: {cure}")


def _lost(part: Part, place: Path, skipped: Sequence[Skipped], cure: str) -> tuple[str, str]:
    """What was left out of a part, for a message, and its cure, or the given one where no better one is known."""
    inside = f"{place}{os.sep}"
    lost = [s for s in skipped if part.rows or part.nested or s.path.startswith(inside)]
    why = f" ({len(lost)} files left out, the first: {lost[0].path}: {lost[0].reason})" if lost else ""
    if part.rows:
        return why, f"{cure}; paths are relative to the table's folder, or absolute"
    return why, suffixes_cure(lost) or cure
