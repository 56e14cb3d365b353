"""Where the first value that is infinite, or no number, is in what one backend computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from xfer.porting.gaps import Array
from xfer.porting.task import (
    ACTIVATIONS,
    GRADIENTS,
    LOGITS_OF_ALL,
    LOSS,
    NO_STAGE,
    NODES,
    ONE_STEP,
    REST_GRADIENTS,
    REST_LOSS,
    START,
    STATISTICS,
    UPDATE,
    Measurement,
)  # fmt: skip

TRAINING = "training"
_ORDER = (
    START,
    NODES,
    ACTIVATIONS,
    LOGITS_OF_ALL,
    REST_LOSS,
    REST_GRADIENTS,
    LOSS,
    GRADIENTS,
    UPDATE,
    STATISTICS,
    ONE_STEP,
)
"""As it is computed."""


@dataclass(frozen=True)
class NotFinite:
    """The first of one backend.

    value   "inf" or "nan": the first in the tensor
    count   of such values in the tensor
    kind    of the node; empty where it is no node
    """

    backend: str
    what: str
    tensor: str
    stage: str
    value: str
    count: int
    kind: str = ""


def first_not_finite(measurement: Measurement) -> NotFinite | None:
    """In the order of the computation; None where all is finite."""
    kinds = {place.name: place.kind for place in measurement.nodes}
    for what, name, array in _in_order(measurement):
        off = array[~np.isfinite(array)]
        if off.size:
            value = "nan" if np.isnan(off[0]) else "inf"
            stage = measurement.stages.get(name, NO_STAGE)
            return NotFinite(measurement.backend, what, name, stage, value, off.size, kinds.get(name, ""))
    return None


def _in_order(measurement: Measurement) -> Iterator[tuple[str, str, Array]]:
    for what in _ORDER:
        arrays: Mapping[str, Array] = measurement.arrays.get(what, {})
        # Gradients are computed from the loss to the picture.
        names = list(arrays)[:: -1 if what in (REST_GRADIENTS, GRADIENTS) else 1]
        yield from ((what, name, arrays[name]) for name in names)
    for i, loss in enumerate(measurement.losses):
        yield TRAINING, f"loss of step {i + 1}", np.array([loss])
    for what in measurement.arrays.keys() - {*_ORDER}:
        yield from ((what, name, array) for name, array in measurement.arrays[what].items())
