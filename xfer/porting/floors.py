"""How far float32 itself moves a figure: what is measured with every weight moved to a neighbouring float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from xfer.arrays import Float64
from xfer.porting.gaps import Array, gap_of

ABOVE_FLOOR = 10.0
"""Times the floor that a difference may come to, whatever the tolerance: what some draws of rounding show of the next.

Where the true value is 0, as the mean behind a normalised map, or the gradient of a bias before a normalisation, all
that there is of it is rounding, and no two frameworks have the same. A fault is far above: rounding is 6e-8.
"""
DRAWS = 3
JUMPING = 10
"""Neighbours by which weights are moved to see what ReLUs that turn do to gradients, see `jumps`."""

Arrays = Mapping[str, Array]
Floors = dict[str, dict[str, Float64]]
"""What was measured -> name of the tensor -> (relative, squared), see `Gap`."""


def moves(still: Mapping[str, Arrays], shaken: Mapping[str, Arrays]) -> Floors:
    """By how much each tensor moved."""
    found: Floors = {}
    for what, arrays in still.items():
        gaps = {name: gap_of(array, shaken[what][name]) for name, array in arrays.items()}
        found[what] = {name: np.array([gap.relative, gap.squared]) for name, gap in gaps.items()}
    return found


def jumps(
    still: Mapping[str, Arrays], shaken: Mapping[str, Arrays], stages: Mapping[str, str], neighbours: int
) -> Floors:
    """By how much gradients move where rounding turns a ReLU, from weights that were moved by so many `neighbours`.

    Rounding turns few: with every weight at a neighbour it may be none, where another framework turns one. Ten
    neighbours turn ten times as many, and each adds its square: a tenth of it is what is to be expected of one
    neighbour. Where they turn is chance, so that the gradients of the whole stage stand for each tensor that moved by
    less.
    """
    found: Floors = {}
    for what, arrays in still.items():
        found[what] = {}
        for names in _by_stage(arrays, stages):
            whole = gap_of(*(np.concatenate([side[what][n].ravel() for n in names]) for side in (still, shaken)))
            for name in names:
                gap = gap_of(arrays[name], shaken[what][name])
                found[what][name] = np.array([gap.relative, max(gap.squared, whole.squared)]) / [1, neighbours]
    return found


def _by_stage(names: Iterable[str], stages: Mapping[str, str]) -> list[list[str]]:
    ordered = sorted(names, key=lambda name: stages[name])
    return [list(group) for _, group in groupby(ordered, key=lambda name: stages[name])]


def largest(draws: Sequence[Floors]) -> Floors:
    """Of each tensor, over all draws. What is no number in one is none."""
    return {
        what: {name: np.maximum.reduce([draw[what][name] for draw in draws]) for name in tensors}
        for what, tensors in draws[0].items()
    }


def band_of(still: Float64, shaken: Sequence[Float64]) -> Float64:
    """(steps,) how far the loss of each step moved, or that of an earlier one: where it moved, it goes on moving."""
    apart = np.max([np.abs(losses - still) for losses in shaken], axis=0)
    return np.maximum.accumulate(apart)
