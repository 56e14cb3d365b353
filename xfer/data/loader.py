"""Pictures in, batches out: decoded and augmented by threads, the same bits whatever their number and the order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np
import xxhash

from xfer.arrays import Int64, Pixels
from xfer.backend import Labelled
from xfer.data.split import Split
from xfer.errors import DataError
from xfer.pixels.augment import Transform, is_random, output_size, transformed, working_pixels
from xfer.pixels.bounds import Share
from xfer.pixels.images import open_lazily
from xfer.pixels.levels import levels_of
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
) -> Generator[tuple[Labelled, Pixels], None, None]:
    """A batch for each array of positions in the split, and the digests of its pictures (N, 16) uint8.

    A picture's random numbers come from (seed, view, its position) and nothing else. `draft` decodes large JPEG files
    faster and less exactly, see `xfer.pixels.lazy.Jpeg`. `workers` threads (0: one for each processor) read
    BATCHES_AHEAD batches ahead, and end when the iterator is closed. Raises ConfigError when the pictures would have
    different sizes, and DataError, with the file, for one that cannot be read any more, or that holds something else
    by now.
    """
    size = output_size(transforms)
    random = is_random(transforms)
    room: deque[Pixels] = deque()  # of the batches that are being read

    def places() -> Iterator[tuple[int, Pixels]]:
        for part in chunks:
            room.append(np.empty((len(part), *size, 3), np.uint8))
            yield from zip(part.tolist(), room[-1], strict=True)

    def read(place: tuple[int, Pixels]) -> bytes:
        index, pixels = place
        if split.changed(index):
            raise DataError(
                f"data {split.files[index]}: changed since it was checked. "
                "Cure: bring it back as it was, or train anew on what is there now"
            )
        rng = np.random.default_rng((seed, view, index)) if random else None
        pixels[:] = _read_picture(str(split.files[index]), transforms, rng, draft)
        return picture_digest(pixels)

    ahead = BATCHES_AHEAD * max(map(len, chunks), default=1)
    with closing(map_ahead(read, places(), workers, ahead)) as pictures:
        for part in chunks:
            digests = b"".join(islice(pictures, len(part)))
            yield Labelled(room.popleft(), split.labels[part]), np.frombuffer(digests, np.uint8).reshape(-1, 16)


def refuse_large_batches(transforms: Sequence[Transform], count: int, workers: int, device: str, cure: str) -> None:
    """Raises ConfigError where batches of `count` pictures, or a single picture, take more memory than there is.

    Counted are the batch that a step has, on the CPU in float32 too, those that are read ahead, and of each thread the
    largest picture that the transforms make on the way, as Pillow keeps it, with the one that it is made from.
    """
    height, width = output_size(transforms)
    batches = height * width * 3 * count * ((1 + BATCHES_AHEAD) + (4 if device == "cpu" else 0))
    on_the_way = 2 * 4 * working_pixels(transforms) * min(workers or processors(), count)
    refuse_memory(f"batches of {count:,} pictures of {height} x {width} pixels", batches + on_the_way, cure)


def read_now(split: Split, transforms: Sequence[Transform], indices: Int64, seed: int = 0) -> Pixels:
    """The pictures (N, H, W, 3) at these positions of a split, one or more, for a look rather than for training.

    They are those of `read_batches` at view 0, and so are the errors. `seed` matters to random transforms only.
    """
    ((batch, _),) = read_batches(split, transforms, [indices], seed=seed, view=0, workers=0)
    return batch.inputs


def _read_picture(path: str, transforms: Sequence[Transform], rng: np.random.Generator | None, draft: bool) -> Pixels:
    """One picture (H, W, 3). Raises DataError, with the file."""
    with Share() as share:
        image = open_lazily(path, draft, levels_of(transforms), share)
        try:
            return np.asarray(transformed(image, transforms, rng))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def picture_digest(pixels: Pixels) -> bytes:
    """16 bytes of XXH3-128 over shape and pixels (H, W, 3) uint8."""
    # Against chance, not against forgers: SHA-256 takes a twentieth of the time of reading a picture, this a hundredth.
    digest = xxhash.xxh3_128(np.array(pixels.shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
