"""Prefixes that wrappers of a network put before every one of its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
"""torch's DataParallel and AveragedModel; torch.compile; and what a LightningModule usually calls its network."""

_COUNT = "n_averaged"  # of models in torch's AveragedModel, beside its `module.`

T = TypeVar("T")


def without_wrappers(arrays: Mapping[str, T]) -> dict[str, T]:
    """Without the prefixes that all names share, however deeply nested, and the count of an averaged model.

    A prefix that only some names have is a part of the network, and stays.
    """
    bare = dict(arrays)
    while prefix := _shared({name for name in bare if name != _COUNT}):
        bare = {name.removeprefix(prefix): array for name, array in bare.items() if name != _COUNT}
    return bare


def _shared(names: set[str]) -> str:
    return next((p for p in WRAPPERS if names and all(len(name) > len(p) and name.startswith(p) for name in names)), "")
