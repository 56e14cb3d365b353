"""All that lies on disk below the cache folder: features, sets of pictures, downloads, and records of checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from xfer.data.checked import FOLDER as CHECKED
from xfer.data.checked import checked_folders
from xfer.data.fetched import REMOTE, fetched_sets
from xfer.data.made import DATASETS, UNPACKED, made_sets
from xfer.features import store as features
from xfer.features.store import Entry, Store
from xfer.system import kept
from xfer.system.download import FOLDERS, cache_dir, downloads
from xfer.system.kept import Kept
from xfer.system.limits import limit


@dataclass(frozen=True)
class Cache:
    """Each least recently used first."""

    features: list[Kept]
    sets: list[Kept]
    downloads: list[Kept]
    checked: list[Kept]


def read_cache(store: Store) -> Cache:
    """What is there now, in the user's cache folder and this store of features."""
    return Cache(
        [_of_features(store, entry) for entry in features.entries(store)],
        sorted([*made_sets(cache_dir()), *fetched_sets(cache_dir())], key=lambda entry: entry.used),
        sorted(downloads(cache_dir()), key=lambda entry: entry.used),
        sorted(checked_folders(cache_dir()), key=lambda entry: entry.used),
    )


def prune_cache(store: Store, to: int | None) -> list[Kept]:
    """Remove what killed processes left half made; and down to the limits, or, of all together, to so many bytes.

    The least recently used go first, and what is in use stays. Downloads go only where `to` says so: it may be that
    they were put there by hand. Gives what is gone. Raises OSError.
    """
    for name in (UNPACKED, DATASETS, REMOTE, CHECKED, *FOLDERS):
        kept.sweep(cache_dir() / name)
    features.sweep(store)
    there = read_cache(store)
    if to is not None:
        return kept.prune([*there.features, *there.sets, *there.downloads, *there.checked], to)
    gone = kept.prune(there.features, store.limit) + kept.prune(there.sets, limit("data_cache"))
    return gone + kept.prune(there.checked, limit(CHECKED))


def _of_features(store: Store, entry: Entry) -> Kept:
    remove = partial(features.remove, store, entry.key)
    return Kept(store.root / entry.key, entry.bytes, entry.used, about_features(entry.about), remove)


def about_features(facts: Mapping[str, Any]) -> str:
    """`hymenoptera_data val, 153 pictures: efficientnet_lite0 up to head, torch on cpu, float32`"""
    view = f" view {facts['view']} of seed {facts['seed']}" if {"view", "seed"} <= set(facts) else ""
    try:
        pictures = f"{facts['data']} {facts['split']}{view}, {facts['n']} pictures"
        where = f"{facts['backend']} on {facts['device']}, {facts['dtype']}"
        return f"{pictures}: {facts['arch']} up to {facts['boundary']}, {where}"
    except KeyError:  # it will be computed anew when it is asked for
        return "damaged"
