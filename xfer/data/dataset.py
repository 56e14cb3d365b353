"""Data sets: a folder, an archive or a name -> checked pictures with labels, in a training and a validation split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from xfer.arrays import Int64
from xfer.data.columns import AS_USUAL, Columns, Task
from xfer.data.leaks import Leaks, OnLeak, find_leaks
from xfer.data.lists import Skipped
from xfer.data.locate import anywhere, locate
from xfer.data.nested import with_copies_joined
from xfer.data.parts import HeldOut, chosen, classes_of, find_parts, listed, refuse_empty
from xfer.data.recheck import Earlier, inspect_changed, warnings_of
from xfer.data.split import Fold, Folded, Split, divide, fold_off, take
from xfer.errors import ConfigError, DataError
from xfer.multilabel import class_counts, several
from xfer.pixels.augment import Transform
from xfer.pixels.channels import COLOURS, Channels, Count, channels_of
from xfer.pixels.images import SUFFIXES
from xfer.pixels.inspected import Inspected
from xfer.pixels.levels import WIDE, Extent, Levels, all_levels, levels_of, misfit_of
from xfer.progress import Progress, silent
from xfer.system.download import cache_dir


@dataclass(frozen=True, eq=False)
class Dataset:
    """`classes` are the names of the class folders, or the labels, sorted. `skipped`: files that are not used, and why.

    `leaks` are the copies among all readable pictures, also where `on_leak` has dropped them from the splits. `source`
    is what finds it from any folder: see `xfer.data.locate.anywhere`.
    `wrong`: what was not as an earlier check had kept it, in sentences. `folded`: of a fold, where its pictures lie.
    `flawed`: pictures that are used although something is wrong with their files, and what. `levels`: what is black
    and white in all of them, where some have more than 8 bits. `misfit`: as `xfer.pixels.levels.misfit_of`.
    `channels`: of the pixels that a network sees.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    skipped: tuple[Skipped, ...]
    leaks: Leaks
    source: str
    flawed: tuple[Skipped, ...] = ()
    test: Path | None = None  # the folder kept for the end, that nobody has looked into
    levels: Levels | None = None
    misfit: tuple[str, str] | None = None
    wrong: tuple[str, ...] = ()
    folded: Folded | None = None
    channels: Count = COLOURS

    def seen(self, transforms: Sequence[Transform]) -> tuple[Transform, ...]:
        """These augmentations with the `levels` of all pictures before them, for whatever reads pictures later.

        And with the channels that these are to have, if not three.
        """
        asked = self.channels if channels_of(transforms) == COLOURS else COLOURS
        first = () if asked == COLOURS else (Channels(count=asked),)
        levels = (self.levels,) if self.levels and not levels_of(transforms) else ()
        return (*first, *levels, *transforms)

    def warnings(self) -> Iterator[str]:
        """A line about each thing of an earlier check that was wrong, about a depth that does not fit, and flaws."""
        yield from warnings_of(self.wrong)
        if self.misfit:
            yield f"warning: {self.misfit[0]}. Cure: {self.misfit[1]}"
        if not self.flawed:
            return
        first, n = self.flawed[0], len(self.flawed)
        files = "1 picture has a file" if n == 1 else f"{n} pictures have files"
        yield f"warning: {files} {first.reason} and can be used all the same, the first: {first.path}"

    @property
    def unvalidated(self) -> tuple[str, ...]:
        """Classes without a validation picture: they are trained, and no figure says how well."""
        counts = class_counts(self.val.labels, len(self.classes))
        return tuple(name for name, count in zip(self.classes, counts, strict=True) if not count)


