"""Finding the splits, the classes and the pictures in a folder."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from xfer.data.rows import is_table
from xfer.errors import DataError
from xfer.system.limits import limit, variable_of

ROLES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev", "eval"),
    "test": ("test", "testing"),
}
"""What folders of splits are called, in any case; of several for one split, the first of these is used."""

DECORATION = frozenset({"set", "data", "dataset", "images", "imgs", "seg"})
"""Words beside such a name, that say nothing: seg_train, test_set, Training-Data."""

MOST_NAMED = 20  # classes in a message

WRAPPERS = 8  # folders around a data set that are entered; zips have one or two


class Splits(NamedTuple):
    """Folders of class folders. `val` None: there is one for all, and a part is to be split off.

    `test` is there beside a `val` alone: training never reads it. Where there is only one of them, it is `val`.
    """

    train: Path
    val: Path | None = None
    test: Path | None = None


def find_splits(root: Path) -> Splits:
    """Of DIR/{train,val,test}/class/... or DIR/class/..., with single folders around either entered.

    Raises DataError for a train folder alone, and for class folders that may as well be splits.
    """
    folder = root
    for _ in range(WRAPPERS):
        inside = subfolders(folder)
        train, val, test = (named_for(role, inside) for role in ROLES)
        if train and (held_out := val or test):
            kept = folder / test if val and test else None
            return Splits(unwrapped(folder / train), unwrapped(folder / held_out), kept)
        if train and train.lower() == "train" and subfolders(folder / train):
            raise DataError(
                f"data {folder}: train has no val, valid, validation or test beside it. "
                f"Cure: add one, or give {folder / train}, and a part of it is split off"
            )
        if len(inside) != 1 or not subfolders(folder / inside[0]):
            break
        folder = folder / inside[0]
    _refuse_two_readings(folder)
    return Splits(folder)


def role_of(name: str) -> str | None:
    """Which split a folder is called after: train, val or test; None for any other name."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word and word not in DECORATION]
    core = words[0] if len(words) == 1 else None
    if core is not None:
        core = core.removesuffix("set").removesuffix("data")  # trainset, TrainData
    return next((role for role, names in ROLES.items() if core in names), None)


def named_for(role: str, names: Sequence[str]) -> str | None:
    """The folder of a split: of several, one with a plain name, in the order of ROLES."""
    order = ROLES[role]
    fitting = [name for name in names if role_of(name) == role]
    return min(fitting, key=lambda n: order.index(n.lower()) if n.lower() in order else len(order), default=None)


def unwrapped(split: Path) -> Path:
    """The folder of a split, or the one in it that is called after the same split: seg_train/seg_train/class."""
    inside = subfolders(split)
    if len(inside) == 1 and role_of(inside[0]) == role_of(split.name) and subfolders(split / inside[0]):
        return split / inside[0]
    return split


def _refuse_two_readings(folder: Path) -> None:
    """Raises DataError for folders that all hold the same ones, two or more: either may be the classes."""
    outer = subfolders(folder)
    inner = subfolders(folder / outer[0]) if len(outer) > 1 else []
    if len(inner) < 2 or any(subfolders(folder / name) != inner for name in outer[1:]):
        return
    above, below = (", ".join(names[:4]) + (", ..." if len(names) > 4 else "") for names in (outer, inner))
    raise DataError(
        f"data {folder}: {above} all hold the same folders: {below}. Either {above} are splits of the classes {below}, "
        f"or {above} are the classes and {below} only sort their pictures. Cure for splits: rename the folders to "
        f"train, val and test; for classes: move the pictures of each class up into its folder"
    )


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones. Raises DataError where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if _is_folder(e) and not is_hidden(e.name))
    except OSError as error:
        raise DataError(f"data {folder}: cannot be read ({error.strerror or error})") from error


