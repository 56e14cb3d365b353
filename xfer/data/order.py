"""The order of samples, and what it means to give their batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np

from xfer.arrays import Digests, Int64
from xfer.backend import Labelled

Sampler = Literal["shuffle", "balanced"]
_BALANCED = 6  # sets this generator apart from that of `sample_order`, of masks (2 to 4) and of what is mixed (5)


class Source(Protocol):
    """Batches of a split, by the positions of their samples.

    Of n pictures, position n + i is picture i again, with random numbers of its own. Features have none such.
    """

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        """One batch for each array of positions, with the 16-byte digest of each picture `(N, 16)`."""
        ...


def sample_order(n: int, seed: int, epoch: int) -> Int64:
    """A permutation of range(n), for each seed and epoch its own."""
    # The 1 sets these numbers apart from those of any picture: NumPy reads (seed, view, index) as (..., index, 0).
    return np.random.default_rng((seed, epoch, 0, 1)).permutation(n)


def epoch_order(sampler: Sampler, labels: Int64, seed: int, epoch: int) -> Int64:
    """The positions (n,) of an epoch, as `Source` reads them."""
    return balanced_order(labels, seed, epoch) if sampler == "balanced" else sample_order(len(labels), seed, epoch)


def balanced_order(labels: Int64, seed: int, epoch: int) -> Int64:
    """As many positions as there are labels, of each class that is among them as many, but for a remainder of one.

    A class has no sample again before it had all of them: torch's WeightedRandomSampler draws each independently, which
    gives a class as many on average alone, and leaves out more of its samples.
    """
    rng, counts = np.random.default_rng((seed, epoch, 0, _BALANCED)), np.unique(labels, return_counts=True)[1]
    share, remainder = divmod(len(labels), len(counts))
    lucky = set(rng.permutation(len(counts))[:remainder].tolist())
    drawn = []
    for place, members in enumerate(np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])):
        wanted = share + (place in lucky)
        again = np.arange(-(-wanted // len(members)))[:, None]
        rounds = rng.permuted(np.tile(members, (len(again), 1)), axis=1) + len(labels) * again
        drawn.append(rounds.ravel()[:wanted])
    return rng.permutation(np.concatenate(drawn))


def balance(labels: Int64, classes: Sequence[str]) -> str:
    """For people, what `balanced_order` draws, out of how many."""
    counts = np.bincount(labels, minlength=len(classes))
    share, rest = divmod(len(labels), len(classes))
    fewest, most = (f"{counts[i]:,} of {classes[i]}" for i in (int(counts.argmin()), int(counts.argmax())))
    return f"{share:,}{f' or {share + 1:,}' if rest else ''} pictures of each class an epoch, out of {fewest} to {most}"


def chunks(order: Int64, batch_size: int) -> list[Int64]:
    """Consecutive parts of `batch_size`; the last may be shorter."""
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
