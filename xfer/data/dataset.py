"""Data sets: a folder, an archive or a name -> checked pictures with labels, in a training and a validation split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from xfer.data.archives import SUFFIXES as ARCHIVE_SUFFIXES
from xfer.data.archives import is_archive, unpack
from xfer.data.layout import find_layout
from xfer.data.leaks import Leaks, OnLeak, find_leaks
from xfer.data.lists import Skipped
from xfer.data.named import NAMED, fetch
from xfer.data.scan import inspect_all, scan, suffixes_cure
from xfer.data.split import Split, divide, take
from xfer.errors import ConfigError, DataError, expected
from xfer.pixels.augment import Transform
from xfer.pixels.images import SUFFIXES
from xfer.pixels.levels import WIDE, Extent, Levels, all_levels, levels_of, misfit_of
from xfer.progress import Progress, silent
from xfer.system.download import cache_dir


@dataclass(frozen=True, eq=False)
class Dataset:
    """`classes` are the names of the class folders, sorted. `skipped`: files in them that are not used, and why.

    `leaks` are the copies among all readable pictures, also where `on_leak` has dropped them from the splits.
    `flawed`: pictures that are used although something is wrong with their files, and what. `levels`: what is black
    and white in all of them, where some have more than 8 bits. `misfit`: as `xfer.pixels.levels.misfit_of`.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    skipped: tuple[Skipped, ...]
    leaks: Leaks
    flawed: tuple[Skipped, ...] = ()
    levels: Levels | None = None
    misfit: tuple[str, str] | None = None

    def seen(self, transforms: Sequence[Transform]) -> tuple[Transform, ...]:
        """These augmentations with the `levels` of all pictures before them, for whatever reads pictures later."""
        return (self.levels, *transforms) if self.levels and not levels_of(transforms) else tuple(transforms)

    def warnings(self) -> Iterator[str]:
        """A line about flawed files, and one about a depth that does not fit, where there are any."""
        if self.misfit:
            yield f"warning: {self.misfit[0]}. Cure: {self.misfit[1]}"
        if not self.flawed:
            return
        first, n = self.flawed[0], len(self.flawed)
        files = "1 picture has a file" if n == 1 else f"{n} pictures have files"
        yield f"warning: {files} {first.reason} and can be used all the same, the first: {first.path}"


