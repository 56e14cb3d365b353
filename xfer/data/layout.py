"""Finding the splits, the classes and the pictures in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xfer.errors import DataError

HELD_OUT = ("val", "valid", "validation", "test")
"""What the folder beside `train` may be called; the first of these that is there is used."""

WRAPPERS = 8  # folders around a data set that are entered; zips have one or two


@dataclass(frozen=True)
class Layout:
    """Folders of class folders. `val` None: there is one for all, and a part is to be split off."""

    train: Path
    val: Path | None
    classes: tuple[str, ...]


def find_layout(root: Path) -> Layout:
    """Of DIR/{train,val}/class/... or DIR/class/..., with single folders around either entered.

    Classes are the names of the folders, sorted. Raises DataError where there are none, only one, or others in val
    than in train.
    """
    train, val = find_splits(root)
    return Layout(train, val, _classes(train) if val is None else _same_classes(train, val))


def find_splits(root: Path) -> tuple[Path, Path | None]:
    """As `find_layout`, but looks at no classes: the folder for training, and that for validation where there is one.

    Raises DataError for a train folder alone.
    """
    folder = root
    for _ in range(WRAPPERS):
        inside = subfolders(folder)
        splits = {name.lower(): folder / name for name in reversed(inside)}
        val = next((splits[name] for name in HELD_OUT if name in splits), None)
        if "train" in splits and val is not None:
            return splits["train"], val
        if "train" in splits and subfolders(splits["train"]):
            raise DataError(
                f"data {folder}: train has no {', '.join(HELD_OUT[:-1])} or {HELD_OUT[-1]} beside it. "
                f"Cure: add one, or give {splits['train']}, and a part of it is split off"
            )
        if len(inside) != 1 or not subfolders(folder / inside[0]):
            break
        folder = folder / inside[0]
    return folder, None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones. Raises DataError where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not is_hidden(e.name))
    except OSError as error:
        raise DataError(f"data {folder}: cannot be read ({error.strerror or error})") from error


def is_hidden(name: str) -> bool:
    """Whether a name is of something that tools left behind: .ipynb_checkpoints, .DS_Store, ._x.jpg, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def walk_files(folder: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it, in torchvision's order. Links are followed, not in circles.

    Raises DataError for a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"data {error.filename}: cannot be read ({error.strerror})") from error

    def visits() -> Iterator[tuple[str, list[str]]]:
        for path, folders, files in os.walk(folder, onerror=fail, followlinks=True):
            folders[:] = [f for f in folders if not is_hidden(f) and not _is_circle(path, f)]
            yield path, files

    for path, files in sorted(visits()):
        inside = os.path.relpath(path, folder)
        for name in sorted(files):
            if not is_hidden(name):
                yield os.path.normpath(os.path.join(inside, name))


def has_suffix(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a name ends with one of the suffixes, in upper or lower case."""
    return name.lower().endswith(tuple(s.lower() for s in suffixes))


def _is_circle(parent: str, name: str) -> bool:
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(parent)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in a split, sorted. Raises DataError where there are none, or one is no text."""
    names = subfolders(folder)
    for name in names:
        if not name.isprintable() and any("\udc80" <= char <= "\udcff" for char in name):
            # Names of classes are in every checkpoint, and what is written there has to be read everywhere.
            raise DataError(f"data {folder}: the name of the class folder {name!a} is not UTF-8. Cure: rename it")
    if not names:
        raise DataError(f"data {folder}: no class folders in it. Expected one folder of pictures for each class")
    return names


def two_or_more(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes. Raises DataError for only one."""
    if len(names) == 1:
        raise DataError(f"data {folder}: only one class, '{names[0]}'. Expected two or more class folders")
    return tuple(names)


def _classes(folder: Path) -> tuple[str, ...]:
    return two_or_more(folder, class_names(folder))


def _same_classes(train: Path, val: Path) -> tuple[str, ...]:
    ours, theirs = _classes(train), _classes(val)
    if ours != theirs:
        differences = [
            f"only in {folder.name}: {', '.join(sorted(set(names) - set(others)))}"
            for folder, names, others in ((train, ours, theirs), (val, theirs, ours))
            if set(names) - set(others)
        ]
        raise DataError(
            f"data {train.parent}: {train.name} and {val.name} hold different classes ({'; '.join(differences)}). "
            "Cure: give both the same class folders"
        )
    return ours
