"""Pictures to predict, as they are given: names of files, folders and patterns, Pillow's images, arrays."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.arrays import Pixels
from xfer.data.find import find_images
from xfer.data.lists import Skipped
from xfer.data.readers import map_parts, pool_for
from xfer.errors import DataError
from xfer.pixels.augment import Transform, apply, is_random, output_size
from xfer.pixels.bounds import Share
from xfer.pixels.channels import FOUR, channels_of
from xfer.pixels.faults import reason_for, too_large
from xfer.pixels.images import SUFFIXES, open_lazily, upright
from xfer.pixels.lazy import Jpeg
from xfer.pixels.levels import Levels, levels_of
from xfer.pixels.reading import Reader, Tolerant
from xfer.system.parallel import map_ahead
from xfer.system.worker_pool import WorkerPool

AHEAD = 64  # pictures
AT_ONCE = 16  # that share the memory they are read into

Given: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"
"""A file, a folder or a pattern; a picture of Pillow's, of any mode; an array (H, W, 3) uint8, red, green and blue."""

Picture: TypeAlias = "str | Image.Image | NDArray[Any]"
"""One picture: a file, or what lies in memory."""


def find_given(given: Given | Iterable[Given], suffixes: Sequence[str] = SUFFIXES) -> dict[str, Picture]:
    """Each picture once, by name and in order: in folders, files with these suffixes. An array (N, H, W, 3) is N.

    A file's name is its path; what lies in memory is called `image 0`, `image 1` and so on, counted from 0 among all
    that was given. Raises DataError for a path where there is no picture, and for what is none of these.
    """
    pictures: dict[str, Picture] = {}
    for number, item in enumerate(_each(given)):
        if isinstance(item, Image.Image | np.ndarray):
            pictures[f"image {number}"] = item
        elif isinstance(item, str | os.PathLike):
            pictures |= {file: file for file in find_images([os.fspath(item)], suffixes)}
        else:
            raise DataError(f"picture {number} is of type {type(item).__name__}: expected a path, a PIL image or uint8 "
                            "pixels (H, W, 3). Cure: of a tensor, its .numpy()")  # fmt: skip
    return pictures


def _each(given: Any) -> Iterable[Any]:
    if isinstance(given, np.ndarray):
        return list(given) if given.ndim == 4 else [given]
    return [given] if isinstance(given, str | os.PathLike | Image.Image) or not isinstance(given, Iterable) else given


def read_given(
    pictures: Sequence[tuple[str, Picture]], transforms: Sequence[Transform], workers: int = 0
) -> Generator[Pixels | Skipped, None, None]:
    """What the transforms make of each named picture, (H, W, 3), or why it cannot be used; in their order.

    Random ones draw as for the same picture of a split, with seed 0. `workers` threads or, for files alone, processes
    (0: one for each processor) read AHEAD pictures ahead. What was given in memory is left as it was. Raises
    ConfigError when the pictures would have different sizes.
    """
    size = output_size(transforms)
    files = [picture for _, picture in pictures if isinstance(picture, str)]
    with ExitStack() as held:
        if len(files) == len(pictures) and (pool := pool_for(held, "auto", workers, len(files))):
            yield from _of_files(pool, files, transforms, (*size, channels_of(transforms)))
        else:
            yield from _of_all(pictures, transforms, workers)


def read_whole(
    pictures: Sequence[tuple[str, Picture]], levels: Levels | None = None, workers: int = 0
) -> Generator[Pixels | Skipped, None, None]:
    """As `read_given`, each picture as large as it is."""
    with closing(_of_all(pictures, () if levels is None else (levels,), workers)) as results:
        yield from results


def _of_files(
    pool: WorkerPool, files: Sequence[str], transforms: Sequence[Transform], shape: tuple[int, int, int]
) -> Iterator[Pixels | Skipped]:
    places = [(index, file, None) for index, file in enumerate(files)]
    parts = (places[i : i + AT_ONCE] for i in range(0, len(places), AT_ONCE))
    read, names = Tolerant(Reader(tuple(transforms), 0, 0, draft=False)), iter(files)
    with closing(map_parts(pool, read, parts, AT_ONCE, shape, AHEAD // AT_ONCE)) as results:
        for together, reasons in results:
            for pixels, reason, name in zip(together, reasons, names, strict=False):
                yield Skipped(name, reason) if reason else pixels


def _of_all(
    pictures: Sequence[tuple[str, Picture]], transforms: Sequence[Transform], workers: int
) -> Generator[Pixels | Skipped, None, None]:
    random, levels, loading = is_random(transforms), levels_of(transforms), Lock()
    alpha = channels_of(transforms) == FOUR

    def read(place: tuple[int, tuple[str, Picture]]) -> Pixels | Skipped:
        index, (name, picture) = place
        try:
            with Share() as share:
                image = _opened(picture, loading, levels, share, alpha)
                rng = np.random.default_rng((0, 0, index)) if random else None
                return apply(image, transforms, rng)
        except DataError as error:
            return Skipped(name, str(error).removeprefix(f"{name}: "))

    with closing(map_ahead(read, enumerate(pictures), workers, AHEAD)) as results:
        yield from results


def _opened(picture: Picture, loading: Lock, levels: Levels | None, share: Share, alpha: bool) -> Image.Image | Jpeg:
    if isinstance(picture, str):
        return open_lazily(picture, levels=levels, share=share, alpha=alpha)
    if isinstance(picture, Image.Image):
        try:
            with loading:  # one image may be given twice, and Pillow's file of it has one position
                picture.load()
            return upright(picture, levels, share, alpha)
        except Exception as error:  # an image whose file is read only now may turn out to be damaged
            raise DataError(reason_for(error)) from error
    known = (3, 4) if alpha else (3,)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in known or not picture.size:
        shapes = " or ".join(f"(H, W, {count})" for count in known)
        raise DataError(f"an array of {picture.dtype} {picture.shape}: expected uint8 {shapes}, from 0 to 255")
    height, width, _ = picture.shape
    if reason := too_large(width, height):
        raise DataError(reason)
    share.hold(4 * width * height)
    image = Image.fromarray(picture)
    return image.convert("RGBA") if alpha else image
