"""Where batches of pictures come from: the core's own reader, or a framework's native pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from xfer.augment import Transform
from xfer.backend import Backend, Batch, Float32, Int64, NativeInput
from xfer.data import Split
from xfer.errors import BackendError, ConfigError
from xfer.loader import picture_digest, read_batches

Digests = NDArray[np.uint8]


class Source(Protocol):
    """Batches of a split, by the indices of their samples."""

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Batch, Digests]]:
        """One batch for each array of indices, with the 16-byte digest of each picture `(N, 16)`."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Read and augmented in the core: the same bits whatever the framework, the workers and the order."""

    split: Split
    transforms: tuple[Transform, ...]
    seed: int
    workers: int
    draft: bool = False  # see `xfer.images.Jpeg`

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Batch, Digests]]:
        how = {"seed": self.seed, "view": view, "workers": self.workers}
        return read_batches(self.split, self.transforms, chunks, **how, draft=self.draft)


@dataclass(frozen=True)
class NativePictures:
    """Read and augmented by the framework: the same distributions as the core's, but other draws."""

    backend: NativeInput
    split: Split
    transforms: tuple[Transform, ...]
    seed: int
    workers: int

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Batch, Digests]]:
        files, labels = [str(f) for f in self.split.files], self.split.labels
        seed = int(np.random.default_rng((self.seed, view)).integers(2**31))
        for batch in self.backend.native_batches(files, labels, self.transforms, chunks, seed, self.workers):
            digests = b"".join(picture_digest(image) for image in batch.inputs)
            yield batch, np.frombuffer(digests, np.uint8).reshape(-1, 16)


def open_source(
    backend: Backend,
    pipeline: str,
    split: Split,
    transforms: tuple[Transform, ...],
    seed: int,
    workers: int,
    draft: bool = False,
) -> Source:
    """The source that `data.pipeline` names. Raises BackendError when the backend offers no native one."""
    if pipeline == "core":
        return Pictures(split, transforms, seed, workers, draft)
    if draft:
        raise ConfigError("data.decode = 'draft': the native pipeline decodes by itself. Cure: data.pipeline = 'core'")
    if not hasattr(backend, "native_batches"):
        raise BackendError(f"data.pipeline = 'native': backend '{backend.name}' has none. Cure: data.pipeline = 'core'")
    return NativePictures(cast(NativeInput, backend), split, transforms, seed, workers)


def keep_mask(seed: int, epoch: int, indices: Iterable[int], width: int, dropout: float) -> Float32 | None:
    """Inverted dropout (Srivastava et al. 2014) for the head's inputs, `(N, width)`; None when nothing is dropped.

    Each sample has a generator of its own, so neither the batch size nor the framework changes a mask.
    """
    if dropout == 0:
        return None
    # The 2 sets these numbers apart from those of a picture and of the order of samples.
    rows = [np.random.default_rng((seed, epoch, int(i), 2)).random(width) >= dropout for i in indices]
    return (np.stack(rows) / (1 - dropout)).astype(np.float32)


def balanced_weights(labels: Int64, classes: int) -> tuple[float, ...]:
    """Class weights inverse to the counts, with a mean of 1 over the samples: n / (classes * count)."""
    counts: NDArray[Any] = np.bincount(labels, minlength=classes)
    return tuple(float(w) for w in len(labels) / (classes * counts))