def is_hidden(name: str) -> bool:
    """Whether a name is of something that tools left behind: .ipynb_checkpoints, .DS_Store, ._x.jpg, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def walk_files(folder: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it, in torchvision's order. Raises DataError as `walk`."""
    for path, files in sorted(walk(folder)):
        inside = os.path.relpath(path, folder)
        before = "" if inside == os.curdir else os.path.join(inside, "")
        files.sort()
        yield from (before + name for name in files)


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """A folder and all below it, in no order, each with the names of its files; hidden ones are left out.

    Links are followed, but not to a folder above, and no folder is entered twice: links that lead to each other would
    never end, and a few that lead to the same ones make millions of paths. A folder itself goes before links to it.
    Raises DataError for a folder that cannot be read, and for more folders inside each other than are allowed.
    """
    seen, most = set[tuple[int, int]](), limit("depth")
    folders, links = deque([(folder, 0)]), deque[tuple[str, int]]()
    while folders or links:
        path, depth = (folders or links).popleft()
        if depth > most:
            raise DataError(f"data {path}: is more than {most} folders deep. Cure: {variable_of('depth')}")
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            files, inside = list[str](), list[tuple[str, bool]]()
            with os.scandir(path) as found:
                for entry in found:
                    if is_hidden(entry.name):
                        continue
                    if _is_folder(entry):
                        inside.append((entry.name, entry.is_symlink()))
                    else:
                        files.append(entry.name)
        except OSError as error:
            raise DataError(f"data {error.filename}: cannot be read ({error.strerror})") from error
        yield path, files
        for name, is_link in inside:
            if not (is_link and _is_above(path, name)):
                (links if is_link else folders).append((os.path.join(path, name), depth + 1))


def has_suffix(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a name ends with one of the suffixes, in upper or lower case."""
    return name.lower().endswith(_lower(tuple(suffixes)))


@lru_cache(maxsize=8)
def _lower(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(suffix.lower() for suffix in suffixes)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link that leads to itself
        return entry.is_dir()
    return False


def _is_above(parent: str, link: str) -> bool:
    """Whether a link in a folder leads to that folder, or to one that it lies in."""
    target, here = os.path.realpath(os.path.join(parent, link)), os.path.realpath(parent)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in a split, sorted. Raises DataError where there are none, or one is no text."""
    names = subfolders(folder)
    for name in names:
        refuse_no_text(folder, name)
    if not names:
        expectation = "Expected one folder of pictures for each class"
        raise DataError(f"data {folder}: no class folders in it. {expectation}{_of_tables(folder)}")
    return names


def refuse_no_text(folder: Path, name: str) -> None:
    """Raises DataError for the name of a class folder that is no UTF-8."""
    if not name.isprintable() and any("\udc80" <= char <= "\udcff" for char in name):
        # Names of classes are in every checkpoint, and what is written there has to be read everywhere.
        raise DataError(f"data {folder}: the name of the class folder {name!a} is not UTF-8. Cure: rename it")


def _of_tables(folder: Path) -> str:
    """What is to be said of a table among the pictures, or beside the folder of a split; empty where there is none."""
    for place in (folder, folder.parent) if role_of(folder.name) else (folder,):
        tables = sorted(name for name in os.listdir(place) if is_table(name) and not is_hidden(name))
        if tables:
            return f". Cure: --data {place / tables[0]}, if the labels are in that table"
    return ""


def two_or_more(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes. Raises DataError for only one."""
    if len(names) == 1:
        expectation = "Expected two or more class folders"
        raise DataError(f"data {folder}: only one class, '{names[0]}'. {expectation}{_of_tables(folder)}")
    return tuple(names)


def refuse_unknown(
    train: Path, classes: Sequence[str], held_out: Path, present: Sequence[str], given: str = "class folders"
) -> None:
    """Raises DataError where training has not all of the classes that are present in held-out pictures.

    `given`: what they are given as.
    """
    unknown, absent = sorted(set(present) - set(classes)), sorted(set(classes) - set(present))
    if unknown:
        only = f"only in {train.name}: {_listed(absent)}; " if absent else ""
        raise DataError(
            f"data {train.parent}: {train.name} and {held_out.name} hold different classes "
            f"({only}only in {held_out.name}: {_listed(unknown)}). Cure: give both the same {given}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
