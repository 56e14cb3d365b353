"""What a data set holds, as far as it matters before anyone trains on it. What is wrong with it: `findings`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.data.columns import AS_USUAL
from xfer.data.dataset import leaks_of
from xfer.data.leaks import Leaks
from xfer.data.lists import Skipped
from xfer.data.locate import locate
from xfer.data.nested import with_copies_joined
from xfer.data.parts import Part as Listed
from xfer.data.parts import all_classes, files_of, find_parts
from xfer.data.recheck import Earlier, inspect_changed
from xfer.data.split import Split, divide, take
from xfer.errors import DataError
from xfer.multilabel import class_counts, placed, several
from xfer.pixels.augment import default_eval, output_size, transformed
from xfer.pixels.bounds import Share
from xfer.pixels.images import open_lazily
from xfer.pixels.levels import WIDE, Extent, Levels, all_levels
from xfer.progress import Progress, silent
from xfer.recipe.recipe import Recipe
from xfer.system.download import cache_dir

SAMPLES = 32
SIDE = 96  # pixels of a sample


@dataclass(frozen=True, eq=False)
class Part:
    """A folder of class folders. `present` are the classes that have a folder in it.

    `split` holds the usable pictures, their `sizes` (n, 2) int32 height and width, their `kinds` (n,) as `kind_names`.
    `flawed` are those that are used although something is wrong with their files, and what.
    `unreadable` counts the others by reason, `bad` (m,) are their places in `files` and `why` (m,) those in the counts.
    """

    folder: Path
    present: tuple[str, ...]
    split: Split
    sizes: NDArray[np.int32]
    kinds: Counter[str]
    files: Sequence[str]
    bad: Int64
    why: Int64
    reasons: tuple[str, ...]
    ignored: Sequence[Skipped]
    flawed: Sequence[Skipped]
    extents: tuple[Extent | None, ...]  # of the usable pictures, where they have more than 8 bits

    def unreadable(self) -> Iterator[Skipped]:
        for place, reason in zip(self.bad, self.why, strict=True):
            yield Skipped(self.files[place], self.reasons[reason])


@dataclass(frozen=True, eq=False)
class DataCheck:
    """`train` and `val` are as training would have them: split off where there is one part, and bad files left out.

    `samples` (k, 96, 96, 3) uint8 with `sample_labels` (k,) are pictures of as many classes as there is room for.
    `size`: height and width in pixels that training makes of every picture. `known` pictures were read by an earlier
    check, and are as they were then; `wrong`: what was not as it had kept it, in sentences.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    train: Split
    val: Split
    leaks: Leaks
    samples: NDArray[np.uint8]
    sample_labels: Int64
    size: tuple[int, int]
    test: Path | None  # the folder kept for the end: not looked into
    depth: int = WIDE
    known: int = 0
    wrong: tuple[str, ...] = ()

    @property
    def counts(self) -> Int64:
        """(classes, 2): training and validation pictures."""
        each = (class_counts(split.labels, len(self.classes)) for split in (self.train, self.val))
        return np.stack(list(each), axis=1)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(n, 2): height and width of all usable pictures, in the order of `files`."""
        return np.concatenate([part.sizes for part in self.parts])

    @property
    def extents(self) -> tuple[Extent | None, ...]:
        """Of the values of all usable pictures that have more than 8 bits, in the order of `files`."""
        return tuple(chain.from_iterable(part.extents for part in self.parts))

    @property
    def levels(self) -> Levels | None:
        """What training takes for black and white in them."""
        return all_levels(self.extents, self.depth)

    @property
    def files(self) -> Iterator[str]:
        return chain.from_iterable(part.split.files for part in self.parts)

    @property
    def skipped(self) -> Iterator[Skipped]:
        return chain.from_iterable(chain(part.ignored, part.unreadable()) for part in self.parts)


def check_data(source: str, recipe: Recipe, progress: Progress = silent) -> DataCheck:
    """Look at every file of a folder, an archive or a named set, split as the recipe says.

    Raises DataError only for what cannot be used at all: nothing there, fewer than two classes, no usable picture.
    """
    size = output_size(recipe.augment.train_transforms)
    cache = cache_dir()
    data = recipe.data
    name, root = locate(source, cache, progress, data.columns or AS_USUAL, data.task)
    found = find_parts(root, data.columns or AS_USUAL, progress, data.task)
    held = [part for part in (found.train, found.val) if part]
    classes = all_classes(held, root)
    earlier = Earlier(cache if data.cache else None)
    parts = tuple(_inspect(part, classes, data.suffixes, data.workers, progress, earlier) for part in held)
    for part in parts:
        if not len(part.split.labels):
            first = next(chain(part.unreadable(), part.ignored), None)
            why = f" (the first file left out: {first.path}: {first.reason})" if first else ""
            raise DataError(f"data {part.folder}: no usable picture in any class folder{why}")
    whole = parts[0].split
    train, val = (p.split for p in parts) if len(parts) > 1 else divide(whole, data.val_fraction, recipe.split_seed)
    levels = all_levels(chain.from_iterable(part.extents for part in parts), data.depth)
    samples, labels = _samples(parts, recipe.seed, levels)
    leaks = leaks_of(train, val)
    return DataCheck(
        name,
        root,
        classes,
        parts,
        train,
        val,
        leaks,
        samples,
        labels,
        size,
        found.test.place if found.test else None,
        data.depth,
        earlier.known,
        tuple(earlier.wrong),
    )


def _inspect(
    part: Listed,
    classes: Sequence[str],
    suffixes: Sequence[str],
    workers: int,
    progress: Progress,
    earlier: Earlier,
) -> Part:
    present = part.present
    split, ignored = files_of(part, suffixes, progress)
    n = len(split.labels)
    digests, sizes, why = np.zeros((n, 16), np.uint8), np.zeros((n, 2), np.int32), np.full(n, -1)
    reasons: dict[str, int] = {}
    kinds: Counter[str] = Counter()
    flawed: list[Skipped] = []
    extents: list[Extent | None] = []
    for i, picture in enumerate(inspect_changed(split, workers, progress, earlier, part.place)):
        if picture.reason:
            why[i] = reasons.setdefault(picture.reason, len(reasons))
        else:
            digests[i], sizes[i] = np.frombuffer(picture.digest, np.uint8), (picture.height, picture.width)
            kinds[picture.kind] += 1
            extents.append(picture.extent)
            if picture.flaw:
                flawed.append(Skipped(split.files[i], picture.flaw))
    good, bad = np.flatnonzero(why < 0), np.flatnonzero(why >= 0)
    labels = placed(split.labels, np.searchsorted(classes, present), len(classes))
    usable = take(replace(split, labels=labels, digests=digests), good)
    keep, copies = np.arange(len(good)), list[Skipped]()
    if part.nested:
        usable, keep, copies = with_copies_joined(usable)
    return Part(
        part.place,
        present,
        usable,
        sizes[good[keep]],
        kinds,
        split.files,
        bad,
        why[bad],
        tuple(reasons),
        (*ignored, *copies),
        tuple(flawed),
        tuple(extents[i] for i in keep),
    )


def _samples(parts: Sequence[Part], seed: int, levels: Levels | None) -> tuple[NDArray[np.uint8], Int64]:
    """Small pictures of classes spread over all of them, in the order of the classes."""
    split = parts[0].split
    if several(split.labels):
        chosen = np.sort(np.random.default_rng((seed, 3)).permutation(len(split.labels))[:SAMPLES])
        return _read(split, chosen, levels), split.labels[chosen]
    known = np.unique(split.labels)
    wanted = known[np.linspace(0, len(known) - 1, SAMPLES).astype(int)] if len(known) > SAMPLES else known
    rng = np.random.default_rng((seed, 3))
    each = SAMPLES // len(wanted)
    chosen = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(split.labels == label))[:each] for label in wanted])
    )
    return _read(split, chosen, levels), split.labels[chosen]


def _read(split: Split, chosen: Int64, levels: Levels | None) -> NDArray[np.uint8]:
    transforms = default_eval(SIDE)
    pictures = []
    for i in chosen:
        with Share() as share:
            picture = transformed(open_lazily(split.files[i], True, levels, share), transforms, None)
            pictures.append(np.asarray(picture, np.uint8))
    return np.stack(pictures)
