"""Data sets: a folder, an archive or a name -> checked pictures with labels, in a training and a validation split."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from xfer.archives import SUFFIXES as ARCHIVE_SUFFIXES
from xfer.archives import is_archive, unpack
from xfer.backend import Int64
from xfer.datasets import NAMED, fetch
from xfer.download import cache_dir
from xfer.errors import ConfigError, DataError, expected
from xfer.files import write_bytes
from xfer.images import SUFFIXES, examine_image, file_digest, stamp
from xfer.layout import find_layout, has_suffix, is_hidden, walk_files
from xfer.leaks import Leak, Leaks, OnLeak, find_leaks
from xfer.parallel import map_ahead
from xfer.progress import Progress, silent

T = TypeVar("T", bound=np.generic)


class Files(Sequence[str]):
    """Absolute paths of pictures, kept as short bytes: 100,000 of them take a few megabytes."""

    def __init__(self, root: str, names: NDArray[np.bytes_]) -> None:
        self.root = root
        self.names = names  # relative to the root

    @classmethod
    def below(cls, root: str, names: Iterable[str]) -> Files:
        return cls(root, np.array([os.fsencode(name) for name in names], np.bytes_))

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, index: slice | Int64) -> Files: ...
    def __getitem__(self, index: int | np.integer[Any] | slice | Int64) -> str | Files:
        found = self.names[index]
        return os.path.join(self.root, os.fsdecode(found)) if isinstance(found, bytes) else Files(self.root, found)


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures in a fixed order. `labels` (n,) int64 count the classes of the data set.

    `digests` (n, 16) uint8 are those of the files' bytes, by `xfer.images.file_digest`, and `stamps` (n, 2) int64 what
    `xfer.images.stamp` said of the files then; None where nobody read them.
    """

    files: Sequence[str]
    labels: Int64
    digests: NDArray[np.uint8] | None = None
    stamps: Int64 | None = None

    def changed(self, index: int) -> bool:
        """Whether the file there holds other bytes than when it was checked. One that is gone has not changed."""
        if self.digests is None or self.stamps is None:
            return False
        try:
            same = stamp(self.files[index]) == tuple(self.stamps[index])
            return not same and file_digest(self.files[index]) != self.digests[index].tobytes()
        except OSError:
            return False


