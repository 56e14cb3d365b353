"""Which column of a table says what: by usual names, or as a recipe names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from xfer.errors import DataError, nearest
from xfer.section import Section

Task = Literal["classification", "multilabel"]
"""Whether a picture has one label, or any number of them, also none."""

Name = Annotated[str, Field(min_length=1, max_length=1000)]


class Columns(Section):
    """Names of columns of `data.source`, where that is a table; None: the one with a usual name, see USUAL."""

    path: Name | None = None
    label: Name | None = None
    split: Name | None = None
    group: Name | None = None
    weight: Name | None = None


AS_USUAL = Columns()

USUAL: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
        "img",
        "img_path",
    ),
    "label": ("label", "class", "class_name", "target", "category"),
    "split": ("split", "set", "subset"),
    "group": ("group", "group_id", "patient", "patient_id", "subject", "subject_id"),
    "weight": ("weight", "sample_weight"),
}
"""In upper or lower case, with blanks or hyphens for underscores."""

LABELS = ("labels", "tags", "classes")
"""Usual names of the column of several labels. One of these is taken before one that is usual for a single label."""

NEEDED = ("path", "label")
MOST_COLUMNS = 10_000
_MOST_NAMED, _LONGEST = 20, 40  # columns in a message, and characters of each


class Places(NamedTuple):
    """Of the columns of a table. None: there is no such column."""

    path: int
    label: int
    split: int | None
    group: int | None
    weight: int | None


def find_columns(table: Path, names: Sequence[str], columns: Columns, task: Task = "classification") -> Places:
    """Raises DataError for a column that is not there, and where two may be meant."""
    if len(names) > MOST_COLUMNS:
        cure = "Cure: write only those of path, label, split, group and weight"
        raise DataError(f"table {table}: {len(names):,} columns, expected at most {MOST_COLUMNS:,}. {cure}")
    if not names:
        raise DataError(f"table {table}: is empty. Expected a row for each picture, with columns path and label")
    usual = USUAL
    plural = [name for name in names if _plain(name) in LABELS]
    if task == "multilabel" and plural:
        usual = {**USUAL, "label": LABELS}
    elif plural and not columns.label and not any(_plain(name) in USUAL["label"] for name in names):
        cure = f'data.task = "multilabel" if it holds several; else data.columns = {{ label = "{_short(plural[0])}" }}'
        raise DataError(f"table {table}: column {plural[0]!r} in place of one for the label. Cure: {cure}")
    path, label, *others = (_place(table, names, role, getattr(columns, role), usual) for role in USUAL)
    assert path is not None
    assert label is not None
    return Places(path, label, *others)


def _place(
    table: Path, names: Sequence[str], role: str, asked: str | None, of_role: Mapping[str, Sequence[str]]
) -> int | None:
    listed = ", ".join(map(_short, names[:_MOST_NAMED])) + (", ..." if len(names) > _MOST_NAMED else "")
    found = [i for i, name in enumerate(names) if (name == asked if asked else _plain(name) in of_role[role])]
    if len(found) > 1:
        which = " and ".join(repr(_short(names[i])) for i in found[:2])
        cure = (
            f'Cure: data.columns = {{ {role} = "{_short(names[found[0]])}" }}'
            if not asked
            else "Cure: rename one of them"
        )
        raise DataError(f"table {table}: columns {which} may both be the {role}. {cure}")
    if found:
        return found[0]
    if asked:
        known = f"expected one of {listed}.{nearest(asked, [name for name in names if len(name) <= _LONGEST])}"
        raise DataError(f"table {table}: no column {asked!r}, which data.columns has for the {role}: {known}")
    if role in NEEDED:
        usual = ", ".join(USUAL[role][:4])
        cure = f'Cure: data.columns = {{ {role} = "{_short(names[0])}" }}, or rename a column'
        raise DataError(f"table {table}: no column for the {role} ({usual}, ...) among {listed}. {cure}")
    return None


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