def open_dataset(
    source: str,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    suffixes: Sequence[str] = SUFFIXES,
    on_bad_image: Literal["skip", "error"] = "skip",
    on_leak: OnLeak = "warn",
    workers: int = 0,
    depth: int = WIDE,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Find and check every picture of a named set, a folder or an archive.

    Without train and val folders, `val_fraction` of each class is split off, the same for the same seed; a class of
    two or more keeps one on each side. `workers` 0: one thread for each processor. `depth`: bits that 16-bit greys
    use. `cache` None: the user's.
    Raises DataError when there is nothing to train on, an unreadable picture where `on_bad_image` is `error`, or a
    picture in both splits or in two classes where `on_leak` is; `drop` leaves such out, see
    `xfer.data.leaks.find_leaks`.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction = {val_fraction}: expected a number between 0 and 1, both left out")
    name, root = locate(source, cache or cache_dir(), progress)
    layout = find_layout(root)
    parts = [layout.train] if layout.val is None else [layout.train, layout.val]
    splits, skipped, flawed, extents = [], [], list[Skipped](), list[Extent]()
    for part in parts:
        listed, ignored = scan(part, layout.classes, suffixes)
        split, unreadable = _check(listed, on_bad_image, workers, progress, flawed, extents)
        _refuse_empty(part, split, layout.classes, ignored + unreadable)
        splits.append(split)
        skipped += ignored + unreadable
    train, val = splits if layout.val else divide(splits[0], val_fraction, seed)
    leaks = leaks_of(train, val)
    if on_leak == "error":
        leaks.refuse()
    elif on_leak == "drop":
        train, val = _without(leaks, train, val)
        skipped += [Skipped(*dropped) for dropped in leaks.dropped()]
        for part, split in zip(parts, (train, val), strict=False):
            _refuse_empty(part, split, layout.classes, skipped)
    if not len(val.labels):
        raise DataError(
            f"data {root}: too few pictures to split off any for validation. Cure: add some, or a val folder"
        )
    levels, misfit = all_levels(extents, depth), misfit_of(extents, depth)
    return Dataset(name, root, layout.classes, train, val, tuple(skipped), leaks, tuple(flawed), levels, misfit)


def locate(source: str, cache: Path, progress: Progress) -> tuple[str, Path]:
    """The name of a data set and its folder, downloaded or unpacked below `cache` where it has to be."""
    if source in NAMED:
        return source, fetch(source, cache, progress)
    path = Path(os.path.abspath(Path(source).expanduser()))
    if path.is_dir():
        return path.name, path
    if not path.exists():
        raise DataError(f"{expected('data', source, NAMED)} Or the path of a folder or archive; {path} does not exist")
    if not is_archive(path):
        raise DataError(f"data {path}: is a file. Expected a folder, or an archive ({', '.join(ARCHIVE_SUFFIXES)})")
    state = path.stat()
    key = hashlib.blake2b(f"{path}|{state.st_size}|{state.st_mtime_ns}".encode(), digest_size=6).hexdigest()
    stem = path.name.split(".")[0]
    return stem, unpack(path, cache / "unpacked" / f"{stem}-{key}", progress)


def _check(
    split: Split, on_bad_image: str, workers: int, progress: Progress, flawed: list[Skipped], extents: list[Extent]
) -> tuple[Split, list[Skipped]]:
    """Read every picture. The split without the unreadable ones, with digests; and those. Adds to the last two."""
    keep, skipped = np.ones(len(split.files), bool), []
    digests, stamps = np.zeros((len(keep), 16), np.uint8), np.zeros((len(keep), 2), np.int64)
    for i, picture in enumerate(inspect_all(split, workers, progress)):
        if picture.reason and on_bad_image == "error":
            cure = "Cure: remove or replace it, or on_bad_image = 'skip'"
            raise DataError(f"data {split.files[i]}: cannot be used: {picture.reason}. {cure}")
        if picture.reason:
            keep[i] = False
            skipped.append(Skipped(split.files[i], picture.reason))
        else:
            digests[i], stamps[i] = np.frombuffer(picture.digest, np.uint8), picture.stamp
            if picture.extent:
                extents.append(picture.extent)
            if picture.flaw:
                flawed.append(Skipped(split.files[i], picture.flaw))
    return take(replace(split, digests=digests, stamps=stamps), np.flatnonzero(keep)), skipped


def _refuse_empty(part: Path, split: Split, classes: Sequence[str], skipped: Sequence[Skipped]) -> None:
    for label in np.flatnonzero(np.bincount(split.labels, minlength=len(classes)) == 0):
        folder = part / classes[label]
        lost = [s for s in skipped if Path(s.path).is_relative_to(folder)]
        why = f" ({len(lost)} files left out, the first: {lost[0].path}: {lost[0].reason})" if lost else ""
        cure = suffixes_cure(lost) or "add pictures, or remove the folder"
        raise DataError(f"data {folder}: no picture in this class{why}. Cure: {cure}")


def leaks_of(train: Split, val: Split) -> Leaks:
    """The copies among pictures whose digests are known."""
    assert train.digests is not None
    assert val.digests is not None
    return find_leaks((train.files, val.files), (train.labels, val.labels), (train.digests, val.digests))


def _without(leaks: Leaks, train: Split, val: Split) -> tuple[Split, Split]:
    keep = np.ones(len(train.labels) + len(val.labels), bool)
    keep[leaks.drops[:, 0]] = False
    if keep.all():
        return train, val
    first = len(train.labels)
    return take(train, np.flatnonzero(keep[:first])), take(val, np.flatnonzero(keep[first:]))
