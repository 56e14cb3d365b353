"""The laws of `xfer.backend`, as functions `law(backend, device, arch_name)`: what every backend is held to.

A law raises AssertionError with what broke, and skips where it cannot apply. With `xfer.testing.fixtures` a backend's
whole suite is two files of a few lines; without it a law is called like any function. `random_weights`,
`random_batch` and `random_features` make what a backend's own further tests need.
"""

from __future__ import annotations

from xfer.testing.kit import Law, random_batch, random_features, random_weights
from xfer.testing.laws import blending, changes, graphs, model, optimizer, parts, statistics, training

LAWS: tuple[Law, ...] = (
    *model.LAWS,
    *training.LAWS,
    *statistics.LAWS,
    *optimizer.LAWS,
    *parts.LAWS,
    *blending.LAWS,
    *changes.LAWS,
    *graphs.LAWS,
)

__all__ = ["LAWS", "Law", "random_batch", "random_features", "random_weights"]
