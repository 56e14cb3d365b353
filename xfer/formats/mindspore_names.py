"""MindSpore's names for weights, and what its optimizers store beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xfer.archs import norm_layers
from xfer.errors import WeightsError

_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_SLOTS = frozenset(
    [
        "moments",
        "moment",
        "moment1",
        "moment2",
        "accum",
        "accum_update",
        "stat",
        "vhat",
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "mean_square",
        "mean_grad",
        "lamb_m",
        "lamb_v",
        "adam_m",
        "adam_v",
        "linear",
        "prev",
        "step_size",
    ]
)
_SCALARS = frozenset(
    [
        "learning_rate",
        "global_step",
        "momentum",
        "weight_decay",
        "beta1_power",
        "beta2_power",
        "state_step",
        "epoch_num",
        "step_num",
        "loss_scale",
        "scale_sense",
        "current_iterator_step",
        "last_overflow_iterator_step",
    ]
)

_STEPWISE = ("learning_rate", "weight_decay")
"""Scalars that may be one for each step, or one for each group of weights: `learning_rate_group_1`."""

_OPTIMIZERS = ("opt.", "optimizer.")
"""Attributes that a training step keeps its optimizer in, where its state was saved under that name."""

T = TypeVar("T")


def from_mindspore_names(arrays: Mapping[str, T]) -> dict[str, T]:
    """Canonical names for MindSpore's: gamma, beta, moving_mean and moving_variance of layers with a moving_mean.

    So are gamma and beta of a layer that has both, vectors of one length: a layer norm's. All other names, canonical
    ones among them, stay. WeightsError if two names become one.
    """
    suffix = ".moving_mean"
    layers = {name.removesuffix(suffix) for name in arrays if name.endswith(suffix)} | _vectors(arrays, "gamma", "beta")
    return renamed(arrays, lambda name: _with_leaf(name, layers, _NORM))


def to_mindspore_names(arrays: Mapping[str, T]) -> dict[str, T]:
    """The inverse: MindSpore's names for canonical ones, of layers with a running_mean, and of layer norms."""
    layers = set(norm_layers(arrays)) | _vectors(arrays, "weight", "bias")
    leaves = {canonical: own for own, canonical in _NORM.items()}
    return renamed(arrays, lambda name: _with_leaf(name, layers, leaves))


def _vectors(arrays: Mapping[str, Any], scale: str, shift: str) -> set[str]:
    """Layers that have both, as vectors of one length: of all layers, only those that normalise."""
    layers = {name.removesuffix(f".{scale}") for name in arrays if name.endswith(f".{scale}")}
    shapes = {layer: [np.shape(arrays.get(f"{layer}.{leaf}", 0.0)) for leaf in (scale, shift)] for layer in layers}
    return {layer for layer, (first, second) in shapes.items() if len(first) == 1 and first == second}


def _with_leaf(name: str, layers: set[str], leaves: Mapping[str, str]) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.{leaves.get(leaf, leaf)}" if layer in layers else name


def renamed(arrays: Mapping[str, T], canonical: Callable[[str], str]) -> dict[str, T]:
    """Under other names. Raises WeightsError if two become one."""
    by_name: dict[str, T] = {}
    for name, array in arrays.items():
        new = canonical(name)
        if new in by_name:
            raise WeightsError(f"two tensors are both {new!r} by their names. Cure: keep one naming, take one out")
        by_name[new] = array
    return by_name


def without_optimizer(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Without what MindSpore's optimizers and callbacks are known to store beside the weights.

    That is `slot.name` of the shape of `name`, for the slots of mindspore.nn.optim, and their named scalars; rates
    that were given for each step; and whatever is in an attribute for an optimizer. All else stays, for strict loading
    to report.
    """
    return {name: array for name, array in arrays.items() if not _is_optimizer_state(name, arrays)}


def _is_optimizer_state(name: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    if name.startswith(_OPTIMIZERS):
        return True
    slot, _, weight = name.partition(".")
    if slot in _SLOTS and weight in arrays:
        return arrays[name].shape == arrays[weight].shape or arrays[name].size <= 1
    group = re.sub(r"_group_\d+$", "", name)
    return (name in _SCALARS and arrays[name].size == 1) or (group in _STEPWISE and arrays[name].ndim <= 1)
