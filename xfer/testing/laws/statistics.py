"""Laws of running statistics: how they follow the batches, and what an updating layer normalises with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from xfer.archs import is_statistic
from xfer.arrays import Weights
from xfer.backend import Backend
from xfer.errors import BackendError
from xfer.testing.case import Case, CaseStep
from xfer.testing.kit import CLOSE, Bench, Law, assert_all_close, assert_close, needs_norm_layers, prepare, spec_of

STATS_MOMENTUM = 0.1
SMALL = (32, 32)  # (height, width): maps of one pixel in networks that halve the sides five times
FLAT = 1e-6  # below it, the variance of a channel is that of rounding
STATS_CLOSE = 1e-4  # the biased variance is recovered from two others, which loses a digit


def _from_zero(bench: Bench) -> Weights:
    return {name: np.zeros_like(w) for name, w in bench.weights.items() if is_statistic(name)}


def batch_statistics(bench: Bench, batch: Case) -> Weights:
    """What each statistic moves towards: from zero, one step goes a tenth of the way."""
    zero = _from_zero(bench)
    bench.reset(zero)
    bench.still(bench.groups("head", updating=bench.arch.stage_names), batch)
    after = bench.export()
    stuck = [name for name in zero if not after[name].any()]
    assert not stuck, f"statistics that should follow the batches do not: {stuck[:4]}"
    return {name: after[name] / np.float32(STATS_MOMENTUM) for name in zero}


def needs_variance(bench: Bench, statistics: Weights) -> None:
    """Skips where a channel has no variance in the batch: what is divided by its deviation is rounding."""
    flat = [name for name in statistics if name.endswith(".running_var") and statistics[name].min() <= FLAT]
    if flat:
        pytest.skip(f"{bench.arch.name}: {len(flat)} layers have channels without variance in a batch, first {flat[0]}")


def statistics_have_momentum(backend: Backend, device: str, arch_name: str) -> None:
    """On one batch again and again each step goes a tenth of the way that is left."""
    bench = prepare(backend, device, arch_name)
    needs_norm_layers(bench)
    batch, zero = bench.batch(), _from_zero(bench)
    target = batch_statistics(bench, batch)
    bench.reset(zero)
    step = bench.step(bench.groups("head", updating=bench.arch.stage_names))
    for taken in (1, 2, 3):
        step(batch, (0.0,))()
        share = 1 - (1 - STATS_MOMENTUM) ** taken
        wanted = {name: target[name] * share for name in zero}
        assert_all_close(bench.export(), wanted, CLOSE, f"statistics after {taken} steps on one batch")


def _doubled(batch: Case) -> Case:
    return Case(np.concatenate([batch.inputs] * 2), np.concatenate([batch.labels] * 2))


def running_variance_is_unbiased(backend: Backend, device: str, arch_name: str) -> None:
    """A batch twice over has the same variance v, but n / (n - 1) v is another: from the two follows n."""
    bench = prepare(backend, device, arch_name)
    layers = needs_norm_layers(bench)
    batch = bench.batch()
    n_images, pixels = len(batch.labels), bench.spec.image_size[0] * bench.spec.image_size[1]
    counts = _values_per_channel(bench, batch, layers)
    for layer, count in zip(layers, counts, strict=True):
        unbiased = count <= 1.05 * n_images * pixels
        assert unbiased, f"{layer}.running_var is not n / (n - 1) times the batch's variance"
    per_image = min(counts) / n_images
    assert abs(per_image - round(per_image)) < 1e-2, f"running variances are of {min(counts):.3f} values per channel"


def _values_per_channel(bench: Bench, batch: Case, layers: Sequence[str]) -> list[float]:
    """How many each layer takes its variance from; infinitely many where that is not unbiased."""
    once, twice = batch_statistics(bench, batch), batch_statistics(bench, _doubled(batch))
    counts = []
    for name in (f"{layer}.running_var" for layer in layers):
        total = once[name].sum(dtype=np.float64)
        ratio = total / _biased(total, twice[name].sum(dtype=np.float64))
        counts.append(float(ratio / (ratio - 1)) if ratio > 1 else np.inf)
    return counts


def _biased(once: Any, twice: Any) -> Any:
    """v from n v / (n - 1) and 2n v / (2n - 1)."""
    return 1 / (2 / twice - 1 / once)


def updating_layers_normalise_with_the_batch(backend: Backend, device: str, arch_name: str) -> None:
    """The logits of such a step are those of predicting with the batch's own mean and biased variance."""
    bench = prepare(backend, device, arch_name)
    layers = needs_norm_layers(bench)
    batch = bench.batch()
    once, twice = batch_statistics(bench, batch), batch_statistics(bench, _doubled(batch))
    needs_variance(bench, once)
    bench.reset()
    _, logits = bench.still(bench.groups("head", updating=bench.arch.stage_names), batch)
    for layer in layers:
        name = f"{layer}.running_var"
        once[name] = _biased(once[name], twice[name])
    bench.reset(once)
    wanted = bench.predict(batch.inputs)
    assert_close(logits, wanted, STATS_CLOSE, "logits in training, against predicting with the batch's statistics")


def one_value_per_channel_is_refused(backend: Backend, device: str, arch_name: str) -> None:
    """It has no variance: the call with one picture, of which a layer sees a single pixel, raises BackendError."""
    bench = prepare(backend, device, arch_name, spec=spec_of(backend, arch_name, size=SMALL))
    layers = needs_norm_layers(bench)
    batch = bench.batch()
    if min(_values_per_channel(bench, batch, layers)) > 1.5 * len(batch.labels):
        pytest.skip(f"{arch_name} has no norm layer that sees a single pixel of a picture of {SMALL}")
    for trained in (("head",), bench.arch.stage_names):
        bench.reset()
        step = bench.step(bench.groups(*trained, updating=bench.arch.stage_names))
        message = _refusal(step, bench.batch(1))
        assert message, "a step on one picture, with one value per channel to normalise with, did not raise"
        assert "\n" not in message, f"more than one line for a user to read: {message}"


def _refusal(step: CaseStep, batch: Case) -> str:
    """The message of the BackendError that a call raises; "" where it raises none. What it gives is not waited for."""
    try:
        step(batch, (0.0,))
    except BackendError as error:
        return str(error)
    return ""


LAWS: tuple[Law, ...] = (
    statistics_have_momentum,
    running_variance_is_unbiased,
    updating_layers_normalise_with_the_batch,
    one_value_per_channel_is_refused,
)
