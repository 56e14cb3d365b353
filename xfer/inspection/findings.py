"""What is wrong with a data set, worst first, each with its cure."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from xfer.data.leaks import KINDS
from xfer.data.recheck import CURE
from xfer.data.scan import suffixes_cure
from xfer.errors import Finding
from xfer.inspection.check import DataCheck
from xfer.multilabel import occurring, several
from xfer.pixels.levels import Extent, misfit_of, range_of

TINY_CLASS = 5  # pictures
LOPSIDED = 10  # times as many pictures in the largest class as in the smallest
LONG = 4  # times as long as wide
LARGE = 24_000_000  # pixels
MOST_NAMED = 5
NARROW = 16  # times that a picture of floats is darker, or paler, than if it were alone


def find(check: DataCheck) -> list[Finding]:
    """A `problem` makes a result wrong, or a training fail; a `warning` is for a look."""
    problems = chain(_folders(check), _unreadable(check), _copies(check), _groups(check))
    return [*problems, *_classes(check), *_shapes(check), *_levels(check), *_others(check)]


def verdict(findings: Sequence[Finding]) -> str:
    """One sentence on what to do."""
    problems = sum(f.level == "problem" for f in findings)
    if problems:
        return f"not ready: {_many(problems, 'problem')} to mend before training, as said above"
    if findings:
        return f"can be trained on; {_many(len(findings), 'warning')} to look at first"
    return "ready to train on: nothing wrong was found"


def _many(n: int, noun: str, plural: str = "") -> str:
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMED:,} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more


def _folders(c: DataCheck) -> Iterator[Finding]:
    if len(c.parts) > 1:
        train, val = c.parts
        if set(val.present) - set(train.present):
            sides = ((train.folder.name, train.present, val.present), (val.folder.name, val.present, train.present))
            only = [f"only in {name}: {_named(sorted(set(a) - set(b)))}" for name, a, b in sides if set(a) - set(b)]
            yield Finding("problem", f"class folders differ ({'; '.join(only)})", "give both the same class folders")
    train = c.parts[0]
    filled = {c.classes[label] for label in sorted(occurring(train.split.labels))}
    if empty := [name for name in train.present if name not in filled]:
        text = f"{_many(len(empty), 'class', 'classes')} without a usable picture in {train.folder}: {_named(empty)}"
        yield Finding("problem", text, "add pictures, or remove the folder")
    if len(c.parts) == 1 and not len(c.val.labels):
        yield Finding("problem", "too few pictures to split off any for validation", "add some, or a val folder")


def _unreadable(c: DataCheck) -> Iterator[Finding]:
    reasons = Counter[str]()
    for part in c.parts:
        reasons.update({part.reasons[i]: int(n) for i, n in enumerate(np.bincount(part.why))})
    if reasons:
        first = next(chain.from_iterable(part.unreadable() for part in c.parts))
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common(MOST_NAMED))
        text = f"{_many(reasons.total(), 'unreadable picture')} ({why}), the first: {first.path}"
        yield Finding("problem", text, "replace or remove them; training would leave them out")


def _copies(c: DataCheck) -> Iterator[Finding]:
    counts = c.leaks.counts()
    for kind, n in counts.items():
        first = next(leak for leak in c.leaks.rows() if leak.kind == kind)
        harmful = kind in KINDS[:2]
        yield Finding(
            "problem" if harmful else "warning",
            f"{_many(n, 'picture with a copy', 'pictures with a copy')} {kind}, the first: {first.path} = {first.copy}",
            "remove the copies" + (", or train with --on-leak drop" if harmful else ""),
        )


def _groups(c: DataCheck) -> Iterator[Finding]:
    if c.train.groups is None or c.val.groups is None:
        return
    if torn := len(np.intersect1d(c.train.groups, c.val.groups)):
        text = f"{_many(torn, 'group')} with pictures in train and val"
        yield Finding("problem", text, "give all pictures of a group one split, or leave the column split out")


def _classes(c: DataCheck) -> Iterator[Finding]:
    totals = c.counts.sum(axis=1)
    if single := [c.classes[i] for i in np.flatnonzero(totals == 1)]:
        text = f"{_many(len(single), 'class', 'classes')} of one picture: {_named(single)}"
        yield Finding("warning", text, "add pictures: nothing can be both learned and validated from one")
    unvalidated = [name for name, (n, held) in zip(c.classes, c.counts, strict=True) if n and not held]
    if len(c.parts) > 1 and unvalidated:
        text = f"{_many(len(unvalidated), 'class', 'classes')} without validation pictures: {_named(unvalidated)}"
        yield Finding("warning", text, f"add some to {c.parts[1].folder}: no figure says how well they are told")
    if tiny := [f"{c.classes[i]} ({totals[i]})" for i in np.flatnonzero((totals > 1) & (totals < TINY_CLASS))]:
        text = f"{_many(len(tiny), 'class', 'classes')} of fewer than {TINY_CLASS} pictures: {_named(tiny)}"
        yield Finding("warning", text, "add pictures, or do not trust their accuracy")
    train = c.counts[:, 0]
    most, least = int(train.argmax()), int(np.where(train > 0, train, train.max() + 1).argmin())
    if train[most] >= LOPSIDED * train[least]:
        text = (
            f"lopsided: {train[most]:,} training pictures of {c.classes[most]}, {train[least]:,} of {c.classes[least]}"
        )
        way = "loss.class_weights" if several(c.train.labels) else "loss.class_weights or train.sampler"
        yield Finding("warning", text, f"{way} = 'balanced', or more of the rare ones")
    alike = Counter(unicodedata.normalize("NFKC", name).casefold().strip() for name in c.classes)
    if twins := [n for n in c.classes if alike[unicodedata.normalize("NFKC", n).casefold().strip()] > 1]:
        text = f"class names that differ in upper case, blanks or Unicode form alone: {_named(map(repr, twins))}"
        yield Finding("warning", text, "put them into one folder, if one class is meant")


def _shapes(c: DataCheck) -> Iterator[Finding]:
    height, width = c.sizes.T.astype(np.int64)
    side = "x".join(map(str, c.size))
    rows = (
        ((height < c.size[0]) | (width < c.size[1]), f"smaller than the {side} of training", "a smaller --size"),
        (np.maximum(height, width) > LONG * np.minimum(height, width), f"more than {LONG}:1 in shape", "crop them"),
        (height * width > LARGE, f"of more than {LARGE:,} pixels", "data.decode = 'draft', or make them smaller once"),
    )
    for where, fault, cure in rows:
        if where.any():
            yield Finding("warning", f"{_many(int(where.sum()), 'picture')} {fault}, the first: {_at(c, where)}", cure)


def _at(c: DataCheck, where: NDArray[np.bool_]) -> str:
    place = int(where.argmax())
    height, width = c.sizes[place]
    return f"{next(islice(c.files, place, None))} ({height}x{width})"


def _levels(c: DataCheck) -> Iterator[Finding]:
    extents = c.extents
    if misfit := misfit_of(extents, c.depth):
        yield Finding("warning", *misfit)
    low, high = (c.levels.floats if c.levels else None) or (0.0, 0.0)
    narrow = np.array([e is not None and e.kind == "f" and NARROW * _span(e) < high - low for e in extents], bool)
    if narrow.any():
        text = f"{_many(int(narrow.sum()), 'float picture')} of a far smaller range than {low:g} to {high:g}"
        yield Finding("warning", f"{text}, the first: {_at(c, narrow)}", "save all of them with values from 0 to 1")


def _span(extent: Extent) -> float:
    """From black to white, if the picture were alone."""
    black, white = range_of(extent.low, extent.high, floats=True)
    return white - black


def _others(c: DataCheck) -> Iterator[Finding]:
    yield from (Finding("warning", text, CURE) for text in c.wrong)
    flawed = [skipped for part in c.parts for skipped in part.flawed]
    for flaw, n in Counter(skipped.reason for skipped in flawed).items():
        first = next(skipped.path for skipped in flawed if skipped.reason == flaw)
        text = f"{_many(n, 'file')} {flaw}, and used all the same, the first: {first}"
        yield Finding("warning", text, "fetch or save it anew, if anything is missing from the picture")
    ignored = [skipped for part in c.parts for skipped in part.ignored]
    for reason, n in Counter(skipped.reason for skipped in ignored).items():
        first = next(skipped.path for skipped in ignored if skipped.reason == reason)
        cure = suffixes_cure(s for s in ignored if s.reason == reason)
        text = f"{_many(n, 'file')} left out: {reason}, the first: {first}"
        yield Finding("warning", text, f"{cure}; move or remove others" if cure else "move or remove them")
