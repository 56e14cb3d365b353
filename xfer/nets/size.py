"""How large a network is going to be, before anything of it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from xfer.archs import Arch, adapted
from xfer.backend import ModelSpec
from xfer.system.memory import refuse_memory

COPIES = 3
"""Of every weight, before the first step: the network's own, its first values, and what the core is given of them."""


def refuse_too_large(archs: Mapping[str, Arch], spec: ModelSpec) -> None:
    """Raises ConfigError where the weights that a spec asks for take more memory than there is."""
    cures = ["smaller model.extra"] * bool(spec.extra) + ["fewer model.layers"] * bool(spec.layers) + ["fewer classes"]
    if spec.graph is not None:
        count = sum(map(math.prod, spec.graph.weights.values()))
    else:
        count = least_weights(archs[spec.arch], spec)
        cures += ["smaller pictures"] * bool(archs[spec.arch].flattened)
    what = f"{spec.arch} for {spec.num_classes:,} classes, {count:,} weights in {COPIES} copies"
    refuse_memory(what, 4 * COPIES * count, ", ".join(cures))


def least_weights(arch: Arch, spec: ModelSpec) -> int:
    """A lower bound, near where it is large: of blocks, of layers that take a whole map, of hidden ones and the head.

    Blocks as in He et al. 2016, "Deep Residual Learning", figure 5: a plain one of width w has two convolutions of
    3 x 3, a bottleneck one of 3 x 3 between two of 1 x 1 at a quarter of the width.
    """
    body = adapted(arch, spec.layers)
    blocks = 0
    if arch.layers is not None and body.layers is not None:
        widths = [arch.features >> len(arch.layers) - 1 - stage for stage in range(len(body.layers))]
        # Squares of the width of each block, and what the first plain one has less: it takes half as many maps.
        each, less = (17 / 16, 0) if widths[0] >= 256 else (18, 4)
        blocks = sum(int((each * count - less) * width**2) for count, width in zip(body.layers, widths, strict=True))
    height, width = spec.image_size
    flat = arch.flattened * (height // 4 - 3) * (width // 4 - 3) * arch.features
    return blocks + max(flat, 0) + sum(a * b for a, b in pairwise((body.features, *spec.extra, spec.num_classes)))
