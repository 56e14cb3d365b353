"""Laws of the loss of several classes at once, and of a batch that comes in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from xfer.arrays import Float32, Weights
from xfer.backend import Backend, Batch
from xfer.testing.kit import CLASSES, CLOSE, SGD, Law, assert_all_close, assert_close, prepare
from xfer.testing.laws.optimizer import ADAM


def sigmoid_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    """Targets of several classes at once, and factors that differ: the formula stands in `Batch`."""
    rng = np.random.default_rng(0)
    targets = rng.random((4, CLASSES)).astype(np.float32).round()
    _assert_sigmoid(backend, device, arch_name, targets, rng.uniform(0.1, 0.5, 4).astype(np.float32))


def sigmoid_weighs_each_class(backend: Backend, device: str, arch_name: str) -> None:
    """Factors for every class of a sample, and targets between 0 and 1."""
    rng = np.random.default_rng(1)
    targets = rng.uniform(0, 1, (4, CLASSES)).astype(np.float32)
    _assert_sigmoid(backend, device, arch_name, targets, rng.uniform(0.1, 0.5, (4, CLASSES)).astype(np.float32))


def _assert_sigmoid(backend: Backend, device: str, arch_name: str, targets: Float32, factors: Float32) -> None:
    bench = prepare(backend, device, arch_name)
    inputs = bench.features(4).inputs
    weight, bias = bench.arch.head_names
    step = bench.train_step(SGD, bench.head_groups(), "head", "sigmoid")
    loss, logits = step([Batch(inputs, targets, factors)], (0.1, 0.1))()
    wanted = inputs.astype(np.float64) @ bench.weights[weight].T + bench.weights[bias]
    chances = 1 / (1 + np.exp(-wanted))
    losses = -(targets * np.log(chances) + (1 - targets) * np.log(1 - chances))
    each = factors.reshape(4, -1)
    slope = (chances - targets) * each
    assert_close(logits, wanted, CLOSE, "logits")
    assert_close(loss, (losses * each).sum(), CLOSE, "the loss of sigmoids")
    moved = {
        weight: bench.weights[weight] - 0.1 * slope.T @ inputs,
        bias: bench.weights[bias] - 0.1 * slope.sum(axis=0),
    }
    assert_all_close(bench.export(), moved, CLOSE, "a step on the loss of sigmoids")


def parts_are_one_batch(backend: Backend, device: str, arch_name: str) -> None:
    """Given in one part or in three, a batch makes the same step: there is one update, of all gradients together."""
    bench = prepare(backend, device, arch_name)
    whole = [bench.features(7, seed, keep=0.5).batch(bench.graph) for seed in (0, 1)]

    def trained(places: Sequence[int]) -> tuple[list[float], list[Float32], Weights, Mapping[str, Any]]:
        bench.reset()
        step = bench.train_step(replace(ADAM, clip_norm=0.05), bench.head_groups(0.1), "head")
        read = [step(_cut(batch, places), (0.1, 0.05))() for batch in whole]
        losses, logits = zip(*read, strict=True)
        return list(losses), list(logits), bench.export(), step.export_state()

    losses, logits, weights, state = trained((2, 5))
    wanted_losses, wanted_logits, wanted, wanted_state = trained(())
    assert_close(losses, wanted_losses, CLOSE, "losses of batches in three parts")
    assert_close(np.stack(logits), np.stack(wanted_logits), CLOSE, "logits of batches in three parts")
    assert_all_close(weights, wanted, CLOSE, "after batches in three parts")
    assert_all_close(state, wanted_state, CLOSE, "state after batches in three parts")


def _cut(batch: Batch, places: Sequence[int]) -> list[Batch]:
    edges = [0, *places, len(batch.inputs)]
    return [
        Batch(batch.inputs[a:b], batch.targets[a:b], batch.factors[a:b], {n: m[a:b] for n, m in batch.masks.items()})
        for a, b in pairwise(edges)
    ]


LAWS: tuple[Law, ...] = (sigmoid_follows_its_formula, sigmoid_weighs_each_class, parts_are_one_batch)
