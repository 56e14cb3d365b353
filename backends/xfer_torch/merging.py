"""Normalisations merged into convolutions, where the weights are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from xfer.graphs.parts import Merge


def merged(merge: Merge, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What `Merge.values` gives, to the bit, without a way to the host and back.

    Each operator rounds in float64 as IEEE 754 has it, on a GPU too, and no two of them are one kernel.
    """
    weight, scale, shift, mean, variance, *bias = (tensors[name].detach().double() for name in merge.sources)
    factor = scale / torch.sqrt(variance + merge.eps)
    moved = shift + (sum(bias) - mean) * factor
    return (weight * factor.view(-1, 1, 1, 1)).float(), moved.float()
