"""Finding pictures to predict: files, folders and patterns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob

from xfer.data.layout import has_suffix, walk_files
from xfer.errors import DataError
from xfer.pixels.images import SUFFIXES


def find_images(paths: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Pictures to predict, in order, each once: files as they are, all in folders and below, matches of globs.

    Raises DataError for what does not exist or holds no picture.
    """
    images: dict[str, None] = {}
    for path in paths:
        matches = [path] if os.path.isfile(path) else _images_of(path, suffixes)
        if not matches:
            raise DataError(f"images {path!r}: expected a file, a folder with pictures or a pattern that matches some")
        images |= dict.fromkeys(matches)
    return list(images)


def _images_of(path: str, suffixes: Sequence[str]) -> list[str]:
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in walk_files(path) if has_suffix(name, suffixes)]
    matches = sorted(glob(os.path.expanduser(path), recursive=True))
    inside = [image for match in matches if os.path.isdir(match) for image in _images_of(match, suffixes)]
    return [match for match in matches if os.path.isfile(match) and has_suffix(match, suffixes)] + inside
