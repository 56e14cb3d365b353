"""Ways of transfer learning that have a name, as the phases that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

Strategy = Literal["head", "finetune", "freeze_unfreeze", "lp_ft", "gradual"]
SHARES: Mapping[Strategy, Mapping[str, int]] = {
    "head": {"head": 1},
    "finetune": {"stem": 1},
    "freeze_unfreeze": {"head": 1, "stem": 2},
    "lp_ft": {"head": 1, "stem": 1},
    "gradual": {"head": 1, "layer4": 1, "layer2": 1, "stem": 1},
}
"""What each phase trains from, and its share of the epochs.

head              the new head alone
finetune          everything
freeze_unfreeze   the head, then everything, as fastai's `fine_tune`: the large first gradients of a fresh head do not
                  disturb what the body has learned
lp_ft             the same with a longer first phase: linear probing, then fine-tuning (Kumar et al. 2022)
gradual           from the head to the stem, as gradual unfreezing (Howard & Ruder 2018)
"""
SMALLER = 10
"""What the rate is divided by in all phases behind the first."""


@dataclass(frozen=True)
class Part:
    """A phase of a strategy, and its share of the recipe's rate."""

    train_from: str
    epochs: int
    lr: float


def parts_of(strategy: Strategy, epochs: int, lr: float) -> tuple[Part, ...]:
    """The phases of so many epochs together, of which each phase needs one; earlier ones have what is left over."""
    shares = SHARES[strategy]
    ends = [-(-epochs * share // sum(shares.values())) for share in accumulate(shares.values(), initial=0)]
    counts = [end - first for first, end in pairwise(ends)]
    return tuple(
        Part(stage, count, lr / SMALLER if number else lr)
        for number, (stage, count) in enumerate(zip(shares, counts, strict=True))
    )
