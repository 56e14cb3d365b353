"""The order of samples, and what it means to give their batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from xfer.arrays import Digests, Int64
from xfer.backend import Labelled


class Source(Protocol):
    """Batches of a split, by the indices of their samples."""

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        """One batch for each array of indices, with the 16-byte digest of each picture `(N, 16)`."""
        ...


def sample_order(n: int, seed: int, epoch: int) -> Int64:
    """A permutation of range(n), for each seed and epoch its own."""
    # The 1 sets these numbers apart from those of any picture: NumPy reads (seed, view, index) as (..., index, 0).
    return np.random.default_rng((seed, epoch, 0, 1)).permutation(n)


def chunks(order: Int64, batch_size: int) -> list[Int64]:
    """Consecutive parts of `batch_size`; the last may be shorter."""
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
