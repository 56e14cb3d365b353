"""Pictures that belong together, of one patient or one film, dealt out as whole groups and stratified all the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Int64
from xfer.multilabel import class_counts, members, occurring, several


def deal(labels: Int64, groups: Int64, shares: Sequence[float], whole: Sequence[bool], seed: int) -> Int64 | None:
    """The part of each picture, (n,) of 0 to len(shares) - 1; no group lies in two. None where it cannot be done.

    `shares` are those that the parts should have of each class, and of all pictures, as far as whole groups allow. No
    part that is not allowed it in `whole` gets all of a class. The largest group goes first, equal ones in the order
    of the seed, each to where the sum over parts and classes of load^2 / share is then the least, which has its least
    where every load is the share. (The greedy rule of scikit-learn's StratifiedGroupKFold, with another measure.)
    """
    n, n_classes = len(labels), labels.shape[1] if several(labels) else int(labels.max(initial=-1)) + 1
    _, groups = np.unique(groups, return_inverse=True)
    pictures, had = labels.nonzero() if several(labels) else (slice(None), labels)
    pairs, counts = np.unique(groups.reshape(-1)[pictures] * n_classes + had, return_counts=True)
    of, classes = np.divmod(pairs, n_classes)
    sizes, totals = np.bincount(groups.reshape(-1)), class_counts(labels, n_classes)
    begins = np.searchsorted(of, np.arange(len(sizes) + 1))
    remaining = np.bincount(classes, minlength=n_classes)  # groups with a class that are not dealt out yet
    loads = np.zeros((len(shares), n_classes + 1), np.int64)  # the last column: of all classes together
    weights, allowed = 1 / np.asarray(shares), np.asarray(whole)
    parts = np.empty(len(sizes), np.int64)
    shuffled = np.random.default_rng((seed, 0)).permutation(len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        inside = slice(begins[group], begins[group + 1])
        columns, added = np.append(classes[inside], n_classes), np.append(counts[inside], sizes[group])
        rate = added / np.append(totals[classes[inside]], n)
        cost = ((2 * loads[:, columns] / np.append(totals[classes[inside]], n) + rate) * rate).sum(axis=1) * weights
        remaining[classes[inside]] -= 1
        last = classes[inside][remaining[classes[inside]] == 0]
        full = ~allowed & (loads[:, last] == loads[:, last].sum(axis=0)).any(axis=1)
        if full.all():
            return None
        parts[group] = np.where(full, np.inf, cost).argmin()
        loads[parts[group], columns] += added
    dealt: Int64 = parts[groups.reshape(-1)]
    return dealt


def fill(labels: Int64, groups: Int64, held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`held_out` (n,), with a group more for each class that has two or more and none there: the smallest of it.

    Unless one of the classes of that group would then have no picture that is not held out.
    """
    held_out = held_out.copy()
    for label in range(labels.shape[1]) if several(labels) else np.unique(labels):
        own = members(labels, label)
        if held_out[own].any():
            continue
        found, counts = np.unique(groups[own], return_counts=True)
        for group in found[np.argsort(counts, kind="stable")]:
            tried = held_out | (groups == group)
            if occurring(labels[groups == group]) <= occurring(labels[~tried]):
                held_out = tried
                break
    return held_out
