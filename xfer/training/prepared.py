"""What is settled before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xfer.backend import ParamGroups
from xfer.data.dataset import Dataset
from xfer.features.store import Store
from xfer.losses import LossSpec
from xfer.nets.net import Net
from xfer.nets.partial import Loaded
from xfer.recipe.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A run before its first step. Whatever a user can get wrong has gone wrong by now."""

    recipe: Recipe
    net: Net  # with its first weights
    data: Dataset
    groups: tuple[ParamGroups, ...]  # of each phase
    loss: LossSpec
    store: Store  # of features, shared with other runs
    source_digest: str  # of the weights that training starts from, the fresh head included
    loaded: Loaded | None = None  # what partial loading took from the source
    notes: tuple[str, ...] = ()  # lines on what was taken from the source, where there was a choice
    parent: Mapping[str, str] | None = None  # path and digest of the file that training starts from
    network: str | None = None  # path of the file that the network is from, of one in a file
    average: Net | None = None  # a second such net, for `train.ema`; its weights are of no value yet
