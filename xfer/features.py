"""The boundary cache: what a frozen prefix makes of each view of a picture, computed once.

A frozen prefix in inference mode is a pure function of the picture, and a recipe says how many views of each picture
exist. Keeping its output is therefore no approximation: pictures and kept features give the same training.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from xfer.backend import Batch, Float32, Int64, PredictStep
from xfer.data import Split
from xfer.loader import chunks
from xfer.progress import Progress
from xfer.sources import Digests, Source

FEATURE_BATCH = 32  # pictures at a time through the prefix; larger gains nothing on a CPU
IN_MEMORY = 1 << 30  # bytes of features; more are kept in a temporary file


@dataclass(frozen=True)
class Kept:
    """One view of a whole split at a boundary: `values` (n, ...) float32, `digests` (n, 16) of its pictures."""

    values: Float32
    digests: Digests


@dataclass
class FeatureCache:
    """Features of a split at a boundary: each view is computed once, the first time it is asked for."""

    pictures: Source
    split: Split
    prefix: PredictStep
    progress: Progress
    seconds: float = 0.0  # spent so far on computing features
    views: dict[int, Kept] = field(default_factory=dict)

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Batch, Digests]]:
        kept = self.view(view)
        for indices in chunks:
            yield Batch(kept.values[indices], self.split.labels[indices]), kept.digests[indices]

    def fill(self, views: Iterable[int]) -> FeatureCache:
        """Compute these views now, so that the seconds of an epoch are those of training."""
        for view in views:
            self.view(view)
        return self

    def view(self, view: int) -> Kept:
        if view not in self.views:
            started = time.perf_counter()
            self.views[view] = self._compute(view)
            self.seconds += time.perf_counter() - started
        return self.views[view]

    def _compute(self, view: int) -> Kept:
        count = len(self.split.labels)
        parts = self.pictures.batches(chunks(np.arange(count), FEATURE_BATCH), view)
        values: Float32 | None = None
        digests, done = np.empty((count, 16), np.uint8), 0
        for batch, batch_digests in parts:
            output = self.prefix(batch.inputs)
            values = _room((count, *output.shape[1:])) if values is None else values
            values[done : done + len(output)], digests[done : done + len(output)] = output, batch_digests
            done += len(output)
            self.progress(f"features, view {view + 1}", done, count)
        assert values is not None, "a split is never empty"
        return Kept(values, digests)


def _room(shape: tuple[int, ...]) -> Float32:
    size = int(np.prod(shape)) * 4
    if size <= IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(prefix="xfer-features-") as file:  # the mapping outlives the name and the handle
        return np.memmap(file, np.float32, "w+", shape=shape)