class Skipped(NamedTuple):
    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """`classes` are the names of the class folders, sorted. `skipped`: files in them that are not used, and why.

    `leaks` are the copies among all readable pictures, also where `on_leak` has dropped them from the splits.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    skipped: tuple[Skipped, ...]
    leaks: Leaks


def open_dataset(
    source: str,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    suffixes: Sequence[str] = SUFFIXES,
    on_bad_image: Literal["skip", "error"] = "skip",
    on_leak: OnLeak = "warn",
    workers: int = 0,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Find and check every picture of a named set, a folder or an archive.

    Without train and val folders, `val_fraction` of each class is split off, the same for the same seed; a class of
    two or more keeps one on each side. `workers` 0: one thread for each processor. `cache` None: the user's.
    Raises DataError when there is nothing to train on, an unreadable picture where `on_bad_image` is `error`, or a
    picture in both splits or in two classes where `on_leak` is; `drop` leaves such out, see `xfer.leaks.find_leaks`.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction = {val_fraction}: expected a number between 0 and 1, both left out")
    name, root = locate(source, cache or cache_dir(), progress)
    layout = find_layout(root)
    parts = [layout.train] if layout.val is None else [layout.train, layout.val]
    splits, skipped = [], []
    for part in parts:
        found, ignored = scan(part, layout.classes, suffixes)
        split, unreadable = _check(found, on_bad_image, workers, progress)
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
    return Dataset(name, root, layout.classes, train, val, tuple(skipped), leaks)


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


def scan(part: Path, classes: Sequence[str], suffixes: Sequence[str]) -> tuple[Split, list[Skipped]]:
    """All files with the suffixes, class by class, and those without, or in no class."""
    counts: list[int] = []
    outside = (entry for entry in sorted(part.iterdir()) if has_suffix(entry.name, suffixes) and entry.is_file())
    skipped = [Skipped(str(entry), "in no class folder") for entry in outside if not is_hidden(entry.name)]

    def names() -> Iterator[str]:
        for name in classes:
            counts.append(0)
            for inside in walk_files(str(part / name)):
                if has_suffix(inside, suffixes):
                    counts[-1] += 1
                    yield os.path.join(name, inside)
                else:
                    skipped.append(Skipped(str(part / name / inside), "not an image suffix"))

    files = Files.below(str(part), names())
    return Split(files, np.repeat(np.arange(len(classes)), counts)), skipped


def _check(split: Split, on_bad_image: str, workers: int, progress: Progress) -> tuple[Split, list[Skipped]]:
    """Read every picture. The split without the unreadable ones, with digests; and those."""
    keep, skipped = np.ones(len(split.files), bool), []
    digests, stamps = np.zeros((len(keep), 16), np.uint8), np.zeros((len(keep), 2), np.int64)
    for i, (reason, digest, when) in enumerate(map_ahead(examine_image, split.files, workers, ahead=64)):
        progress("checking pictures", i + 1, len(keep))
        if reason and on_bad_image == "error":
            cure = "Cure: remove or replace it, or on_bad_image = 'skip'"
            raise DataError(f"data {split.files[i]}: cannot be used: {reason}. {cure}")
        if reason:
            keep[i] = False
            skipped.append(Skipped(split.files[i], reason))
        else:
            digests[i], stamps[i] = np.frombuffer(digest, np.uint8), when
    return take(replace(split, digests=digests, stamps=stamps), np.flatnonzero(keep)), skipped


def _refuse_empty(part: Path, split: Split, classes: Sequence[str], skipped: Sequence[Skipped]) -> None:
    for label in np.flatnonzero(np.bincount(split.labels, minlength=len(classes)) == 0):
        folder = part / classes[label]
        lost = [s for s in skipped if Path(s.path).is_relative_to(folder)]
        why = f" ({len(lost)} files left out, the first: {lost[0].path}: {lost[0].reason})" if lost else ""
        raise DataError(f"data {folder}: no picture in this class{why}. Cure: add pictures, or remove the folder")


def divide(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """A training split and a validation split with `fraction` of each class, but one or more, and not all."""
    held_out = []
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out.append(np.random.default_rng((seed, label)).permutation(members)[:count])
    val = np.sort(np.concatenate(held_out))
    return take(split, np.setdiff1d(np.arange(len(split.labels)), val)), take(split, val)


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


def take(split: Split, indices: Int64) -> Split:
    """The pictures at these places of a split."""
    assert isinstance(split.files, Files)
    digests = None if split.digests is None else split.digests[indices]
    stamps = None if split.stamps is None else split.stamps[indices]
    return Split(split.files[indices], split.labels[indices], digests, stamps)


def joined(splits: Sequence[Split]) -> Split:
    """One split after the other."""
    files = [file for part in splits for file in part.files]
    labels = np.concatenate([part.labels for part in splits])
    return Split(files, labels, _known([part.digests for part in splits]), _known([part.stamps for part in splits]))


def _known(parts: Sequence[NDArray[T] | None]) -> NDArray[T] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def find_images(paths: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Pictures to predict, in order, each once: files as they are, all in folders and below, matches of globs.

    Raises DataError for what does not exist or holds no picture.
    """
    found: dict[str, None] = {}
    for path in paths:
        some = [path] if os.path.isfile(path) else _images_of(path, suffixes)
        if not some:
            raise DataError(f"images {path!r}: expected a file, a folder with pictures or a pattern that matches some")
        found |= dict.fromkeys(some)
    return list(found)


def _images_of(path: str, suffixes: Sequence[str]) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in walk_files(path) if has_suffix(name, suffixes)]
    matches = sorted(glob(os.path.expanduser(path), recursive=True))
    inside = [image for match in matches if os.path.isdir(match) for image in _images_of(match, suffixes)]
    return [match for match in matches if os.path.isfile(match) and has_suffix(match, suffixes)] + inside


def write_skipped_csv(path: Path, skipped: Iterable[Skipped]) -> None:
    """Columns path and reason; a header alone where nothing was left out."""
    _write_csv(path, Skipped._fields, skipped)


def write_leaks_csv(path: Path, leaks: Leaks) -> None:
    """Columns path, copy and kind, a row for each pair."""
    _write_csv(path, Leak._fields, leaks.rows())


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
