"""What networks make of their logits in the end, where that is no part of them: losses and predictions have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xfer.porting.gaps import Array


def log_softmax(logits: Array) -> Array:
    """(N, C) -> (N, C)."""
    highest = logits.max(axis=1, keepdims=True)
    return np.asarray(logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True)))


ENDINGS: Mapping[str, Callable[[Array], Array]] = {
    "": lambda logits: logits,
    "log_softmax": log_softmax,
    "softmax": lambda logits: np.exp(log_softmax(logits)),
}
"""Name of a function -> what it makes of logits (N, C)."""
