"""Where batches of pictures come from: the core's own reader, or a framework's native pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xfer.arrays import Digests, Int64
from xfer.backend import Backend, InputSpec, Labelled
from xfer.capabilities import capability
from xfer.data.loader import read_batches
from xfer.data.order import Source
from xfer.data.readers import Readers
from xfer.data.split import Split
from xfer.errors import BackendError, ConfigError
from xfer.pixels.augment import Transform
from xfer.pixels.channels import FOUR, GREY, Channels, channels_of, in_grey
from xfer.pixels.reading import picture_digest


@dataclass(frozen=True)
class Pictures:
    """Read and augmented in the core: the same bits whatever the framework, the workers and the order."""

    split: Split
    transforms: tuple[Transform, ...]
    seed: int
    workers: int
    draft: bool = False  # see `xfer.pixels.lazy.Jpeg`
    readers: Readers = "auto"

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        return read_batches(
            self.split,
            self.transforms,
            chunks,
            seed=self.seed,
            view=view,
            workers=self.workers,
            draft=self.draft,
            readers=self.readers,
        )


@dataclass(frozen=True)
class NativePictures:
    """Read and augmented by the framework: the same distributions as the core's, but other draws.

    A sample that comes again in an epoch is then the same picture again.
    """

    read: Callable[[InputSpec], Iterator[Labelled]]
    split: Split
    transforms: tuple[Transform, ...]
    seed: int
    workers: int

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        files, labels = self.split.files, self.split.labels
        seed = int(np.random.default_rng((self.seed, view)).integers(2**31))
        chunks = [part % len(labels) for part in chunks]
        transforms = tuple(t for t in self.transforms if not isinstance(t, Channels))
        for batch in self.read(InputSpec(files, labels, transforms, chunks, seed, self.workers)):
            if channels_of(self.transforms) == GREY:  # here: frameworks round it otherwise
                batch = replace(batch, inputs=in_grey(batch.inputs))
            digests = b"".join(picture_digest(image) for image in batch.inputs)
            yield batch, np.frombuffer(digests, np.uint8).reshape(-1, 16)


@dataclass(frozen=True)
class Taken:
    """Some pictures of a source, by their places in it (n,): drawn as they are where all of it is read."""

    source: Source
    places: Int64

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        return self.source.batches([self.places[part] for part in chunks], view)


def open_source(
    backend: Backend,
    pipeline: str,
    split: Split,
    transforms: tuple[Transform, ...],
    seed: int,
    workers: int,
    draft: bool = False,
    readers: Readers = "auto",
) -> Source:
    """The source that `data.pipeline` names. Raises BackendError when the backend offers no native one."""
    if pipeline == "core":
        return Pictures(split, transforms, seed, workers, draft, readers)
    if draft:
        raise ConfigError("data.decode = 'draft': the native pipeline decodes by itself. Cure: data.pipeline = 'core'")
    if channels_of(transforms) == FOUR:
        raise ConfigError("data.channels = 4: a native pipeline reads colours alone. Cure: data.pipeline = 'core'")
    native = capability(backend, "native_batches")
    if native is None:
        raise BackendError(f"data.pipeline = 'native': backend '{backend.name}' has none. Cure: data.pipeline = 'core'")
    return NativePictures(native, split, transforms, seed, workers)
