"""The files of a folder before anything is known of them: listed class by class, then inspected one by one."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import compress, count
from operator import not_
from pathlib import Path

import numpy as np

from xfer.data.files import Files
from xfer.data.layout import has_suffix, is_hidden, walk_files
from xfer.data.lists import Skipped
from xfer.data.readers import map_files
from xfer.data.split import Split
from xfer.pixels.content import EMPTY
from xfer.pixels.images import MORE_SUFFIXES, SUFFIXES
from xfer.pixels.inspected import Inspect, Inspected
from xfer.progress import Progress, silent

PICTURES_AHEAD = 64
MANY = 10_000  # files between two tellings of how many are listed

NOT_A_SUFFIX = "not an image suffix"


def scan(
    part: Path, classes: Sequence[str], suffixes: Sequence[str], progress: Progress = silent
) -> tuple[Split, list[Skipped]]:
    """All files with the suffixes, class by class, and those without, or in no class.

    Progress is told of whole MANY files: fewer are listed in no time.
    """
    counts: list[int] = []
    with os.scandir(part) as found:
        named = (entry for entry in found if has_suffix(entry.name, suffixes) and not is_hidden(entry.name))
        outside = sorted(entry.name for entry in named if entry.is_file())
    skipped = [Skipped(str(part / name), "in no class folder") for name in outside]

    def names() -> Iterator[str]:
        listed = count(1)
        for name in classes:
            counts.append(0)
            before = os.path.join(name, "")
            for inside in walk_files(str(part / name)):
                if has_suffix(inside, suffixes):
                    counts[-1] += 1
                    yield before + inside
                    if not (n := next(listed)) % MANY:
                        progress("listing pictures", n, None)
                else:
                    skipped.append(Skipped(str(part / name / inside), NOT_A_SUFFIX))

    files = Files.below(str(part), names())
    return Split(files, np.repeat(np.arange(len(classes)), counts)), skipped


def suffixes_cure(skipped: Iterable[Skipped]) -> str | None:
    """How to have files taken that were left out for their suffix alone; None where none could be read anyway."""
    left_out = {Path(s.path).suffix.lower() for s in skipped if s.reason == NOT_A_SUFFIX}
    readable = sorted(left_out & {*SUFFIXES, *MORE_SUFFIXES})
    listed = ", ".join(f'"{suffix}"' for suffix in readable)
    return f"add {listed} to data.suffixes of the recipe" if readable else None


def inspect_all(split: Split, workers: int, progress: Progress) -> Generator[Inspected, None, None]:
    """What each file of a split is, in their order; nothing is kept of it here.

    `workers` threads or processes (0: one for each processor) read PICTURES_AHEAD files ahead.
    """
    empty = [_is_empty(path) for path in split.files]  # to hand such a file to a thread takes longer than to look at it
    filled = compress(split.files, map(not_, empty))
    count = len(empty) - sum(empty)
    with closing(map_files(Inspect(), filled, count, workers, ahead=PICTURES_AHEAD)) as pictures:
        for done, nothing in enumerate(empty, start=1):
            progress("checking pictures", done, len(empty))
            yield Inspected(EMPTY) if nothing else next(pictures)


def _is_empty(path: str) -> bool:
    with suppress(OSError):  # whoever inspects it says why
        status = os.stat(path)
        return stat.S_ISREG(status.st_mode) and status.st_size == 0
    return False
