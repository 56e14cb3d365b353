"""Weights from one file format into another. Needs no framework."""

from __future__ import annotations

from pathlib import Path

from xfer.errors import WeightsError
from xfer.weights import read_weights, write_weights


def convert(source: Path, target: Path, overwrite: bool = False) -> int:
    """Write the weights of `source` to `target`, formats by suffix; give the number of tensors.

    Names are canonical in .safetensors and .pth, MindSpore's in .ckpt. Metadata travels along where the target's
    format has room for it. Raises WeightsError for a target that exists, unless `overwrite`.
    """
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} exists already. Cure: another name, or --overwrite")
    weights, metadata = read_weights(source)
    write_weights(target, weights, metadata)
    return len(weights)
