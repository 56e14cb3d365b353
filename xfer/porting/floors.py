"""How far float32 itself moves a figure: what is measured with every weight moved to a neighbouring float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from xfer.arrays import Float32, Float64, Weights
from xfer.porting.gaps import Array, Lengths, lengths_of

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
"""What was measured -> name of the tensor -> (relative, squared, max_abs), see `Gap`."""


def shaken(weights: Weights, seed: Sequence[int], neighbours: int) -> Weights:
    """Every weight so many float32 up or down, by the seed. What is 0 stays so: below it there is no variance."""
    rng = np.random.default_rng(seed)
    return {name: _moved(w, rng.integers(0, 2, w.shape), neighbours) for name, w in weights.items()}


def _moved(w: Float32, up: Array, neighbours: int) -> Float32:
    # Neighbours of one sign are the integers next to each other, the larger one being further from 0.
    away = np.where((up == 1) == (w > 0), neighbours, -neighbours).astype(np.int32)
    moved: Float32 = (w.view(np.int32) + away).view(np.float32)
    return np.where(np.abs(w) < np.finfo(np.float32).tiny, w, moved)


def moves(still: Mapping[str, Arrays], moved: Mapping[str, Arrays]) -> Floors:
    """By how much each tensor moved."""
    return {
        what: {name: _figures(lengths_of(arrays[name], array)) for name, array in moved[what].items()}
        for what, arrays in still.items()
        if what in moved
    }


def _figures(lengths: Lengths) -> Float64:
    return np.array([lengths.relative, lengths.relative_squared, lengths.apart])


def jumps(
    still: Mapping[str, Arrays], moved: Mapping[str, Arrays], stages: Mapping[str, str], neighbours: int
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
            each = {name: lengths_of(arrays[name], moved[what][name]) for name in names}
            parts = [(lengths.apart_squared, lengths.squared) for lengths in each.values()]
            whole = Lengths(0, sum(apart for apart, _ in parts), 0, sum(squared for _, squared in parts))
            for name, lengths in each.items():
                squared = max(lengths.relative_squared, whole.relative_squared) / neighbours
                found[what][name] = np.array([0, squared, 0])  # of single elements nothing is known
    return found


def _by_stage(names: Iterable[str], stages: Mapping[str, str]) -> list[list[str]]:
    ordered = sorted(names, key=lambda name: stages[name])
    return [list(group) for _, group in groupby(ordered, key=lambda name: stages[name])]


def of_multiples(
    floors: Mapping[str, Float64], gradients: Arrays, multiples: Arrays, factor: float
) -> dict[str, Float64]:
    """Floors of tensors that are so many times a gradient and something that no rounding moves."""
    return {name: _of_multiple(floors[name], gradients[name], multiples[name], factor) for name in multiples}


def _of_multiple(floor: Float64, gradient: Array, multiple: Array, factor: float) -> Float64:
    of, to = (lengths_of(array, array) for array in (gradient, multiple))
    squared, apart = floor[1:].tolist()
    apart_squared = squared * of.squared * factor**2 if np.isfinite(squared) else apart**2
    return _figures(Lengths(factor * apart, apart_squared, to.largest, to.squared))


def of_rounding(weights: Arrays, movements: Arrays) -> dict[str, Float64]:
    """Floors of how far weights moved: half of the way from each to its neighbour, by which float32 rounds the sum."""
    return {name: _rounded(weights[name], movement) for name, movement in movements.items()}


def _rounded(weight: Array, movement: Array) -> Float64:
    halves = np.spacing(np.abs(weight.astype(np.float32))).astype(np.float64) / 2
    to = lengths_of(movement, movement)
    return _figures(Lengths(float(halves.max()), float((halves**2).sum()), to.largest, to.squared))


def at_least(floors: Floors, others: Floors) -> Floors:
    """Raised to others by lengths, and by what elements are apart: of a tensor of zeros that alone counts."""
    raised = {
        what: {name: np.maximum(floors[what][name], [0, *other[1:]]) for name, other in tensors.items()}
        for what, tensors in others.items()
    }
    return {what: {**tensors, **raised.get(what, {})} for what, tensors in floors.items()}


def largest(draws: Sequence[Floors]) -> Floors:
    """Of each tensor, over all draws. What is no number in one is none."""
    return {
        what: {name: np.maximum.reduce([draw[what][name] for draw in draws]) for name in tensors}
        for what, tensors in draws[0].items()
    }


def band_of(still: Float64, moved: Sequence[Float64]) -> Float64:
    """(steps,) how far the loss of each step moved, or that of an earlier one: where it moved, it goes on moving."""
    apart = np.max([np.abs(losses - still) for losses in moved], axis=0)
    return np.maximum.accumulate(apart)