def open_dataset(
    source: str,
    *,
    val_fraction: float | None = 0.2,
    held_out: HeldOut = "val",
    fold: Fold | None = None,
    seed: int = 0,
    columns: Columns = AS_USUAL,
    task: Task = "classification",
    suffixes: Sequence[str] = SUFFIXES,
    on_bad_image: Literal["skip", "error"] = "skip",
    on_leak: OnLeak = "warn",
    workers: int = 0,
    depth: int = WIDE,
    cache: Path | None = None,
    remember: bool = True,
    progress: Progress = silent,
) -> Dataset:
    """Find and check every picture of a named set, a folder, an archive or a table, or what `xfer.data.locate` knows.

    Without train and val folders, `val_fraction` of each class is split off, the same for the same seed; a class of
    two or more keeps one on each side; None splits nothing off, and `val` is empty. `held_out`: the folder that
    becomes `val`; `test` is refused where train has no third split beside it. `fold`: that part of the train folder,
    or of all where there are no such folders, becomes `val`, and what else is held out is not looked at.
    `columns`: of a table, as `xfer.data.columns.find_columns`. `task` multilabel: of any number of labels each.
    `workers` 0: one thread for each processor. `cache` None: the user's. `depth`: bits that 16-bit values use.
    `remember`: pictures that were checked before, and have not changed since, are not read again; the result is the
    same.
    Raises DataError when there is nothing to train on, an unreadable picture where `on_bad_image` is `error`, or a
    picture in both splits or in two classes where `on_leak` is; `drop` leaves such out, see
    `xfer.data.leaks.find_leaks`.
    """
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction = {val_fraction}: expected a number between 0 and 1, both left out")
    cache = cache or cache_dir()
    name, root = locate(source, cache, progress, columns, task)
    earlier = Earlier(cache if remember else None)
    found = find_parts(root, columns, progress, task)
    classes, skipped = classes_of(found), list[Skipped]()
    parts = [found.train] if fold else chosen(found, held_out, val_fraction is None)
    splits, flawed, extents = list[Split](), list[Skipped](), dict[str, Extent]()
    for part in parts:
        files, ignored = listed(part, found.train, classes, suffixes, progress)
        skipped += ignored
        first = not splits
        if first:
            refuse_empty(parts, [files], classes, skipped)
        pictures = inspect_changed(files, workers, progress, earlier, part.place)
        split, unreadable = _check(files, pictures, on_bad_image, flawed, extents, every_class=first)
        skipped += unreadable
        if part.nested:
            split, _, copies = with_copies_joined(split)
            skipped += copies
        splits.append(split)
        refuse_empty(parts, splits, classes, skipped)
    folded = fold_off(splits[0], fold, seed, classes, parts[0].place) if fold else None
    if folded:
        train, val = take(folded.whole, folded.train), take(folded.whole, folded.val)
    else:
        train, val = splits if len(parts) > 1 else _divided(splits[0], val_fraction, seed)
    splits.clear()  # what both were taken from, of a million pictures 50 MB
    leaks = leaks_of(train, val)
    if on_leak == "error":
        leaks.refuse()
    elif on_leak == "drop":
        kept = _kept(leaks, len(train.labels), len(val.labels))
        train, val = take(train, kept[0]), take(val, kept[1])
        folded = folded and replace(folded, train=folded.train[kept[0]], val=folded.val[kept[1]])
        skipped += [Skipped(*dropped) for dropped in leaks.dropped()]
        refuse_empty(parts, (train, val), classes, skipped)
    if val_fraction is not None and not len(val.labels):
        raise DataError(
            f"data {root}: too few pictures to split off any for validation. Cure: add some, or a val folder"
        )
    if train.weights is not None and not train.weights.any():
        raise DataError(f"data {root}: all training pictures have the weight 0. Cure: give some a weight above 0")
    return Dataset(
        name,
        root.parent if found.train.rows else root,
        classes,
        train,
        val,
        tuple(skipped),
        leaks,
        anywhere(source),
        tuple(flawed),
        found.test.place if found.test else None,
        all_levels(extents.values(), depth),
        misfit_of(extents.values(), depth),
        tuple(earlier.wrong),
        folded,
    )


def _divided(split: Split, fraction: float | None, seed: int) -> tuple[Split, Split]:
    """As `divide`; None: nothing is split off."""
    return (split, take(split, np.zeros(0, np.int64))) if fraction is None else divide(split, fraction, seed)


def _check(
    split: Split,
    pictures: Iterator[Inspected],
    on_bad_image: str,
    flawed: list[Skipped],
    extents: dict[str, Extent],
    every_class: bool,
) -> tuple[Split, list[Skipped]]:
    """Ask for every picture. The split without the unreadable ones, with digests; and those. Adds to the last two.

    `extents`: the widest of each kind of values.

    `every_class`: where one turns out to have no picture at all, the others are not read: of 100,000 files that takes
    seconds, and nothing will come of them.
    """
    every_class &= not several(split.labels)  # those of one class come together then
    begins = np.flatnonzero(np.diff(split.labels, prepend=-1)).tolist() if every_class else []
    ends = {end - 1: begin for begin, end in pairwise([*begins, len(split.labels)])}
    keep, skipped = np.ones(len(split.files), bool), []
    digests, stamps = np.zeros((len(keep), 16), np.uint8), np.zeros((len(keep), 2), np.int64)
    for i, picture in enumerate(pictures):
        if picture.reason and on_bad_image == "error":
            cure = "Cure: remove or replace it, or on_bad_image = 'skip'"
            raise DataError(f"data {split.files[i]}: cannot be used: {picture.reason}. {cure}")
        if picture.reason:
            keep[i] = False
            skipped.append(Skipped(split.files[i], picture.reason))
        else:
            digests[i], stamps[i] = np.frombuffer(picture.digest, np.uint8), picture.stamp
            if picture.extent:
                kind = picture.extent.kind
                extents[kind] = picture.extent.with_those_of(extents.get(kind, picture.extent))
            if picture.flaw:
                flawed.append(Skipped(split.files[i], picture.flaw))
        if i in ends and not keep[ends[i] : i + 1].any():
            keep[i + 1 :] = False
            break
    return take(replace(split, digests=digests, stamps=stamps), np.flatnonzero(keep)), skipped


def leaks_of(train: Split, val: Split) -> Leaks:
    """The copies among pictures whose digests are known."""
    assert train.digests is not None
    assert val.digests is not None
    return find_leaks((train.files, val.files), (train.labels, val.labels), (train.digests, val.digests))


def _kept(leaks: Leaks, n_train: int, n_val: int) -> tuple[Int64, Int64]:
    """The places of what is not dropped in train and in val."""
    keep = np.ones(n_train + n_val, bool)
    keep[leaks.drops[:, 0]] = False
    return np.flatnonzero(keep[:n_train]), np.flatnonzero(keep[n_train:])
