"""Finding pictures to predict: files, folders and patterns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from glob import escape, glob

from xfer.data.layout import has_suffix, walk, walk_files
from xfer.errors import DataError
from xfer.pixels.images import SUFFIXES


def find_images(paths: Sequence[str | os.PathLike[str]], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Pictures to predict, in order, each once: files as they are, all in folders and below, matches of globs.

    Raises DataError for what does not exist or holds no picture.
    """
    images: dict[str, None] = {}
    for path in (os.fspath(path) for path in paths):
        matches = [path] if os.path.isfile(path) else _images_of(path, suffixes)
        if not matches:
            raise DataError(f"images {path!r}: expected a file, a folder with pictures or a pattern that matches some")
        images |= dict.fromkeys(matches)
    return list(images)


def _images_of(path: str, suffixes: Sequence[str]) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in walk_files(path) if has_suffix(name, suffixes)]
    matches = sorted(set(_matches(os.path.expanduser(path))))
    inside = [image for match in matches if os.path.isdir(match) for image in _images_of(match, suffixes)]
    return [match for match in matches if os.path.isfile(match) and has_suffix(match, suffixes)] + inside


def _matches(pattern: str) -> Iterator[str]:
    """As `glob` with `recursive`, which would follow links in circles: `**` stands for each folder once."""
    before, found, after = _at_stars(pattern)
    if not found:
        yield from glob(pattern)
        return
    for start in glob(before) if before else [os.curdir]:
        for path, files in walk(start) if os.path.isdir(start) else ():
            folder = path if before else os.path.relpath(path)
            if after:
                yield from _matches(os.path.join("" if folder == os.curdir else escape(folder), after))
            else:
                yield folder
                yield from (os.path.join("" if folder == os.curdir else folder, name) for name in files)


def _at_stars(pattern: str) -> tuple[str, bool, str]:
    """What stands before the first part of a path that is `**`, whether there is one, and what stands behind it."""
    written = pattern.replace(os.altsep, os.sep) if os.altsep else pattern
    before, stars, after = f"{os.sep}{written}{os.sep}".partition(f"{os.sep}**{os.sep}")
    return before[1:] or before, bool(stars), after.rstrip(os.sep)
