"""Folders as labels: a picture has those of every folder on the way to it, and copies of it have all of theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xfer.arrays import Int64
from xfer.data.files import Files
from xfer.data.layout import (
    ROLES,
    WRAPPERS,
    Splits,
    has_suffix,
    named_for,
    refuse_no_text,
    role_of,
    subfolders,
    unwrapped,
    walk,
    walk_files,
)
from xfer.data.lists import Skipped
from xfer.data.scan import MANY, NOT_A_SUFFIX
from xfer.data.split import Split, take
from xfer.errors import DataError
from xfer.multilabel import SEPARATORS
from xfer.progress import Progress, silent


def nested_splits(root: Path) -> Splits:
    """Of DIR/{train,val,test}/label/... or DIR/label/..., with single folders around either entered.

    Raises DataError for a train folder with nothing beside it.
    """
    folder = root
    for _ in range(WRAPPERS):
        inside = subfolders(folder)
        train, val, test = (named_for(role, inside) for role in ROLES)
        if train and (held_out := val or test):
            kept = folder / test if val and test else None
            return Splits(unwrapped(folder / train), unwrapped(folder / held_out), kept)
        if len(inside) != 1 or not subfolders(folder / inside[0]) or any(f.is_file() for f in folder.iterdir()):
            break
        folder = folder / inside[0]
    return Splits(folder)


def label_names(part: Path) -> tuple[str, ...]:
    """The names of all folders below that of a split, sorted; one that is there twice is one label.

    Raises DataError for a name that is none: no UTF-8, with | or ; in it, or a split's, which would become a label.
    """
    names = set[str]()
    for path, _ in walk(str(part)):
        if path == str(part):
            continue
        name = os.path.basename(path)
        refuse_no_text(part, name)
        if any(mark in name for mark in SEPARATORS):
            raise DataError(f"data {path}: a label has no | or ; in its name. Cure: rename the folder")
        if role_of(name) is not None:
            raise DataError(f"data {path}: is called after a split, and lies where folders are labels. "
                            "Cure: train and val folders on top, or another name")  # fmt: skip
        names.add(name)
    if not names:
        raise DataError(f"data {part}: no folders in it, so that no picture has a label. Cure: a folder for each label")
    return tuple(sorted(names))


def scan_nested(
    part: Path, classes: Sequence[str], suffixes: Sequence[str], progress: Progress = silent
) -> tuple[Split, list[Skipped]]:
    """All files with the suffixes, folder by folder, with labels (n, C); and those without.

    A picture that lies in no folder has no label.
    """
    skipped, rows = list[Skipped](), list[list[int]]()
    places = {name: place for place, name in enumerate(classes)}

    def names() -> Iterator[str]:
        for inside in walk_files(str(part)):
            if not has_suffix(inside, suffixes):
                skipped.append(Skipped(str(part / inside), NOT_A_SUFFIX))
                continue
            rows.append([places[name] for name in inside.split(os.sep)[:-1]])
            yield inside
            if not len(rows) % MANY:
                progress("listing pictures", len(rows), None)

    files = Files.below(str(part), names())
    labels = np.zeros((len(rows), len(classes)), np.int64)
    for row, own in zip(labels, rows, strict=True):
        row[own] = 1
    return Split(files, labels), skipped


def with_copies_joined(split: Split) -> tuple[Split, Int64, list[Skipped]]:
    """Each picture once, with the labels of all of its copies, which have the same bytes; their places; and the others.

    Of copies the first stays.
    """
    assert split.digests is not None
    _, first, same = np.unique(split.digests, axis=0, return_index=True, return_inverse=True)
    owner = first[same.reshape(-1)]
    again = np.flatnonzero(owner != np.arange(len(owner)))
    if not len(again):
        return split, np.arange(len(owner)), []
    labels = split.labels.copy()
    np.maximum.at(labels, owner[again], split.labels[again])
    skipped = [Skipped(split.files[i], f"a copy of {split.files[owner[i]]}, which has its labels too") for i in again]
    keep = np.flatnonzero(owner == np.arange(len(owner)))
    return take(replace(split, labels=labels), keep), keep, skipped
