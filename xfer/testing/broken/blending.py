"""Models whose weights are moved towards others' in a broken way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xfer.arrays import Float32
from xfer.backend import Backend, Model, PredictStep
from xfer.testing.broken.mechanics import Array, Breakage, Maker, predictions, replacing
from xfer.testing.laws import blending as laws


def blending(blend: Callable[[Float32, Float32, float], Float32]) -> Maker:
    """`blend(mine, theirs, share)` of each weight that is named."""

    def whole(inner: Backend, target: Model, source: Model, names: Sequence[str], share: float) -> None:
        mine, theirs = inner.export_weights(target), inner.export_weights(source)
        inner.import_weights(target, mine | {name: blend(mine[name], theirs[name], share) for name in names})

    return replacing(blend=whole)


def blends_unheard(inner: Backend) -> Backend:
    """A predict step computes with the weights that it was called with first."""
    broken = blending(lambda mine, theirs, share: mine + np.float32(share) * (theirs - mine))(inner)

    def predict(healthy: PredictStep, inputs: Array, start: str, stop: str) -> Array:
        return known.setdefault((id(healthy), inputs.tobytes()), healthy(inputs))

    known: dict[tuple[int, bytes], Array] = {}
    return predictions(predict)(broken)


BREAKAGES: tuple[Breakage, ...] = (
    Breakage(
        "weights go all the way to the other model's",
        blending(lambda mine, theirs, share: theirs),
        (laws.blending_moves_weights_by_their_share,),
    ),
    Breakage("predicting does not hear of blended weights", blends_unheard, (laws.predicting_sees_blended_weights,)),
)
