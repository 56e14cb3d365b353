"""Which padding the weights of a network were trained with, where their file does not say: a forward test decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

import numpy as np

from xfer.archs import Padding, is_statistic, norm_layers
from xfer.arrays import Float64, Pixels, Weights
from xfer.backend import Batch, OptimizerSpec, ParamGroup, ParamGroups
from xfer.errors import WeightsError, expected
from xfer.formats.files import NAMED_AS
from xfer.formats.sealed import FORMAT
from xfer.losses import LossSpec, targets_of
from xfer.nets.net import Net, build_net

PICTURES = 32
"""That the test looks at. Of a network of 50 layers with the wrong padding in all, 16 show it as clearly as 150."""

_PREFERRED: tuple[Padding, ...] = ("same_pool", "same", "symmetric")
"""As the networks that use these names are padded, most common first."""

_TIE = 0.02  # of the smallest distance: the share of noise in it, where two paddings differ in the pooling alone


def fit_padding(net: Net, metadata: Mapping[str, str], source: str, pictures: Callable[[], Pixels]) -> tuple[Net, str]:
    """The network with the padding that its weights need, and a line for the user where a test found it.

    net       padded symmetrically, with the weights
    metadata  of the weights' file. A checkpoint of xfer's has the padding there. Weights under MindCV's names or a
              tutorial's are tested, and all others are torchvision's
    pictures  (n, H, W, 3) uint8, about `PICTURES` of those to be trained on

    Raises WeightsError for a checkpoint with a padding that there is not.
    """
    if net.arch.layers is None:
        return net, ""
    if metadata.get("format") == FORMAT:
        return _padded(net, _recorded(metadata, source)), ""
    if NAMED_AS not in metadata:
        return net, ""
    images = pictures()
    candidates = {padding: _padded(net, padding) for padding in _PREFERRED}
    distances = {padding: statistics_distance(candidate, images) for padding, candidate in candidates.items()}
    bound = min(distances.values()) * (1 + _TIE)
    chosen = next(padding for padding in _PREFERRED if distances[padding] <= bound)
    found = ", ".join(f"{distance:.3g} with {padding!r}" for padding, distance in distances.items())
    return candidates[chosen], (
        f"weights named as by {metadata[NAMED_AS]}: model.padding = {chosen!r}, by a forward test. Their running "
        f"statistics are this far from those of {len(images)} training pictures: {found}"
    )


def statistics_distance(net: Net, images: Pixels) -> float:
    """How far the running statistics of a network are from those of pictures: a mean over its norm layers, >= 0.

    Of a layer it is the mean over channels of the Kullback-Leibler divergence from the batch's normal distribution to
    the running one, 0.5 * (v / r + (m - s)^2 / r - 1 - ln(v / r)), of the variances v, r and the means m, s. Those of
    the batch come from a training step with rates of 0. The weights are afterwards what they were.
    """
    before = net.export()
    statistics = frozenset(filter(is_statistic, before))
    frozen = frozenset(before) - statistics - frozenset(net.arch.head_names)
    groups = ParamGroups((ParamGroup(net.arch.head_names, 1.0, 0.0),), frozen, statistics)
    targets, factors = targets_of(LossSpec(), np.zeros(len(images), np.int64), net.spec.num_classes)
    net.train_step(OptimizerSpec(), groups)([Batch(images, targets, factors)], (0.0,))()
    after = net.export()
    net.load(before)
    return float(np.mean([_divergence(before, after, layer) for layer in norm_layers(before)]))


def _divergence(before: Weights, after: Weights, layer: str) -> float:
    def batch(name: str) -> Float64:  # a step goes a tenth of the way to it
        return running(name) + 10 * (after[f"{layer}.{name}"].astype(np.float64) - running(name))

    def running(name: str) -> Float64:
        return before[f"{layer}.{name}"].astype(np.float64)

    tiny = 1e-5  # as in the layers: a channel that is always 0 has no variance
    ratio = (np.maximum(batch("running_var"), 0) + tiny) / (running("running_var") + tiny)
    shift = (batch("running_mean") - running("running_mean")) ** 2 / (running("running_var") + tiny)
    return float(np.mean(0.5 * (ratio + shift - 1 - np.log(ratio))))


def _padded(net: Net, padding: Padding) -> Net:
    if padding == net.spec.padding:
        return net
    asked = replace(net.spec, padding=padding, graph=None)
    padded = replace(build_net(net.backend, net.device, asked), arch=net.arch)
    padded.load(net.export())
    return padded


def _recorded(metadata: Mapping[str, str], source: str) -> Padding:
    recorded = metadata.get("padding", '"symmetric"').strip('"')
    known: tuple[Padding, ...] = get_args(Padding)
    for padding in known:
        if recorded == padding:
            return padding
    raise WeightsError(f"{source}: {expected('padding', recorded, known)}")
