"""What the core must know of a network: its stages, its head, and which names belong to which.

An adapter builds the network; an `Arch` only lets the core speak about its weights by name. Those that xfer brings are
in `xfer.nets.catalogue`; a backend may bring others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from xfer.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LOGITS = "logits"
"""The boundary behind the last stage."""

NO_WEIGHTS = ("num_batches_tracked", "relative_position_index", "relative_coords_table")
"""Ends of names in torch's state dicts that are no weights: a counter, and what the size of Swin's windows says."""

Padding = Literal["symmetric", "same_pool", "same"]
"""Where the strided layers of residual networks are padded: alike on both sides, as torchvision does; by
TensorFlow's SAME, with an odd pixel right and below, in the max pooling alone (MindCV), or in every layer (MindSpore's
tutorials)."""

MOST_BLOCKS = 256
"""Of a stage: the deepest residual network that was ever published, of 1202 layers, has 200."""

MOST_HIDDEN, MOST_WIDTH = 32, 100_000
"""Hidden layers before the head, and units of one."""

EXTRA = "extra"
"""The stage of hidden linear layers before the head, in a network that was given some."""


@dataclass(frozen=True)
class Arch:
    """One network, as the core sees it.

    `stages` maps a stage's name to those of the weights in it, in the order of the computation. A boundary is named
    after the stage it enters: the first stage takes uint8 images, `head` takes pooled features `(N, F)`.
    """

    name: str
    stages: tuple[tuple[str, tuple[str, ...]], ...]
    head: str  # module name of the last linear layer
    features: int  # F, the width of the head's input
    dropout: float = 0.0  # probability of dropping one of the head's inputs
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    layers: tuple[int, ...] | None = None  # blocks of each stage; None: no network to add blocks to
    spared: tuple[str, ...] = ()  # like norm layers and biases, beside those that can be told by their names

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(stage for stage, _ in self.stages)

    @property
    def head_names(self) -> tuple[str, str]:
        """Names of the head's weight `(classes, F)` and bias `(classes,)`."""
        return f"{self.head}.weight", f"{self.head}.bias"

    @cached_property
    def _stage_of(self) -> Mapping[str, str]:
        return {name: stage for stage, names in self.stages for name in names}

    def stage_of(self, name: str) -> str:
        """The stage a weight belongs to. Raises ConfigError for a name of another network."""
        if name not in self._stage_of:
            raise ConfigError(f"weight {name!r} belongs to no stage of {self.name}")
        return self._stage_of[name]

    def first_stage(self, names: Iterable[str], start: str | None = None) -> str:
        """The first stage, from `start` on, that holds one of the names; the last one where none does.

        Where `names` are all that may change, what lies before it is a pure function of the picture.
        """
        stages = self.stage_names[0 if start is None else self.stage_names.index(start) :]
        holding = {self.stage_of(name) for name in names}
        return next(stage for stage in stages if stage in holding or stage == stages[-1])


def refuse_blocks(layers: Sequence[int], most: int) -> None:
    """Raises ConfigError for more than `most` numbers of blocks, for none, and for one that is not 1 to MOST_BLOCKS."""
    if not 1 <= len(layers) <= most or not 1 <= min(layers) <= max(layers) <= MOST_BLOCKS:
        raise ConfigError(
            f"model.layers = {list(layers)}: expected 1 to {most} numbers of blocks, each 1 to {MOST_BLOCKS}"
        )


def norm_layers(names: Iterable[str]) -> tuple[str, ...]:
    """Module names of the normalisation layers that keep running statistics, in order of appearance."""
    suffix = ".running_mean"
    return tuple(n.removesuffix(suffix) for n in names if n.endswith(suffix))


def is_variance(name: str) -> bool:
    """Whether a name is a running variance."""
    return name.endswith(".running_var")


def is_statistic(name: str) -> bool:
    """Whether a name is a running statistic: state that no optimizer touches."""
    return name.endswith((".running_mean", ".running_var"))
