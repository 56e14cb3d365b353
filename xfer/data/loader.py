"""Pictures in, batches out: decoded and augmented by threads or processes, the same bits whatever their number."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice

import numpy as np

from xfer.arrays import Digests, Int64, Pixels
from xfer.backend import Labelled
from xfer.data.readers import Readers, map_parts, pool_for
from xfer.data.split import Split
from xfer.pixels.augment import Transform, output_size, working_pixels
from xfer.pixels.channels import channels_of
from xfer.pixels.reading import Place, Reader
from xfer.system.memory import refuse_memory
from xfer.system.parallel import map_ahead, processors

BATCHES_AHEAD = 2


def read_batches(
    split: Split,
    transforms: Sequence[Transform],
    chunks: Sequence[Int64],
    *,
    seed: int,
    view: int,
    workers: int,
    draft: bool = False,
    readers: Readers = "threads",
) -> Generator[tuple[Labelled, Digests], None, None]:
    """A batch for each array of positions, and the digests of its pictures (N, 16) uint8.

    Positions are of the split, as `xfer.data.order.Source` has them.
    `seed`, `view` and `draft` as in `xfer.pixels.reading.Reader`. `workers` threads or processes (0: one for each
    processor) read BATCHES_AHEAD batches ahead; threads end when the iterator is closed. Raises ConfigError when the
    pictures would have different sizes, and DataError, with the file, for one that cannot be read any more, or that
    holds something else by now.
    """
    shape, reader = (*output_size(transforms), channels_of(transforms)), Reader(tuple(transforms), seed, view, draft)
    with ExitStack() as held:
        if (pool := pool_for(held, readers, workers, sum(map(len, chunks)))) is None:
            yield from _by_threads(reader, split, chunks, shape, workers)
            return
        parts, longest = (list(_places(split, part)) for part in chunks), max(map(len, chunks), default=1)
        read = held.enter_context(closing(map_parts(pool, reader, parts, longest, shape, BATCHES_AHEAD)))
        for part, (pixels, digests) in zip(chunks, read, strict=True):
            yield Labelled(pixels, split.labels[part % len(split.labels)]), _as_rows(b"".join(digests))


def _by_threads(
    reader: Reader, split: Split, chunks: Sequence[Int64], shape: tuple[int, int, int], workers: int
) -> Iterator[tuple[Labelled, Digests]]:
    room: deque[Pixels] = deque()  # of the batches that are being read

    def places() -> Iterator[tuple[Place, Pixels]]:
        for part in chunks:
            room.append(np.empty((len(part), *shape), np.uint8))
            yield from zip(_places(split, part), room[-1], strict=True)

    def read(task: tuple[Place, Pixels]) -> bytes:
        place, pixels = task
        pixels[:], digest = reader(place)
        return digest

    ahead = BATCHES_AHEAD * max(map(len, chunks), default=1)
    with closing(map_ahead(read, places(), workers, ahead)) as digests:
        for part in chunks:
            together = b"".join(islice(digests, len(part)))
            yield Labelled(room.popleft(), split.labels[part % len(split.labels)]), _as_rows(together)


def _places(split: Split, part: Int64) -> Iterator[Place]:
    for position, index in zip(part.tolist(), (part % len(split.labels)).tolist(), strict=True):
        yield position, str(split.files[index]), split.known(index)


def _as_rows(digests: bytes) -> Digests:
    return np.frombuffer(digests, np.uint8).reshape(-1, 16)


def refuse_large_batches(
    transforms: Sequence[Transform], count: int, workers: int, device: str, cure: str, at_once: int | None = None
) -> None:
    """Raises ConfigError where batches of `count` pictures, or a single picture, take more memory than there is.

    Counted are the batch that a step has, on the CPU in float32 too, those that are read ahead, and of each thread the
    largest picture that the transforms make on the way, as Pillow keeps it, with the one that it is made from.
    `at_once`: how many pictures of a batch a step has in float32 at most; None: all.
    """
    height, width = output_size(transforms)
    as_floats = count if at_once is None else min(count, at_once)
    picture = height * width * channels_of(transforms)
    batches = picture * (count * (1 + BATCHES_AHEAD) + (4 * as_floats if device == "cpu" else 0))
    on_the_way = 2 * 4 * working_pixels(transforms) * min(workers or processors(), count)
    refuse_memory(f"batches of {count:,} pictures of {height} x {width} pixels", batches + on_the_way, cure)


def read_now(split: Split, transforms: Sequence[Transform], indices: Int64, seed: int = 0) -> Pixels:
    """The pictures (N, H, W, C) at these positions of a split, one or more, for a look rather than for training.

    They are those of `read_batches` at view 0, and so are the errors. `seed` matters to random transforms only.
    """
    ((batch, _),) = read_batches(split, transforms, [indices], seed=seed, view=0, workers=0)
    return batch.inputs
