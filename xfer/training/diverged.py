"""What ends a run whose numbers are no longer finite: what was found, where, and the likely cause and cure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xfer.arrays import Float32
from xfer.backend import Precision
from xfer.errors import ConfigError, XferError
from xfer.metrics import Epoch, refuse_not_finite
from xfer.nets.weights import unusable

LARGEST = 1e30


def cure(precision: Precision) -> str:
    """What helps where steps were too large for the numbers."""
    finer = ", or train.precision = 'float32'" if precision in ("bfloat16", "float16") else ""
    return f"a smaller optimizer.lr, or optimizer.clip_norm = 1.0{finer}"


class LostError(XferError):
    """A loss that is not finite."""


def lost(loss: float, step: int, epoch: int, rate: float, precision: Precision) -> LostError:
    """The error for a loss that is not finite. Steps and epochs count from 1; `rate` is the base rate of the step."""
    if (epoch, step) == (1, 1):
        return LostError(
            f"the loss is {loss} at the first step, before any weight has moved: the weights that training starts from "
            f"overflow on these pictures. Cure: other weights"
        )
    return LostError(
        f"the loss became {loss} at step {step} of epoch {epoch}, at a learning rate of {rate:g}. "
        f"Cure: {cure(precision)}"
    )


def refuse_rate(rate: float, largest_mult: float, epoch: int) -> None:
    """Raises ConfigError where the largest rate of a group in an epoch nears the end of float32: torch fails there."""
    if rate * largest_mult > LARGEST:
        raise ConfigError(
            f"optimizer.lr: its schedule and head_lr_mult make a rate of {rate * largest_mult:g} in epoch {epoch}, "
            f"expected at most {LARGEST:g}. Cure: a smaller optimizer.lr"
        )


def refuse_logits(logits: Float32, epoch: int, rate: float, precision: Precision) -> None:
    """Raises XferError for logits (n, C) of the validation pictures after an epoch that are not all finite."""
    when = f"after epoch {epoch}, at a learning rate of {rate:g}"
    refuse_not_finite(logits, lambda picture: f"validation picture {picture + 1} {when}", cure(precision))


def refuse_broken(weights: Mapping[str, Float32], moved: Iterable[str], epoch: Epoch, precision: Precision) -> None:
    """Raises XferError for a weight that is not finite after an epoch, or a variance below 0, among those `moved`.

    The loss of an epoch is of the weights before its last step.
    """
    if fault := unusable({name: weights[name] for name in moved}):
        raise XferError(
            f"after epoch {epoch.epoch}, at a learning rate of {epoch.lr:g}: {fault}. Cure: {cure(precision)}"
        )
