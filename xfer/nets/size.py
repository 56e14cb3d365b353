"""How large a network is going to be, before anything of it is made."""

from __future__ import annotations

import math

from xfer.nets.specs import ModelSpec
from xfer.system.memory import refuse_memory

COPIES = 3
"""Of every weight, before the first step: the network's own, its first values, and what the core is given of them."""


def refuse_too_large(spec: ModelSpec) -> None:
    """Raises ConfigError where the weights of a network take more memory than there is."""
    cures = ["smaller model.extra"] * bool(spec.extra) + ["fewer model.layers"] * bool(spec.layers) + ["fewer classes"]
    cures += ["smaller pictures"] * spec.network.graph.fixed
    count = sum(map(math.prod, spec.network.graph.weights.values()))
    what = f"{spec.arch} for {spec.num_classes:,} classes, {count:,} weights in {COPIES} copies"
    refuse_memory(what, 4 * COPIES * count, ", ".join(cures))
