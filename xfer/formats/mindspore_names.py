"""MindSpore's names for weights, and what its optimizers store beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

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

T = TypeVar("T")


def from_mindspore_names(arrays: Mapping[str, T]) -> dict[str, T]:
    """Canonical names for MindSpore's: gamma, beta, moving_mean and moving_variance of layers with a moving_mean.

    All other names, canonical ones among them, stay. WeightsError if two names become one.
    """
    suffix = ".moving_mean"
    layers = {name.removesuffix(suffix) for name in arrays if name.endswith(suffix)}
    return _rename(arrays, layers, _NORM)


def to_mindspore_names(arrays: Mapping[str, T]) -> dict[str, T]:
    """The inverse: MindSpore's names for canonical ones, of layers with a running_mean."""
    return _rename(arrays, set(norm_layers(arrays)), {canonical: own for own, canonical in _NORM.items()})


def _rename(arrays: Mapping[str, T], layers: set[str], leaves: Mapping[str, str]) -> dict[str, T]:
    renamed: dict[str, T] = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition(".")
        new = f"{layer}.{leaves.get(leaf, leaf)}" if layer in layers else name
        if new in renamed:
            raise WeightsError(f"two tensors are both {new!r} by their names. Cure: keep one naming, take one out")
        renamed[new] = array
    return renamed


def without_optimizer(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Without what MindSpore's optimizers and callbacks are known to store beside the weights.

    That is `slot.name` of the shape of `name`, for the slots of mindspore.nn.optim, and their named scalars. All
    else stays, for strict loading to report.
    """
    return {name: array for name, array in arrays.items() if not _is_optimizer_state(name, arrays)}


def _is_optimizer_state(name: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    slot, _, weight = name.partition(".")
    if slot in _SLOTS and weight in arrays:
        return arrays[name].shape == arrays[weight].shape or arrays[name].size <= 1
    return name in _SCALARS and arrays[name].size == 1
