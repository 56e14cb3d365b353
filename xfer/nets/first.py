"""The weights that a training starts from."""

from __future__ import annotations

import numpy as np

from xfer.arrays import Weights
from xfer.errors import WeightsError
from xfer.nets.head import FRESH, Head
from xfer.nets.partial import Loaded, partial_merge
from xfer.nets.weights import Shapes, init_weights, merge


def first_weights(
    shapes: Shapes,
    head: tuple[str, str],
    loaded: Weights | None,
    seed: int,
    partial: bool,
    source: str,
    kept: Head = FRESH,
) -> tuple[Weights, Loaded | None]:
    """Every name of `shapes`: from `loaded`, but for a fresh head; all from the seed where it is None.

    A head that is `kept` is taken like all else, its rows in the order of the data's classes. With `partial` whatever
    fits is taken from `loaded`, and the second result says what became of each tensor.
    Raises WeightsError, naming the `source`, for weights that do not fit or are not finite.
    """
    if loaded is None:
        return init_weights(shapes, seed), None
    if broken := [name for name, array in loaded.items() if not np.isfinite(array).all()]:
        rest = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
        raise WeightsError(f"{source}: {broken[0]}{rest} hold values that are not finite. Cure: another file")
    loaded, made = kept.in_order(loaded, head), () if kept.rows is not None else head
    if not partial:
        fresh = init_weights({name: shapes[name] for name in head}, seed)
        return merge(shapes, loaded, made, fresh, source), None
    try:
        return partial_merge(shapes, loaded, made, init_weights(shapes, seed))
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None
