"""The boundary cache: what a frozen prefix makes of each view of a picture, computed once.

A frozen prefix in inference mode is a pure function of the picture, and a recipe says how many views of each picture
exist. Keeping its output is therefore no approximation: pictures and kept features give the same training. What is
kept on disk (`xfer.features.store`) is shared with later runs, and with others that go on at the same time.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import eq
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Digests, Float32, Int64
from xfer.backend import Labelled, PredictStep
from xfer.data.order import Source, chunks
from xfer.data.split import Split
from xfer.errors import XferError
from xfer.features import store as feature_store
from xfer.features.key import Origin
from xfer.features.store import Kept, Store
from xfer.nets.net import PREDICT_BATCH
from xfer.pixels.content import file_digest
from xfer.progress import Progress
from xfer.system.memory import refuse_memory
from xfer.system.parallel import map_ahead

IN_MEMORY = 1 << 30  # bytes of features; more stay in a file, and are mapped
Floats = NDArray[np.floating[Any]]


@dataclass
class FeatureCache:
    """Features of a split at a boundary: each view is computed once, the first time it is asked for.

    With a store and the origin of the features, no view is computed that the store has.
    """

    pictures: Source
    split: Split
    prefix: PredictStep
    progress: Progress  # over all views that are filled together
    dtype: Literal["float32", "float16"] = "float32"  # of what is kept; batches are float32
    store: Store | None = None
    origin: Origin | None = None
    what: str = "features"
    batch: int = PREDICT_BATCH  # pictures at a time through the prefix
    filling: tuple[int, ...] = ()  # the views that are obtained together
    seconds: float = 0.0  # spent so far on obtaining features
    views: dict[int, Kept] = field(default_factory=dict)

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        kept = self.view(view)
        for indices in chunks:
            values = kept.values[indices].astype(np.float32, copy=False)
            yield Labelled(values, self.split.labels[indices]), kept.digests[indices]

    def fill(self, views: Iterable[int]) -> FeatureCache:
        """Obtain these views now, so that the seconds of an epoch are those of training."""
        self.filling = tuple(views)
        for view in self.filling:
            self.view(view)
        return self

    def view(self, view: int) -> Kept:
        if view not in self.views:
            started = time.perf_counter()
            self.views[view] = self._obtain(view)
            self.seconds += time.perf_counter() - started
        return self.views[view]

    def _obtain(self, view: int) -> Kept:
        if self.store is None or self.origin is None:
            return self._compute(view)
        return self._shared(self.store, self.origin, view)

    def _compute(self, view: int) -> Kept:
        count = len(self.split.labels)
        before, together = (self.filling.index(view), len(self.filling)) if view in self.filling else (0, 1)
        what = f"{self.what}, view {before + 1} of {together}"
        parts = chunks(np.arange(count), self.batch)
        values: Floats | None = None
        digests, done = np.empty((count, 16), np.uint8), 0
        # Not kept in a variable: the traceback of an error would keep its threads reading.
        for batch, batch_digests in self.pictures.batches(parts, view):
            output = self.prefix(batch.inputs)
            self._refuse_not_finite(output, done)
            if values is None:
                shape, dtype = (count, *output.shape[1:]), np.dtype(self.dtype)
                self._refuse_views(view, math.prod(shape) * dtype.itemsize)
                values = _room(shape, dtype)
            values[done : done + len(output)] = _narrowed(output) if self.dtype == "float16" else output
            digests[done : done + len(output)] = batch_digests
            done += len(output)
            self.progress(what, before * count + done, together * count)
        assert values is not None, "a split is never empty"
        return Kept(values, digests)

    def _refuse_not_finite(self, output: Float32, before: int) -> None:
        """Raises XferError, naming the first picture, so that no such features are kept. `before`: pictures done."""
        if not np.isfinite(output).all():
            row = int(np.flatnonzero(~np.isfinite(output.reshape(len(output), -1)).all(axis=1))[0])
            raise XferError(
                f"{self.split.files[before + row]}: what the frozen layers make of it is not finite: the weights "
                "overflow. Cure: other weights, or another mean and std in augment's Normalize"
            )

    def _shared(self, store: Store, origin: Origin, view: int) -> Kept:
        """From the store, or else computed and put there: by one process, while others that want it wait."""
        key = origin.key(view)
        with feature_store.hold(store, key, self.progress):
            kept = feature_store.read(store, key, IN_MEMORY)
            if kept is not None:
                self._refuse_views(view, kept.values.nbytes)
            return kept or self._put(store, key, self._compute(view), origin.describe(view))

    def _refuse_views(self, view: int, size: int) -> None:
        """Raises ConfigError at the first of the views where all, of `size` bytes each, are too much to hold."""
        if size <= IN_MEMORY and self.filling[:1] == (view,):
            what = f"{self.what}, {len(self.filling):,} views of {len(self.split.labels):,} pictures"
            refuse_memory(what, size * len(self.filling), "fewer train.views, or features.cache = false")

    def _put(self, store: Store, key: str, kept: Kept, about: dict[str, Any]) -> Kept:
        """Keep what can be kept. A folder that cannot be written, or a full disk, is no error."""
        if not _unchanged(self.split):
            return kept
        try:
            feature_store.write(store, key, kept, about)
            feature_store.prune(store, store.limit)
        except OSError as error:
            self.progress(f"features are not kept on disk ({error.strerror or error})", 0, None)
            return kept
        # The temporary file that large values were computed into need not stay beside the entry.
        mapped = feature_store.read(store, key, IN_MEMORY) if isinstance(kept.values, np.memmap) else None
        return mapped or kept


def _unchanged(split: Split) -> bool:
    """Whether the files are those that the key stands for: they may have been edited after they were checked."""
    try:
        with closing(map_ahead(file_digest, split.files, workers=0, ahead=64)) as digests:
            return split.digests is not None and all(map(eq, digests, map(bytes, split.digests)))
    except OSError:
        return False


def _narrowed(values: Float32) -> Floats:
    """In half precision. Raises XferError for what is beyond its range."""
    with np.errstate(over="ignore"):
        narrow: Floats = values.astype(np.float16)
    if (beyond := np.isinf(narrow) & np.isfinite(values)).any():
        raise XferError(
            f"features.dtype = 'float16': a feature of {values[beyond][0]:g} is beyond its range, expected at most "
            f"{np.finfo(np.float16).max:g}. Cure: features.dtype = 'float32'"
        )
    return narrow


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Floats:
    """Raises XferError where there is no room for a file."""
    size = math.prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="xfer-features-") as file:  # the mapping outlives the name and the handle
            _allocate(file.fileno(), size)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        where = tempfile.tempdir or "any folder for what is temporary"
        raise XferError(
            f"{size / 1e9:.1f} GB of features do not fit into {where} ({error.strerror or error}). "
            "Cure: TMPDIR=FOLDER with more room, or features.dtype = 'float16', or features.cache = false"
        ) from error


def _allocate(handle: int, size: int) -> None:
    """Take the blocks of a file at once: to write where a mapped file has none ends the process on a full disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    elif (free := shutil.disk_usage(tempfile.gettempdir()).free) < size:
        raise OSError(errno.ENOSPC, f"{free / 1e9:.1f} GB are free")
